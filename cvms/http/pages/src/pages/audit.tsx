import { useState } from "preact/hooks";

import { type Api, problemFrom, type Problem } from "../api/client";
import { queryOf, useConsole, useResource } from "../api/hooks";
import type { AuditEntry, AuditProof } from "../api/types";
import { Action } from "../parts/action";
import { Filters } from "../parts/filters";
import { numberText, timeText, valueText } from "../parts/format";
import { Key, Loaded, Pages, Table, Trouble } from "../parts/shown";

const FILTERS = [{ name: "owner", label: "Owner" }, { name: "action", label: "Action" }];

/** Who did what, and whether somebody has changed the record of it. */
export function Audit() {
  const { api } = useConsole();
  const [filter, setFilter] = useState<Record<string, string>>({});
  const [cursor, setCursor] = useState<string | number | null>(null);
  const page = useResource<{ entries: AuditEntry[]; next_cursor: number | null }>(`api/admin/audit${queryOf({ ...filter, cursor })}`);
  return (
    <>
      <Filters label="Which entries" filters={FILTERS} values={filter} apply={(values) => { setCursor(null); setFilter(values); }} />
      <p class="buttons">
        <Action label="Verify" subject="the audit trail" role="viewer" question="Verify the audit trail?"
          consequences={<p>The service computes every hash again and compares. It changes nothing. With a long trail it takes a while.</p>}
          perform={async () => <Proof proof={await verified(api)} />} />
        <Export query={queryOf(filter)} />
      </p>
      <Loaded from={page}>
        {({ entries, next_cursor }) => (
          <>
            <Table caption="Audit trail, newest first" rows={entries} keyOf={(each) => each.id} empty="There is no such entry." columns={[
              { name: "Entry", of: (each) => each.id },
              { name: "Time", of: (each) => timeText(each.at) },
              { name: "Who", of: (each) => each.actor },
              { name: "Action", of: (each) => <code>{each.action}</code> },
              { name: "Outcome", of: (each) => each.outcome },
              { name: "Owner", of: (each) => (each.owner === null ? "" : <Key text={each.owner} />) },
              { name: "Details", of: (each) => <code class="details">{valueText(each.details)}</code> },
            ]} />
            <Pages cursor={next_cursor} older={setCursor} newest={cursor === null ? null : () => setCursor(null)} />
          </>
        )}
      </Loaded>
    </>
  );
}

const MOST_STEPS = 100; // of eight seconds each

/** Verify the whole trail, in as many steps as the service needs. */
async function verified(api: Api): Promise<AuditProof> {
  let proof = await api.post<AuditProof>("api/admin/audit/verify");
  for (let step = 1; proof.equal === null && step < MOST_STEPS; step++) {
    proof = await api.post<AuditProof>(`api/admin/audit/verify${queryOf({ after: proof.verified_to })}`);
  }
  return proof;
}

function Proof({ proof }: { proof: AuditProof }) {
  if (proof.equal) {
    return <p>{numberText(proof.entries)} entries agree with their hashes, up to entry {proof.verified_to}. The newest hash is <code class="key">{proof.head}</code>. Only <code>cvms audit verify</code> compares with heads that were published elsewhere.</p>;
  }
  if (proof.equal === null) {
    return <p>Entries up to {proof.verified_to} of {numberText(proof.entries)} agree with their hashes. The rest takes too long here: run <code>cvms audit verify</code>.</p>;
  }
  return <p class="trouble"><strong>The audit trail was changed.</strong> {proof.fault} Compare with a head that was published before, and keep a copy of the database.</p>;
}

function Export({ query }: { query: string }) {
  const { api, announce } = useConsole();
  const [problem, setProblem] = useState<Problem | null>(null);
  const save = async () => {
    setProblem(null);
    try {
      const url = URL.createObjectURL(await api.download(`api/admin/audit/export${query}`));
      const link = Object.assign(document.createElement("a"), { href: url, download: "audit.ndjson" });
      link.click();
      URL.revokeObjectURL(url);
      announce("The audit trail is being saved as audit.ndjson.");
    } catch (error) {
      setProblem(problemFrom(error));
    }
  };
  return (
    <>
      <button type="button" onClick={() => void save()}>Export as NDJSON</button>
      {problem && <Trouble problem={problem} />}
    </>
  );
}
