import { useConsole, useResource } from "../api/hooks";
import type { Check, Difference } from "../api/types";
import { Action } from "../parts/action";
import { numberText, timeText, words } from "../parts/format";
import { Badge, Key, Loaded, Money, Table } from "../parts/shown";

/** Do the books say what the chain says, and what was corrected? */
export function Reconciliation() {
  const { api, overview } = useConsole();
  const found = useResource<{ differences: Difference[] }>("api/admin/reconciliation?limit=100", "security_alert");
  return (
    <>
      <section aria-labelledby="passes">
        <h2 id="passes">Passes</h2>
        {overview === null
          ? <p class="note">The passes are shown once the service sends its state.</p>
          : <Checks checks={overview.checks} />}
        <p class="buttons">
          <Action label="Reconcile all vaults" role="operator" question="Reconcile all vaults?" done={() => void found.reload()}
            consequences={<p>The leader compares every vault with the chain, and corrects rows that differ. With many vaults it takes minutes, and asks the RPC nodes for every account. It is audited.</p>}
            perform={async () => {
              await api.post("api/admin/reconcile", {});
              return <p>Queued. Differences appear in the list; none appears if there is none.</p>;
            }} />
          <button type="button" onClick={() => void found.reload()}>Read again</button>
        </p>
      </section>
      <section aria-labelledby="differences">
        <h2 id="differences">Differences</h2>
        <Loaded from={found}>
          {({ differences }) => (
            <Table caption="Differences, newest first" rows={differences} keyOf={(each) => each.id} empty="No difference has been found." columns={[
              { name: "Owner", of: (each) => (each.owner === "*" ? "all" : <a href={`#/vaults/${each.owner}`}><Key text={each.owner} /></a>) },
              { name: "Field", of: (each) => words(each.field) },
              { name: "Chain", numeric: true, of: (each) => <Money amount={each.expected} /> },
              { name: "Books", numeric: true, of: (each) => <Money amount={each.actual} /> },
              { name: "Difference", numeric: true, of: (each) => <Money amount={each.difference} /> },
              { name: "Healed", of: (each) => <Badge text={each.healed ? "healed" : "not healed"} tone={each.healed ? "good" : "critical"} /> },
              { name: "Cause", of: (each) => words(each.cause) },
              { name: "Slot", numeric: true, of: (each) => numberText(each.chain_slot) },
              { name: "Found", of: (each) => timeText(each.created_at) },
            ]} />
          )}
        </Loaded>
      </section>
    </>
  );
}

export function Checks({ checks }: { checks: Record<string, Check> }) {
  return (
    <Table caption="Checks against the chain" rows={Object.entries(checks)} keyOf={([name]) => name}
      empty="The reconciler runs on another replica, which leads." columns={[
        { name: "Check", of: ([name]) => words(name) },
        { name: "State", of: ([, check]) => <Badge text={check.kind} tone={check.ok ? "good" : "critical"} /> },
        { name: "Completed", of: ([, check]) => timeText(check.completed_at) },
        { name: "Detail", of: ([, check]) => check.detail },
      ]} />
  );
}
