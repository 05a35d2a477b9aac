import { useState } from "preact/hooks";

import { queryOf, useConsole, useResource } from "../api/hooks";
import type { Delivery } from "../api/types";
import { Action } from "../parts/action";
import { Filters } from "../parts/filters";
import { numberText, timeText } from "../parts/format";
import { Badge, Key, Loaded, Pages, Table } from "../parts/shown";

const FILTERS = [
  { name: "state", label: "State", options: [["", "all"], ["pending", "pending"], ["delivered", "delivered"], ["given_up", "given up"]] as [string, string][] },
  { name: "recipient", label: "Recipient", options: [["", "all"], ["operators", "operators"]] as [string, string][] },
];

/** Which messages to webhooks arrived, and which did not. */
export function Deliveries() {
  const { api } = useConsole();
  const [filter, setFilter] = useState<Record<string, string>>({});
  const [cursor, setCursor] = useState<string | number | null>(null);
  const page = useResource<{ deliveries: Delivery[]; next_cursor: string | null }>(`api/admin/deliveries${queryOf({ ...filter, cursor })}`);
  return (
    <>
      <Filters label="Which deliveries" filters={FILTERS} values={filter} apply={(values) => { setCursor(null); setFilter(values); }} />
      <Loaded from={page}>
        {({ deliveries, next_cursor }) => (
          <>
            <Table caption="Deliveries, newest first" rows={deliveries} keyOf={(each) => each.id} empty="There is no such delivery." columns={[
              { name: "Message", of: (each) => <code>{each.id}</code> },
              { name: "Event", of: (each) => each.event },
              { name: "To", of: (each) => (each.signer ? <Key text={each.signer} /> : each.endpoint ? <code>{each.endpoint}</code> : "operators") },
              { name: "State", of: (each) => <Badge text={each.state} /> },
              { name: "Tries", numeric: true, of: (each) => numberText(each.tries) },
              { name: "Last error", of: (each) => each.last_error ?? "" },
              { name: "Created", of: (each) => timeText(each.created_at) },
              { name: "Action", of: (each) => (
                <Action label="Send again" subject={each.id} role="operator" question="Send this message again?" done={() => void page.reload()}
                  consequences={<p>The message of {timeText(each.created_at)} is sent to the URL that its recipient has now, with the same <code>webhook-id</code>, and is tried for a day. A recipient that ignores the id handles it twice. It is audited.</p>}
                  perform={async () => {
                    const { state } = await api.post<Delivery>(`api/admin/deliveries/${each.id}/resend`);
                    return <p>The message is {state}. Read the list again in a moment.</p>;
                  }} />) },
            ]} />
            <p><button type="button" onClick={() => void page.reload()}>Read again</button></p>
            <Pages cursor={next_cursor} older={setCursor} newest={cursor === null ? null : () => setCursor(null)} />
          </>
        )}
      </Loaded>
    </>
  );
}
