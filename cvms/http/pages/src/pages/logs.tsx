import { useState } from "preact/hooks";

import { queryOf, useConsole, useResource } from "../api/hooks";
import { includes } from "../api/session";
import type { LogLine } from "../api/types";
import { Action } from "../parts/action";
import { Filters } from "../parts/filters";
import { timeText, valueText } from "../parts/format";
import { Badge, Loaded, Table } from "../parts/shown";

const LEVELS = ["debug", "info", "warning", "error"];
const FILTERS = [
  { name: "minutes", label: "Minutes", options: [["1", "1"], ["5", "5"], ["15", "15"]] as [string, string][] },
  { name: "level", label: "Level from", options: [["", "all"], ...LEVELS.map((each) => [each, each])] as [string, string][] },
  { name: "text", label: "Text contains" },
];

/** What this process has logged in the last minutes. */
export function Logs() {
  const { session } = useConsole();
  const [filter, setFilter] = useState<Record<string, string>>({ minutes: "5" });
  const allowed = includes(session, "operator");
  const logs = useResource<{ lines: LogLine[] }>(allowed ? `api/admin/logs${queryOf(filter)}` : null);
  if (!allowed) return <p class="trouble">The log needs the role operator; yours is {session.role}. Sign in with a token that has it.</p>;
  return (
    <>
      <p>The lines of the process that answers; another replica has others. Secrets are left out, as in the log itself.</p>
      <Level />
      <Filters label="Which lines" filters={FILTERS} values={filter} apply={setFilter} />
      <p><button type="button" onClick={() => void logs.reload()}>Read again</button></p>
      <Loaded from={logs}>
        {({ lines }) => (
          <Table caption="Log lines" rows={lines} keyOf={(line) => lines.indexOf(line)} empty="There is no such line." columns={[
            { name: "Time", of: (line) => timeText(line.at) },
            { name: "Level", of: (line) => <Badge text={line.level} /> },
            { name: "Event", of: (line) => <code>{line.event}</code> },
            { name: "Fields", of: ({ at: _at, level: _level, event: _event, ...fields }) => <code class="details">{fieldsText(fields)}</code> },
          ]} />
        )}
      </Loaded>
    </>
  );
}

function fieldsText(fields: Record<string, unknown>): string {
  return Object.entries(fields).map(([name, value]) => `${name}=${valueText(value)}`).join(" ");
}

function Level() {
  const { api } = useConsole();
  const level = useResource<{ level: string; until: string | null }>("api/admin/log-level");
  return (
    <>
      <Loaded from={level}>
        {({ level: current, until }) => <p>The level is {current}{until !== null && `, until ${timeText(until)}`}.</p>}
      </Loaded>
      <p class="buttons">
        <Action label="Change the level" role="admin" question="Change the level of the log?" done={() => void level.reload()}
          consequences={<p>This process logs from this level on, until the time is over. At debug, the log grows by a line for each request. It is audited.</p>}
          fields={[
            { name: "level", label: "Level", value: "debug", options: LEVELS.map((each) => [each, each]) },
            { name: "minutes", label: "Minutes", value: "10", kind: "number", min: 1, max: 1440 },
          ]}
          perform={async ({ level: wanted, minutes }) => {
            const { until } = await api.put<{ until: string | null }>("api/admin/log-level", { level: wanted, minutes: Number(minutes) });
            return <p>The level is {wanted} until {timeText(until)}.</p>;
          }} />
      </p>
    </>
  );
}
