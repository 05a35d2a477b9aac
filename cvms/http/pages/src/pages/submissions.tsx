import { useState } from "preact/hooks";

import { queryOf, useConsole, useResource } from "../api/hooks";
import type { Evidence, Governed, Outcome, Submission } from "../api/types";
import { Action, GovernedOutcome } from "../parts/action";
import { Filters } from "../parts/filters";
import { numberText, secondsText, timeText, valueText, words } from "../parts/format";
import { Badge, Facts, Key, Loaded, Money, Pages, Table } from "../parts/shown";

const STATES: [string, string][] = [
  ["quarantined", "quarantined: outcome unknown"], ["pending", "pending: not sent"], ["submitted", "submitted"], ["confirmed", "confirmed"],
];
const OUTCOMES: Outcome[] = ["finalized", "failed", "expired"];

/** What was sent to the chain, what became of it, and what a person has to decide. */
export function Submissions({ rest }: { rest: string }) {
  return rest === "" ? <SubmissionList /> : <OneSubmission key={rest} id={rest} />;
}

function SubmissionList() {
  const { overview } = useConsole();
  const [filter, setFilter] = useState<Record<string, string>>({ state: "quarantined" });
  const [cursor, setCursor] = useState<string | number | null>(null);
  const page = useResource<{ submissions: Submission[]; next_cursor: string | null }>(
    `api/admin/submissions${queryOf({ ...filter, cursor })}`,
    "transaction_update",
  );
  return (
    <>
      {overview && <Facts rows={Object.entries(overview.submissions).map(([state, count]) => [words(state), numberText(count)])} />}
      <Filters label="Which submissions" filters={[{ name: "state", label: "State", options: STATES }]} values={filter}
        apply={(values) => { setCursor(null); setFilter(values); }} />
      <Loaded from={page}>
        {({ submissions, next_cursor }) => (
          <>
            <Table caption="Submissions, newest first" rows={submissions} keyOf={(each) => each.id} empty={`No submission is ${filter["state"]}.`} columns={[
              { name: "Submission", of: (each) => <a href={`#/submissions/${each.id}`}>{words(each.kind)} <code>{each.id.slice(0, 12)}</code></a> },
              { name: "State", of: (each) => <Badge text={each.state} /> },
              { name: "Age", numeric: true, of: (each) => secondsText(each.age) },
              { name: "Amount", numeric: true, of: (each) => (each.amount === null ? "none" : <Money amount={each.amount} />) },
              { name: "Owner", of: (each) => <a href={`#/vaults/${each.owner}`}><Key text={each.owner} /></a> },
              { name: "Error", of: (each) => (each.error === null ? "" : valueText(each.error)) },
              { name: "Signed", of: (each) => timeText(each.signed_at) },
            ]} />
            <Pages cursor={next_cursor} older={setCursor} newest={cursor === null ? null : () => setCursor(null)} />
          </>
        )}
      </Loaded>
    </>
  );
}

function OneSubmission({ id }: { id: string }) {
  const evidence = useResource<Evidence>(`api/admin/submissions/${encodeURIComponent(id)}`, "transaction_update");
  return (
    <>
      <p><a href="#/submissions">All submissions</a></p>
      <p class="note">Every node is asked, which takes up to ten seconds. Asked at {timeText(evidence.at)}.{" "}
        <button type="button" onClick={() => void evidence.reload()}>Ask again</button></p>
      <Loaded from={evidence}>{(data) => <Shown evidence={data} done={() => void evidence.reload()} />}</Loaded>
    </>
  );
}

