import { useState } from "preact/hooks";

import { queryOf, useConsole, useResource } from "../api/hooks";
import type { Alert } from "../api/types";
import { Action } from "../parts/action";
import { Filters } from "../parts/filters";
import { timeText, valueText, words } from "../parts/format";
import { Badge, Facts, Key, Loaded, Pages, Table } from "../parts/shown";
import { RunbookBeside } from "./runbooks";

interface AlertPage {
  alerts: Alert[];
  next_cursor: number | null;
}

const FILTERS = [
  { name: "state", label: "State", options: [["", "all"], ["open", "open"], ["acknowledged", "acknowledged"], ["resolved", "resolved"]] as [string, string][] },
  { name: "severity", label: "Severity", options: [["", "all"], ["critical", "critical"], ["warning", "warning"], ["info", "info"]] as [string, string][] },
];

/** What needs a person, who looks at it, and what to do. */
export function Alerts({ rest }: { rest: string }) {
  const [filter, setFilter] = useState<Record<string, string>>({});
  const [cursor, setCursor] = useState<string | number | null>(null);
  const page = useResource<AlertPage>(`api/admin/alerts${queryOf({ ...filter, cursor })}`, "security_alert");
  const chosen = page.data?.alerts.find((each) => String(each.id) === rest) ?? null;
  return (
    <>
      <Filters label="Which alerts" filters={FILTERS} values={filter} apply={(values) => { setCursor(null); setFilter(values); }} />
      <Loaded from={page}>
        {({ alerts, next_cursor }) => (
          <>
            {rest !== "" && chosen === null && <p class="note">Alert {rest} is not on this page. Change the filters, or go through the pages.</p>}
            {chosen && <Detail key={chosen.id} alert={chosen} done={page.reload} />}
            <Table caption="Alerts, newest first" rows={alerts} keyOf={(each) => each.id} empty="There is no such alert." columns={[
              { name: "Alert", of: (each) => <a href={`#/alerts/${each.id}`}>{words(each.kind)} {each.id}</a> },
              { name: "Severity", of: (each) => <Badge text={each.severity} /> },
              { name: "State", of: (each) => <>{each.state}{isSilenced(each) && ", silenced"}</> },
              { name: "What", of: (each) => <span class="details">{each.summary}</span> },
              { name: "Count", numeric: true, of: (each) => each.count },
              { name: "Last seen", of: (each) => timeText(each.last_seen_at) },
              { name: "Handled by", of: (each) => each.acknowledged_by ?? "" },
            ]} />
            <Pages cursor={next_cursor} older={setCursor} newest={cursor === null ? null : () => setCursor(null)} />
          </>
        )}
      </Loaded>
    </>
  );
}

function isSilenced(alert: Alert): boolean {
  return alert.silenced_until != null && new Date(alert.silenced_until) > new Date();
}

function Detail({ alert, done }: { alert: Alert; done: () => void }) {
  return (
    <section aria-labelledby="alert" class="beside">
      <div>
        <h2 id="alert">Alert {alert.id}: {words(alert.kind)}</h2>
        <p>{alert.summary}</p>
        <Facts rows={[
          ["Severity", <Badge text={alert.severity} />],
          ["State", alert.state],
          ["Subject", <Key text={alert.subject} />],
          ...(alert.owner === null ? [] : [["Owner", <a href={`#/vaults/${alert.owner}`}><Key text={alert.owner} /></a>] as [string, preact.VNode]]),
          ["First seen", timeText(alert.first_seen_at)],
          ["Last seen", timeText(alert.last_seen_at)],
          ["Handled by", alert.acknowledged_by ?? "nobody yet"],
          ...(isSilenced(alert) ? [["Silenced", `until ${timeText(alert.silenced_until)} by ${alert.silenced_by}: ${alert.silence_reason}`] as [string, string]] : []),
          ...Object.entries(alert.details).map(([name, value]): [string, string] => [words(name), valueText(value)]),
        ]} />
        <p class="buttons"><Buttons alert={alert} done={done} /></p>
      </div>
      <RunbookBeside kind={alert.kind} />
    </section>
  );
}

function Buttons({ alert, done }: { alert: Alert; done: () => void }) {
  const { api } = useConsole();
  const path = `api/admin/alerts/${alert.id}`;
  const subject = `alert ${alert.id}`;
  const over = alert.state === "resolved" ? "it is resolved" : undefined;
  const known = over ?? (alert.state === "acknowledged" ? "it is acknowledged" : undefined);
  return (
    <>
      <Action label="Acknowledge" subject={subject} role="operator" blocked={known} question={`Acknowledge ${subject}?`} done={done}
        consequences={<p>Everybody sees that you are handling it. An alert that only a person can end is resolved by this. It is audited, and cannot be taken back.</p>}
        perform={async () => {
          const { state } = await api.post<Alert>(`${path}/acknowledge`);
          return <p>The alert is {state}.</p>;
        }} />
      {isSilenced(alert)
        ? <Action label="End the silence" subject={`of ${subject}`} role="operator" blocked={over} question={`End the silence of ${subject}?`} done={done}
            consequences={<p>From now on, changes of this alert are sent to the operators' webhook again.</p>}
            perform={async () => {
              await api.post(`${path}/unsilence`);
              return <p>The silence has ended.</p>;
            }} />
        : <Action label="Silence" subject={subject} role="operator" blocked={over} question={`Silence ${subject}?`} done={done}
            consequences={<p>No webhook is sent for this alert until the time is over, or its severity rises. It stays visible here. Your name and the reason are shown and audited.</p>}
            fields={[
              { name: "minutes", label: "Minutes (1 to 10080, a week)", value: "60", kind: "number", min: 1, max: 10_080 },
              { name: "reason", label: "Reason", value: "", maxLength: 500 },
            ]}
            perform={async ({ minutes, reason }) => {
              const { silenced_until } = await api.post<Alert>(`${path}/silence`, { minutes: Number(minutes), reason });
              return <p>Silent until {timeText(silenced_until)}.</p>;
            }} />}
    </>
  );
}
