import { amountText, secondsText, timeText } from "../../parts/format";
import { Badge, Money, Table } from "../../parts/shown";
import { useOwned } from "../context";
import { Offer } from "../operation/offer";
import { AMOUNT, readAmount, readSeconds } from "./amounts";
import { barrierOf } from "./movements";

const UNITS: [string, string][] = [["60", "minutes"], ["3600", "hours"], ["86400", "days"]];
type Values = Record<string, string>;

/** Timelocks, and withdrawals that were requested. */
export function Delays() {
  return (
    <>
      <Timelocks />
      <Requests />
    </>
  );
}

function Timelocks() {
  const { owner, vault, decimals } = useOwned();
  const timelocks = vault.data?.timelocks ?? [];
  const matured = timelocks.some((each) => each.remaining_seconds === 0);
  const amount = (values: Values) => readAmount(values["amount"], decimals ?? 0);
  const seconds = (values: Values) => readSeconds(values["count"], values["unit"]);
  return (
    <section aria-labelledby="timelocks">
      <h2 id="timelocks">Timelocks</h2>
      <Table caption="Timelocks" rows={timelocks} keyOf={(each) => `${each.until_time} ${each.amount}`} empty="Nothing is timelocked." columns={[
        { name: "Amount", of: (each) => <Money amount={each.amount} /> },
        { name: "Until", of: (each) => timeText(each.until) },
        { name: "State", of: ({ remaining_seconds: left }) => <Badge text={left === 0 ? "matured" : `${secondsText(left)} left`} tone={left === 0 ? "good" : "plain"} /> },
        { name: "By", of: (each) => (each.by_delegate ? "a delegate" : "the owner") },
        { name: "Action", of: (each) => (
          <Offer label="Cancel" subject={`the timelock of ${amountText(each.amount, decimals)} USDT`} by="owner" guarded question="Cancel this timelock?"
            blocked={(vault.data?.multisig.threshold ?? 0) > 0 ? "the vault has a multisig, whose signers have to sign: use the API" : undefined}
            about={<p>{amountText(each.amount, decimals)} USDT become available. With a minimum delay they do so once that is over.</p>}
            expected={() => ({ instruction: "cancel_timelock", fields: { amount: BigInt(each.amount), unlock_time: BigInt(each.until_time) } })}
            ask={(values, attempt) => attempt.post({
              path: "api/vault/timelock/cancel", action: "timelock_cancel", code: values["code"],
              fields: { owner, amount: each.amount, unlock_time: String(each.until_time) },
            })} />
        ) },
      ]} />
      <p class="buttons">
        <Offer label="Timelock" by="owner" guarded blocked={barrierOf(vault.data)} question="Timelock tokens"
          about={<p>Nobody can withdraw them before the time is over. Available: {amountText(vault.data?.available, decimals)} USDT.</p>}
          fields={[AMOUNT, { name: "count", label: "For", value: "24", kind: "number", min: 1 }, { name: "unit", label: "Unit", value: "3600", options: UNITS }]}
          expected={(values) => ({
            instruction: "schedule_timelock",
            fields: { amount: amount(values), duration_seconds: seconds(values) },
          })}
          ask={(values, attempt) => attempt.post({
            path: "api/vault/schedule-withdraw", action: "schedule", code: values["code"],
            fields: { owner, amount: String(amount(values)), duration_seconds: String(seconds(values)) },
          })} />
        <Offer label="Release matured timelocks" by="anybody" blocked={matured ? undefined : "none has matured"} question="Release the matured timelocks?"
          about={<p>They become available. The service signs and pays; it also does so by itself soon after their time has come.</p>}
          ask={(_values, attempt) => attempt.post({ path: "api/vault/release-timelocks", fields: { owner } })} />
      </p>
    </section>
  );
}

function Requests() {
  const { owner, vault, decimals } = useOwned();
  const amount = (values: Values) => readAmount(values["amount"], decimals ?? 0);
  const requests = vault.data?.pending_withdrawals ?? [];
  const delay = vault.data?.policy.min_withdraw_delay_seconds ?? 0;
  return (
    <section aria-labelledby="requests">
      <h2 id="requests">Requested withdrawals</h2>
      <p>{vault.data === null ? "This is shown once there is a vault." : delay > 0
        ? `This vault has a minimum delay of ${secondsText(delay)}: request a withdrawal, and make it once that time is over, within seven days.`
        : "This vault has no minimum delay: a withdrawal needs no request."}</p>
      <Table caption="Requests" rows={requests} keyOf={(each) => `${each.until_time} ${each.amount}`} empty="Nothing is requested." columns={[
        { name: "Amount", of: (each) => <Money amount={each.amount} /> },
        { name: "From", of: (each) => timeText(each.until) },
        { name: "To", of: (each) => timeText(each.expires) },
        { name: "State", of: ({ expired, remaining_seconds: left }) => <Badge text={expired ? "expired" : left === 0 ? "ready" : `${secondsText(left)} left`} tone={expired ? "warning" : undefined} /> },
        { name: "Action", of: (each) => (
          <Offer label="Cancel" subject={`the request of ${amountText(each.amount, decimals)} USDT`} by="owner" question="Cancel this request?"
            about={<p>{amountText(each.amount, decimals)} USDT stay in the vault, and count for no withdrawal any more.</p>}
            expected={() => ({ instruction: "cancel_withdraw_request", fields: { amount: BigInt(each.amount), executable_at: BigInt(each.until_time) } })}
            ask={(_values, attempt) => attempt.post({
              path: "api/vault/request-withdraw/cancel", action: "request_withdraw_cancel",
              fields: { owner, amount: each.amount, executable_at: String(each.until_time) },
            })} />
        ) },
      ]} />
      <Offer label="Request a withdrawal" by="owner" guarded blocked={barrierOf(vault.data) ?? (delay === 0 ? "the vault has no minimum delay" : undefined)} question="Request a withdrawal"
        about={<p>Nothing moves yet. Once the minimum delay is over, make the withdrawal under Move tokens, or propose it under Multisig.</p>}
        fields={[AMOUNT]}
        expected={(values) => ({ instruction: "request_withdraw", fields: { amount: amount(values) } })}
        ask={(values, attempt) => attempt.post({
          path: "api/vault/request-withdraw", action: "request_withdraw", code: values["code"],
          fields: { owner, amount: String(amount(values)) },
        })} />
    </section>
  );
}
