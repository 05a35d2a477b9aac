import { useState } from "preact/hooks";

import { queryOf, useConsole, useResource } from "../api/hooks";
import type { Movement, Vault, VaultDetail } from "../api/types";
import { Action } from "../parts/action";
import { Filters } from "../parts/filters";
import { numberText, timeText, valueText, words } from "../parts/format";
import { Badge, type Column, Facts, Key, Loaded, Money, Pages, Table } from "../parts/shown";

const FILTERS = [
  { name: "query", label: "Owner begins with" },
  { name: "state", label: "State", options: [["", "all"], ["open", "open"], ["closed", "closed"]] as [string, string][] },
];

const BALANCES: [string, keyof Vault][] = [
  ["Balance", "balance"], ["Available", "available"], ["Locked", "locked"], ["Timelocked", "timelocked"], ["Yield", "yield"],
];

/** What an owner has, what happened to it, and whether the chain agrees. */
export function Vaults({ rest }: { rest: string }) {
  return rest === "" ? <VaultList /> : <OneVault key={rest} owner={rest} />;
}

function VaultList() {
  const [filter, setFilter] = useState<Record<string, string>>({});
  const [cursor, setCursor] = useState<string | number | null>(null);
  const page = useResource<{ vaults: Vault[]; cursor: string | null }>(`api/admin/vaults${queryOf({ ...filter, cursor })}`);
  const balances = BALANCES.map(([name, field]): Column<Vault> => ({
    name, numeric: true, of: (each) => <Money amount={each[field] as number} />,
  }));
  return (
    <>
      <Filters label="Which vaults" filters={FILTERS} values={filter} apply={(values) => { setCursor(null); setFilter(values); }} />
      <Loaded from={page}>
        {({ vaults, cursor: next }) => (
          <>
            <Table caption="Vaults by owner" rows={vaults} keyOf={(each) => each.owner} empty="No vault's owner begins so." columns={[
              { name: "Owner", of: (each) => <a href={`#/vaults/${each.owner}`}><Key text={each.owner} /></a> },
              { name: "State", of: (each) => <Badge text={each.state} /> },
              ...balances,
              { name: "Slot", numeric: true, of: (each) => numberText(each.slot) },
              { name: "Updated", of: (each) => timeText(each.updated_at) },
            ]} />
            <Pages cursor={next} older={setCursor} newest={cursor === null ? null : () => setCursor(null)} />
          </>
        )}
      </Loaded>
    </>
  );
}

function OneVault({ owner }: { owner: string }) {
  const { api } = useConsole();
  const path = `api/admin/vaults/${encodeURIComponent(owner)}`;
  const vault = useResource<VaultDetail>(path);
  return (
    <>
      <p><a href="#/vaults">All vaults</a></p>
      <section aria-labelledby="vault">
        <h2 id="vault">Vault of <Key text={owner} /></h2>
        <Loaded from={vault}>
          {(data) => (
            <>
              <Facts rows={[
                ["State", <Badge text={data.state} />],
                ...BALANCES.map(([name, field]): [string, preact.VNode] => [name, <Money amount={data[field] as number} />]),
                ["Token account", data.token_account === null ? "unknown" : <Key text={data.token_account} />],
                ["As of slot", numberText(data.slot)],
                ["Updated", timeText(data.updated_at)],
              ]} />
              <Comparison comparison={data.comparison} />
            </>
          )}
        </Loaded>
        <p class="buttons">
          <button type="button" onClick={() => void vault.reload()}>Compare again</button>
          <Action label="Reconcile" subject="this vault" role="operator" question="Reconcile this vault?" done={() => void vault.reload()}
            consequences={<p>The leader compares this vault with the chain soon, and corrects its row where it differs. Each difference is listed under Reconciliation. It is audited.</p>}
            perform={async () => {
              await api.post("api/admin/reconcile", { owner });
              return <p>Queued. Differences appear under <a href="#/reconciliation">Reconciliation</a>.</p>;
            }} />
        </p>
      </section>
      <BalanceAtSlot path={path} />
      <History owner={owner} />
    </>
  );
}

