import { useEffect, useState } from "preact/hooks";

import { queryOf, useConsole, useResource } from "../api/hooks";
import type { Charts, Endpoint, Overview as Shown, Severity } from "../api/types";
import { Chart } from "../parts/chart";
import { amountText, counted, numberText, secondsText, solText, timeText, words } from "../parts/format";
import { Badge, Facts, Key, Loaded, Money, Table, Trouble } from "../parts/shown";
import { Checks } from "./reconciliation";

/** Is the service well, and what needs a person? */
export function Overview() {
  const { overview: streamed } = useConsole();
  const read = useResource<Shown>("api/admin/overview");
  const shown = newer(streamed, read.data);
  return (
    <>
      {read.problem && <Trouble problem={read.problem} retry={() => void read.reload()} />}
      {shown === null ? read.loading && <p class="note">Loading…</p> : <State shown={shown} />}
      <ChartsSection />
      {shown && <Parts shown={shown} />}
    </>
  );
}

function newer(one: Shown | null, other: Shown | null): Shown | null {
  if (one === null || other === null) return one ?? other;
  return one.at >= other.at ? one : other;
}

const SEVERITIES: Severity[] = ["critical", "warning", "info"];

function State({ shown }: { shown: Shown }) {
  const troubles = Object.entries(shown.components).filter(([, part]) => part.status !== "ok");
  const open = SEVERITIES.filter((each) => (shown.alerts[each] ?? 0) > 0);
  return (
    <section aria-labelledby="state">
      <h2 id="state">Now</h2>
      <p class="note">As of {timeText(shown.at)}.</p>
      <ul class="tiles">
        <Tile name="State" tone={troubles.length > 0 ? "critical" : "good"}
          value={troubles.length > 0 ? "Not ready" : "Ready"} note={troubles.map(([name]) => words(name)).join(", ")} />
        <Tile name="Open alerts" tone={shown.alerts.critical > 0 ? "critical" : open.length > 0 ? "warning" : "good"}
          value={open.length === 0 ? "None" : open.map((each) => `${shown.alerts[each]} ${each}`).join(", ")} link="#/alerts" />
        <Tile name="Value held" value={<Money amount={shown.total_value_locked} />} note={`in ${counted(shown.active_vaults ?? 0, "vault")}`} link="#/vaults" />
        <Tile name="Behind the chain" value={secondsText(shown.lag_seconds)}
          note={`slot ${numberText(shown.slot)} of ${numberText(shown.chain_slot)}`} />
        <Tile name="Operator" tone={shown.operator.pays ? "good" : "critical"} value={solText(shown.operator.lamports)}
          note={shown.operator.pays ? `pays fees; stops below ${solText(shown.operator.minimum_lamports)}` : `does not pay: it needs ${solText(shown.operator.minimum_lamports)} and a signer`} />
        <Tile name="Quarantined" tone={(shown.submissions["quarantined"] ?? 0) > 0 ? "critical" : "good"}
          value={numberText(shown.submissions["quarantined"] ?? 0)} note="transactions of unknown outcome" link="#/submissions" />
      </ul>
    </section>
  );
}

interface TileProps {
  name: string;
  value: preact.ComponentChildren;
  note?: string;
  tone?: string;
  link?: string;
}

function Tile({ name, value, note, tone = "plain", link }: TileProps) {
  return (
    <li class={`tile ${tone}`}>
      <h3>{link ? <a href={link}>{name}</a> : name}</h3>
      <p class="value">{value}</p>
      {note && <p class="note">{note}</p>}
    </li>
  );
}

const SPANS: [string, string][] = [["6", "6 hours"], ["24", "a day"], ["168", "a week"], ["720", "30 days"]];

function ChartsSection() {
  const { decimals, lag } = useConsole();
  const [hours, setHours] = useState("24");
  const charts = useResource<Charts>(`api/admin/charts${queryOf({ hours })}`);
  useEffect(() => {
    const timer = window.setInterval(() => void charts.reload(), 300_000);
    return () => window.clearInterval(timer);
  }, [charts.reload]);
  const money = (value: number) => amountText(Math.round(value), decimals);
  return (
    <section aria-labelledby="charts">
      <h2 id="charts">Over time</h2>
      <label class="inline">Span
        <select value={hours} onChange={(event) => setHours(event.currentTarget.value)}>
          {SPANS.map(([value, text]) => <option key={value} value={value}>{text}</option>)}
        </select>
      </label>
      <Loaded from={charts}>
        {({ points }) => {
          const line = (name: string, of: (point: Charts["points"][number]) => number | bigint | null) => ({
            name,
            points: points.map((each) => ({ at: new Date(each.at), value: numberOf(of(each)) })),
          });
          return (
            <div class="charts">
              <Chart title="Value held" text={money} series={[line("Value held", (each) => each.total_value_locked)]} />
              <Chart title="Flows" text={money}
                series={[line("Deposits", (each) => each.deposits), line("Withdrawals", (each) => each.withdrawals)]} />
              <Chart title="Time to confirmation, 95th percentile" text={secondsText}
                series={[line("Seconds", (each) => each.confirmation_seconds_p95)]} />
              <Chart title="Behind the chain, since this page was opened" text={secondsText} series={[{ name: "Lag", points: lag }]} />
            </div>
          );
        }}
      </Loaded>
    </section>
  );
}

