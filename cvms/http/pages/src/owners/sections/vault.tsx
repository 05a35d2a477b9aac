import { useEffect, useState } from "preact/hooks";

import { OWNER_TOPICS } from "../../api/live";
import { queryOf, useResource } from "../../api/shared";
import { numberText, timeText, words } from "../../parts/format";
import { Key, Loaded, Money, Pages, Table } from "../../parts/shown";
import { useOwned } from "../context";
import { Offer } from "../operation/offer";
import type { Movement, Vault } from "../types";

const READ_MS = 2_000;
const BALANCES: [string, keyof Vault, string][] = [
  ["Total", "balance", "all that the vault holds"],
  ["Available", "available", "can be withdrawn"],
  ["Locked", "locked", "secures positions"],
  ["Timelocked", "timelocked", "until its time has come"],
  ["Yield", "yield_deposited", "lent to a yield program"],
];

/** What the vault holds, or how to open one. */
export function Balances() {
  const { vault } = useOwned();
  if (vault.problem?.code === "vault_not_found") return <NoVault />;
  return (
    <section aria-labelledby="balances">
      <h2 id="balances">Balances</h2>
      <Loaded from={vault}>
        {(data) => (
          <>
            <ul class="tiles">
              {BALANCES.map(([name, field, about]) => (
                <li key={field} class="tile">
                  <p>{name}</p>
                  <p class="value" id={`balance-${field}`}><Money amount={data[field] as string} /></p>
                  <p class="note">USDT, {about}</p>
                </li>
              ))}
            </ul>
            <p class="note">As of slot {numberText(data.slot)}, {timeText(data.as_of)}. Account <Key text={data.vault} />.</p>
          </>
        )}
      </Loaded>
    </section>
  );
}

function NoVault() {
  const { owner, vault } = useOwned();
  useEffect(() => {
    // Opening a vault moves nothing, so the stream may have no event of it.
    const timer = window.setInterval(() => void vault.reload(), READ_MS);
    return () => window.clearInterval(timer);
  }, [vault.reload]);
  return (
    <section aria-labelledby="balances">
      <h2 id="balances">No vault yet</h2>
      <p>This wallet has no vault, or has closed it. Its history is below.</p>
      <Offer label="Open the vault" by="owner" primary question="Open your vault?"
        about={<p>It creates two accounts on the chain. Your wallet pays their rent in SOL, and gets it back when you close the vault.</p>}
        expected={() => ({ instruction: "initialize_vault", fields: {} })}
        ask={(_values, attempt) => attempt.post({ path: "api/vault/initialize", fields: { owner } })} />
    </section>
  );
}

/** What has happened to the vault, newest first. */
export function History() {
  const { owner } = useOwned();
  const [cursor, setCursor] = useState<string | number | null>(null);
  const history = useResource<{ transactions: Movement[]; next_cursor: number | null }>(
    `api/vault/transactions/${owner}${queryOf({ cursor, limit: 20 })}`,
    ...OWNER_TOPICS,
  );
  return (
    <section aria-labelledby="history">
      <h2 id="history">History</h2>
      <Loaded from={history}>
        {({ transactions, next_cursor }) => (
          <>
            <Table caption="Movements, newest first" rows={transactions} keyOf={(each) => `${each.signature} ${each.id}`} empty="Nothing has moved yet." columns={[
              { name: "What", of: (each) => words(each.kind) },
              { name: "Amount", numeric: true, of: (each) => <Money amount={each.amount} /> },
              { name: "Total after", numeric: true, of: (each) => each.balance_after !== null && <Money amount={each.balance_after} /> },
              { name: "Time", of: (each) => timeText(each.block_time) },
              { name: "On chain", of: (each) => each.commitment },
              { name: "Transaction", of: (each) => <Key text={each.signature} /> },
            ]} />
            <Pages cursor={next_cursor} older={setCursor} newest={cursor === null ? null : () => setCursor(null)} />
          </>
        )}
      </Loaded>
    </section>
  );
}