function Comparison({ comparison }: { comparison: VaultDetail["comparison"] }) {
  return (
    <>
      <p role="status">
        <Badge text={comparison.equal ? "equal" : "different"} tone={comparison.equal ? "good" : "critical"} />{" "}
        {comparison.equal ? "The books say what the chain says" : "The books differ from the chain"} at slot {numberText(comparison.slot)}.
        {!comparison.equal && !comparison.conclusive && " They may only be a moment behind or ahead: compare again."}
      </p>
      <Table caption="The books beside the chain" rows={comparison.fields} keyOf={(each) => each.field} empty="Nothing was compared." columns={[
        { name: "Field", of: (each) => words(each.field) },
        { name: "Books", numeric: true, of: (each) => <Compared field={each.field} value={each.database} /> },
        { name: "Chain", numeric: true, of: (each) => <Compared field={each.field} value={each.chain} /> },
        { name: "Differs", of: (each) => (each.equal ? "" : <Badge text="different" tone="critical" />) },
      ]} />
    </>
  );
}

const AMOUNTS = ["balance", "available", "locked", "timelocked", "yield", "total_deposited", "total_withdrawn"];

function Compared({ field, value }: { field: string; value: unknown }) {
  if (AMOUNTS.includes(field) && typeof value === "number") return <Money amount={value} />;
  return <code class="details">{Array.isArray(value) ? value.join(", ") || "none" : valueText(value)}</code>;
}

function BalanceAtSlot({ path }: { path: string }) {
  const [slot, setSlot] = useState("");
  const at = useResource<Vault & { yield_deposited: Vault["yield"] }>(slot === "" ? null : `${path}/balance${queryOf({ slot })}`);
  return (
    <section aria-labelledby="at-slot">
      <h2 id="at-slot">Balance at a slot</h2>
      <Filters label="Which slot" filters={[{ name: "slot", label: "Slot" }]} values={{ slot }} apply={({ slot: wanted = "" }) => setSlot(wanted)} />
      <Loaded from={at}>
        {(data) => <Facts rows={[
          ["Slot", numberText(data.slot)],
          ...BALANCES.map(([name, field]): [string, preact.VNode] => [
            name, <Money amount={field === "yield" ? data.yield_deposited : (data[field] as number)} />,
          ]),
        ]} />}
      </Loaded>
    </section>
  );
}

function History({ owner }: { owner: string }) {
  const [cursor, setCursor] = useState<string | number | null>(null);
  const history = useResource<{ transactions: Movement[]; next_cursor: number | null }>(
    `api/vault/transactions/${encodeURIComponent(owner)}${queryOf({ cursor })}`,
    "transaction_update",
  );
  return (
    <section aria-labelledby="history">
      <h2 id="history">History</h2>
      <Loaded from={history}>
        {({ transactions, next_cursor }) => (
          <>
            <Table caption="Movements, newest first" rows={transactions} keyOf={(each) => `${each.signature} ${each.id}`} empty="Nothing has moved yet." columns={[
              { name: "Kind", of: (each) => words(each.kind) },
              { name: "Amount", numeric: true, of: (each) => <Money amount={each.amount} /> },
              { name: "Balance after", numeric: true, of: (each) => <Money amount={each.balance_after} /> },
              { name: "Slot", numeric: true, of: (each) => numberText(each.slot) },
              { name: "Time", of: (each) => timeText(each.block_time) },
              { name: "Commitment", of: (each) => each.commitment },
              { name: "Signature", of: (each) => <Key text={each.signature} /> },
            ]} />
            <Pages cursor={next_cursor} older={setCursor} newest={cursor === null ? null : () => setCursor(null)} />
          </>
        )}
      </Loaded>
    </section>
  );
}