function Shown({ evidence, done }: { evidence: Evidence; done: () => void }) {
  const { submission } = evidence;
  return (
    <>
      <section aria-labelledby="submission">
        <h2 id="submission">{words(submission.kind)} <code>{submission.id.slice(0, 12)}</code></h2>
        <Facts rows={[
          ["State", <Badge text={submission.state} />],
          ["Age", secondsText(submission.age)],
          ["Amount", submission.amount === null ? "none" : <Money amount={submission.amount} />],
          ["Owner", <a href={`#/vaults/${submission.owner}`}><Key text={submission.owner} /></a>],
          ["Signature", <Key text={submission.signature} />],
          ["Its block is after slot", numberText(submission.since_slot)],
          ["… up to the height", numberText(submission.last_valid_block_height)],
          ["Last seen in slot", submission.seen_slot === null ? "never" : numberText(submission.seen_slot)],
          ["Error", submission.error === null ? "none" : valueText(submission.error)],
        ]} />
      </section>
      <section aria-labelledby="evidence">
        <h2 id="evidence">Evidence</h2>
        <p>The evidence shows: <Badge text={evidence.suggested} />. The index is complete up to slot {numberText(evidence.indexed_through)}.</p>
        <Table caption="What each node says" rows={evidence.endpoints} keyOf={(each) => each.host} empty="No node was asked." columns={[
          { name: "Node", of: (each) => each.host },
          { name: "Its word", of: (each) => each.error ?? (each.status ? `${each.status.commitment} in slot ${each.status.slot}${each.status.error === null ? "" : `, failed: ${valueText(each.status.error)}`}` : "does not know it") },
          { name: "True for slot", numeric: true, of: (each) => numberText(each.slot) },
          { name: "Keeps blocks from", numeric: true, of: (each) => numberText(each.first_slot) },
          { name: "Blocks read", of: (each) => (each.blocks ? `${each.blocks.count}, ${each.blocks.complete ? "all" : "not all"}${each.blocks.containing_slot === null ? "; none has it" : `; slot ${each.blocks.containing_slot} has it`}` : "none") },
        ]} />
        <Table caption="What speaks against each outcome" rows={OUTCOMES} keyOf={(each) => each} empty="" columns={[
          { name: "Outcome", of: (each) => each },
          { name: "Against it", of: (each) => <span class="details">{evidence.contradictions[each].join(" ") || "nothing"}</span> },
        ]} />
        <Table caption="Its events in the index" rows={evidence.events} keyOf={(each) => `${each.slot} ${each.name}`} empty="The index has no event of it." columns={[
          { name: "Event", of: (each) => words(each.name) },
          { name: "Slot", numeric: true, of: (each) => numberText(each.slot) },
          { name: "Commitment", of: (each) => each.commitment },
        ]} />
      </section>
      <Settle evidence={evidence} done={done} />
    </>
  );
}

function Settle({ evidence, done }: { evidence: Evidence; done: () => void }) {
  const { api } = useConsole();
  const { submission, suggested } = evidence;
  const first = suggested === "unknown" ? "expired" : suggested;
  return (
    <p class="buttons">
      <Action label="Settle" subject={`submission ${submission.id.slice(0, 12)}`} role="admin" dangerous done={done}
        blocked={submission.state === "quarantined" ? undefined : `it is ${submission.state}; only a quarantined one is settled`}
        question="Settle this submission?"
        consequences={<><p>You decide what became of the transaction. Clients see it as final, and it is never sent again. If you are wrong, somebody may pay twice or not at all.</p><p>The evidence shows: {suggested}. What the evidence contradicts is refused. It may need a second administrator, and is audited.</p></>}
        fields={[
          { name: "outcome", label: "Outcome", value: first, options: OUTCOMES.map((each) => [each, each]) },
          { name: "reason", label: "Reason, with what you have looked at", value: "", maxLength: 500 },
        ]}
        perform={async ({ outcome, reason }) => {
          const reply = await api.post<Governed & Partial<Submission>>(`api/admin/submissions/${submission.id}/settle`, { outcome, reason });
          return reply.state === undefined ? <GovernedOutcome reply={reply} /> : <p>It is settled as {reply.state}.</p>;
        }} />
    </p>
  );
}
