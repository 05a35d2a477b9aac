import { type Resource, useConsole, useResource } from "../api/hooks";
import type { Governance, Governed, Programs as ProgramList } from "../api/types";
import { Action, GovernedOutcome } from "../parts/action";
import { numberText, timeText, words } from "../parts/format";
import { Badge, Facts, Key, Loaded, Table } from "../parts/shown";

/** Which code holds the money, and who may change the rules. */
export function Programs() {
  const programs = useResource<ProgramList>("api/admin/programs");
  const governance = useResource<Governance>("api/admin/governance", "transaction_update");
  return (
    <>
      <section aria-labelledby="programs">
        <h2 id="programs">Programs</h2>
        <Loaded from={programs}>
          {(data) => (
            <Table caption="Programs on chain" rows={data.programs} keyOf={(each) => each.name} empty="No program is configured." columns={[
              { name: "Program", of: (each) => words(each.name) },
              { name: "Address", of: (each) => <Key text={each.program_id} /> },
              { name: "Deployed", of: (each) => <Badge text={each.deployed ? "deployed" : "missing"} tone={each.deployed ? "good" : "critical"} /> },
              { name: "Code", of: (each) => <Code code={each.code_hash} expected={each.expected_hash} /> },
              { name: "Upgrade authority", of: (each) => (each.upgrade_authority === null ? "nobody" : <Key text={each.upgrade_authority} />) },
              { name: "Slot", numeric: true, of: (each) => numberText(each.slot) },
            ]} />
          )}
        </Loaded>
      </section>
      <section aria-labelledby="governance">
        <h2 id="governance">Governance</h2>
        <Loaded from={governance}>{(data) => <Held governance={data} />}</Loaded>
        <Acts governance={governance} />
      </section>
    </>
  );
}

function Code({ code, expected }: { code: string | null; expected: string | null }) {
  if (code === null) return <>unknown</>;
  if (expected === null) return <code class="key">{code}</code>;
  return code === expected
    ? <><Badge text="as expected" tone="good" /> <code>{code.slice(0, 16)}…</code></>
    : <><Badge text="other code" tone="critical" /> <code class="key">{code}</code>, expected <code class="key">{expected}</code></>;
}

function Held({ governance }: { governance: Governance }) {
  const paused = isPaused(governance);
  return (
    <Facts rows={[
      ["Governance", <Key text={governance.governance} />],
      ["Held by", governance.held_by],
      ["Proposed governance", governance.pending_governance === null ? "none" : <Key text={governance.pending_governance} />],
      ["Programs that move collateral", <Keys keys={governance.authorized_programs} />],
      ["Programs that pay yield", <Keys keys={governance.yield_programs} />],
      ["Frozen", <Badge text={governance.freeze ? "frozen" : "not frozen"} tone={governance.freeze ? "critical" : "good"} />],
      ["Withdrawals", <Badge text={paused ? "paused" : "possible"} tone={paused ? "critical" : "good"} />],
      ["Paused until", timeText(governance.withdrawals_paused_until)],
      ["Calling program must be named", governance.cpi_enforced ? "yes" : "no"],
      ["Risk level", numberText(governance.risk_level)],
    ]} />
  );
}

function Keys({ keys }: { keys: string[] }) {
  return keys.length === 0 ? <>none</> : <ul class="plain">{keys.map((each) => <li key={each}><Key text={each} /></li>)}</ul>;
}

function isPaused({ withdrawals_paused_until: until }: Governance): boolean {
  return until !== null && new Date(until) > new Date();
}

function Acts({ governance }: { governance: Resource<Governance> }) {
  const { api } = useConsole();
  const state = governance.data;
  if (state === null) return null;
  const paused = isPaused(state);
  const done = () => void governance.reload();
  const act = (path: string, body: object) => async (_values: unknown, key: string) => (
    <GovernedOutcome reply={await api.post<Governed>(path, body, key)} />
  );
  return (
    <p class="buttons">
      {state.freeze
        ? <Action label="Unfreeze" role="admin" dangerous question="Unfreeze collateral?" done={done}
            consequences={<p>Programs can lock, unlock and transfer collateral again. A second administrator has to approve it, unless one is enough here. It is audited.</p>}
            perform={act("api/admin/freeze/set", { freeze: false })} />
        : <Action label="Freeze" role="admin" dangerous question="Freeze collateral?" done={done}
            consequences={<p>At once, programs can neither lock, unlock nor transfer collateral, for all vaults. Withdrawals go on. Only two people can end it. It is audited.</p>}
            perform={act("api/admin/freeze/set", { freeze: true })} />}
      {paused
        ? <Action label="End the pause" role="admin" dangerous question="End the pause of withdrawals?" done={done}
            consequences={<p>Owners and delegates can withdraw again. A second administrator has to approve it, unless one is enough here. It is audited.</p>}
            perform={act("api/admin/withdrawals/pause", { seconds: 0 })} />
        : <Action label="Pause withdrawals" role="admin" dangerous question="Pause all withdrawals?" done={done}
            consequences={<p>At once, no owner and no delegate can withdraw, for the hours given. It cannot be repeated within seven days of its end. It is audited.</p>}
            fields={[{ name: "hours", label: "Hours (1 to 72)", value: "24", kind: "number", min: 1, max: 72 }]}
            perform={({ hours }, key) => act("api/admin/withdrawals/pause", { seconds: Number(hours) * 3600 })(null, key)} />}
    </p>
  );
}