function numberOf(value: number | bigint | null): number | null {
  return value === null ? null : Number(value);
}

function Parts({ shown }: { shown: Shown }) {
  return (
    <>
      <section aria-labelledby="parts">
        <h2 id="parts">Parts</h2>
        <Table caption="Components" empty="No component has reported yet." keyOf={([name]) => name}
          rows={Object.entries(shown.components)}
          columns={[
            { name: "Component", of: ([name]) => words(name) },
            { name: "State", of: ([, part]) => <Badge text={part.status} tone={part.status === "ok" ? "good" : "critical"} /> },
            { name: "Detail", of: ([, part]) => part.detail ?? words(part.kind) },
          ]} />
        <Table caption="Warnings" empty="No warning." keyOf={([name]) => name} rows={Object.entries(shown.warnings)}
          columns={[{ name: "Warning", of: ([name]) => words(name) }, { name: "Detail", of: ([, text]) => text }]} />
        <Checks checks={shown.checks} />
        <Table caption="RPC endpoints" empty="No endpoint is configured." keyOf={(each) => each.host} rows={shown.endpoints}
          columns={[
            { name: "Host", of: (each) => each.host },
            { name: "State", of: (each) => <EndpointState endpoint={each} /> },
            { name: "Slot", numeric: true, of: (each) => numberText(each.slot) },
            { name: "Latency", numeric: true, of: (each) => secondsText(each.latency_seconds) },
          ]} />
        <Table caption="Replicas" empty="No replica has reported within a minute." keyOf={(each) => each.instance} rows={shown.instances}
          columns={[
            { name: "Replica", of: (each) => <Key text={each.instance} /> },
            { name: "Host", of: (each) => each.host },
            { name: "Leads", of: (each) => (each.leader ? "leader" : "") },
            { name: "State", of: (each) => <Badge text={each.ready ? "ready" : "not ready"} tone={each.ready ? "good" : "critical"} /> },
            { name: "Version", of: (each) => each.version },
            { name: "Started", of: (each) => timeText(each.started_at) },
            { name: "Seen", of: (each) => timeText(each.seen_at) },
          ]} />
      </section>
      <Tasks />
      <section aria-labelledby="operator">
        <h2 id="operator">Operator and submissions</h2>
        <Facts rows={[
          ["Operator's address", <Key text={shown.operator.address} />],
          ...Object.entries(shown.submissions).map(([state, count]): [string, string] => [`Submissions, ${state}`, numberText(count)]),
        ]} />
      </section>
    </>
  );
}

function EndpointState({ endpoint: { state, failures, failures_before_down: most } }: { endpoint: Endpoint }) {
  return <Badge text={state === "failing" ? `failing, ${failures} of ${most}` : state} tone={state === "failing" ? "warning" : undefined} />;
}

interface Task {
  state: string;
  restarts: number;
  last_error: string | null;
  last_success: string | null;
  trouble: string | null;
}

function Tasks() {
  const tasks = useResource<{ tasks: Record<string, Task> }>("api/admin/tasks");
  return (
    <section aria-labelledby="tasks">
      <h2 id="tasks">Tasks of this replica</h2>
      <p class="note">Read at {timeText(tasks.at)}. <button type="button" onClick={() => void tasks.reload()}>Read again</button></p>
      <Loaded from={tasks}>
        {(data) => (
          <Table caption="Tasks" empty="No task runs here." keyOf={([name]) => name} rows={Object.entries(data.tasks)}
            columns={[
              { name: "Task", of: ([name]) => words(name) },
              { name: "State", of: ([, task]) => <Badge text={task.state} tone={task.trouble ? "critical" : "good"} /> },
              { name: "Last success", of: ([, task]) => timeText(task.last_success) },
              { name: "Restarts", numeric: true, of: ([, task]) => numberText(task.restarts) },
              { name: "Trouble", of: ([, task]) => task.trouble ?? task.last_error ?? "" },
            ]} />
        )}
      </Loaded>
    </section>
  );
}
