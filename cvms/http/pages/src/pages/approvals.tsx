import { useState } from "preact/hooks";

import { queryOf, useConsole, useResource } from "../api/hooks";
import type { Approval, Governed } from "../api/types";
import { Action, GovernedOutcome } from "../parts/action";
import { Filters } from "../parts/filters";
import { timeText, words } from "../parts/format";
import { Badge, Loaded, Pages, Table } from "../parts/shown";

const STATES = ["pending", "executed", "refused", "rejected", "withdrawn", "expired"];
const FILTERS = [{ name: "status", label: "Status", options: [["", "all"], ...STATES.map((each) => [each, each])] as [string, string][] }];

/** What waits for a second person. */
export function Approvals() {
  const [filter, setFilter] = useState<Record<string, string>>({ status: "pending" });
  const [cursor, setCursor] = useState<string | number | null>(null);
  const page = useResource<{ approvals: Approval[]; next_cursor: string | null }>(
    `api/admin/approvals${queryOf({ ...filter, cursor })}`,
    "security_alert",
  );
  return (
    <>
      <p>Read each summary as if it came from a stranger: whoever requests with a stolen token hopes for an approval out of habit.</p>
      <Filters label="Which approvals" filters={FILTERS} values={filter} apply={(values) => { setCursor(null); setFilter(values); }} />
      <Loaded from={page}>
        {({ approvals, next_cursor }) => (
          <>
            <Table caption="Approvals, newest first" rows={approvals} keyOf={(each) => each.id} empty={filter["status"] === "pending" ? "Nothing waits for a second person." : "There is no such approval."} columns={[
              { name: "Action", of: (each) => words(each.action) },
              { name: "What", of: (each) => <span class="details">{each.summary}</span> },
              { name: "Decision", of: (each) => (each.status === "pending" ? <Decision approval={each} done={() => void page.reload()} /> : "") },
              { name: "Status", of: (each) => <Badge text={each.status} /> },
              { name: "Requested by", of: (each) => <>{each.requested_by}, {timeText(each.requested_at)}</> },
              { name: "Until", of: (each) => timeText(each.expires_at) },
              { name: "Decided by", of: (each) => each.decided_by ?? "" },
            ]} />
            <Pages cursor={next_cursor} older={setCursor} newest={cursor === null ? null : () => setCursor(null)} />
          </>
        )}
      </Loaded>
    </>
  );
}

function Decision({ approval, done }: { approval: Approval; done: () => void }) {
  const { api, session } = useConsole();
  const path = `api/admin/approvals/${approval.id}`;
  const own = approval.requested_by.toLowerCase() === session.name.toLowerCase();
  const subject = words(approval.action);
  const ended = async (what: string) => {
    const { status } = await api.post<Approval>(`${path}/${what}`);
    return <p>The request is {status}. It has no effect.</p>;
  };
  if (own) {
    return (
      <>
        <p class="note">Another administrator has to approve it.</p>
        <Action label="Withdraw" subject={subject} role="admin" question={`Withdraw ${subject}?`} done={done}
          consequences={<><p>{approval.summary}</p><p>The request ends without an effect. Request it anew if it is needed later.</p></>}
          perform={() => ended("withdraw")} />
      </>
    );
  }
  return (
    <>
      <Action label="Approve" subject={subject} role="admin" dangerous question={`Approve ${subject}?`} done={done}
        consequences={<><p>{approval.summary}</p><p>It is executed at once, as {approval.requested_by} has requested it, and cannot be taken back here. Ask {approval.requested_by} on another channel whether the request is theirs.</p></>}
        perform={async () => {
          const reply = await api.post<Governed>(`${path}/approve`);
          return <><p>Approved.</p><GovernedOutcome reply={reply} /></>;
        }} />
      <Action label="Reject" subject={subject} role="admin" question={`Reject ${subject}?`} done={done}
        consequences={<><p>{approval.summary}</p><p>The request ends without an effect.</p></>} perform={() => ended("reject")} />
    </>
  );
}
