import { amountText } from "../../parts/format";
import { useOwned } from "../context";
import { Offer } from "../operation/offer";
import { AMOUNT, readAmount } from "./amounts";

/** Deposits and withdrawals. */
export function Movements() {
  const { owner, vault, decimals } = useOwned();
  const available = amountText(vault.data?.available, decimals);
  const amount = (values: Record<string, string>) => readAmount(values["amount"], decimals ?? 0);
  const fields = (values: Record<string, string>) => ({ owner, amount: String(amount(values)) });
  const expected = (instruction: string) => (values: Record<string, string>) => ({ instruction, fields: { amount: amount(values) } });
  return (
    <section aria-labelledby="movements">
      <h2 id="movements">Move tokens</h2>
      <p class="buttons">
        <Offer label="Deposit" by="owner" primary blocked={barrierOf(vault.data)} question="Deposit into your vault"
          about={<p>The tokens come from your wallet. It signs twice: the request, and then the transaction.</p>}
          fields={[AMOUNT]} expected={expected("deposit")}
          ask={(values, attempt) => attempt.post({ path: "api/vault/deposit", action: "deposit", fields: fields(values) })} />
        <Offer label="Withdraw" by="owner" blocked={barrierOf(vault.data, "withdraw")} question="Withdraw to your wallet" guarded
          about={<p>Available: {available} USDT. The tokens go to the owner's wallet.{delayText(vault.data?.policy.min_withdraw_delay_seconds ?? 0)}</p>}
          fields={[AMOUNT]} expected={expected("withdraw")}
          ask={(values, attempt) => attempt.post({ path: "api/vault/withdraw", action: "withdraw", fields: fields(values), code: values["code"] })} />
      </p>
    </section>
  );
}

function delayText(seconds: number): string {
  return seconds > 0 ? " This vault has a minimum delay: only what was requested that long before is paid out." : "";
}

/** Say why this vault cannot do so by its owner's signature alone. */
export function barrierOf(vault: { multisig: { threshold: number } } | null, what?: "withdraw"): string | undefined {
  if (vault === null) return "there is no vault yet";
  if (what === "withdraw" && vault.multisig.threshold > 0) return "the vault has a multisig: propose it under Multisig";
  return undefined;
}
