import type { ComponentChildren } from "preact";

import type { Problem } from "../api/client";
import type { Amount } from "../api/exact_json";
import { type Resource, useShared } from "../api/shared";
import { amountText, timeText, words } from "./format";

/** What went wrong, and what to do. */
export function Trouble({ problem, retry }: { problem: Problem; retry?: () => void }) {
  return (
    <div class="trouble" role="alert">
      <p><strong>{problem.title}.</strong> {problem.detail}</p>
      <p>{problem.advice}{problem.requestId !== null && <> Request <code>{problem.requestId}</code>.</>}</p>
      {retry && <button type="button" onClick={retry}>Try again</button>}
    </div>
  );
}

/** A document once it is there. What was read before stays while it is read again, or fails to. */
export function Loaded<T>({ from, children }: { from: Resource<T>; children: (data: T) => ComponentChildren }) {
  const { data, problem, at, loading, reload } = from;
  return (
    <>
      {problem && <Trouble problem={problem} retry={() => void reload()} />}
      {problem && data !== null && <p class="note">What follows was read at {timeText(at)}.</p>}
      {data === null && loading && <p class="note">Loading…</p>}
      {data !== null && children(data)}
    </>
  );
}

export function Money({ amount }: { amount: Amount | string | null | undefined }) {
  const { decimals } = useShared();
  return <span class="number">{amountText(amount, decimals)}</span>;
}

/** A state in words; its colour only repeats them. */
export function Badge({ text, tone }: { text: string; tone?: Tone | undefined }) {
  return <span class={`badge ${tone ?? toneOf(text)}`}>{words(text)}</span>;
}

export type Tone = "good" | "warning" | "critical" | "plain";

const TONES: Record<string, Tone> = {
  ok: "good", open: "plain", up: "good", delivered: "good", finalized: "good", executed: "good", ready: "good",
  critical: "critical", quarantined: "critical", failed: "critical", given_up: "critical", error: "critical",
  down: "critical", warning: "warning", pending: "warning", acknowledged: "plain",
};

function toneOf(text: string): Tone {
  return TONES[text] ?? "plain";
}

export function Facts({ rows }: { rows: [string, ComponentChildren][] }) {
  return (
    <dl class="facts">
      {rows.map(([name, value]) => (
        <div key={name}><dt>{name}</dt><dd>{value}</dd></div>
      ))}
    </dl>
  );
}

export interface Column<T> {
  name: string;
  numeric?: boolean;
  of: (row: T) => ComponentChildren;
}

interface TableProps<T> {
  caption: string;
  rows: T[];
  columns: Column<T>[];
  empty: string;
  keyOf: (row: T) => string | number;
}

/** A table that scrolls sideways where it does not fit. The first column names the row. */
export function Table<T>({ caption, rows, columns, empty, keyOf }: TableProps<T>) {
  if (rows.length === 0) return <p class="note">{empty}</p>;
  return (
    <div class="scroll" role="region" aria-label={caption} tabIndex={0}>
      <table>
        <caption>{caption}</caption>
        <thead>
          <tr>{columns.map(({ name, numeric }) => <th key={name} scope="col" class={numeric ? "number" : ""}>{name}</th>)}</tr>
        </thead>
        <tbody>
          {rows.map((row) => (
            <tr key={keyOf(row)}>
              {columns.map(({ name, numeric, of }, place) =>
                place === 0
                  ? <th key={name} scope="row">{of(row)}</th>
                  : <td key={name} class={numeric ? "number" : ""}>{of(row)}</td>)}
            </tr>
          ))}
        </tbody>
      </table>
    </div>
  );
}

export function Key({ text }: { text: string }) {
  return <code class="key">{text}</code>;
}

interface PagesProps {
  cursor: string | number | null;
  older: (cursor: string | number) => void;
  newest: (() => void) | null;
}

/** The ways to the next page of a list and back to its first. */
export function Pages({ cursor, older, newest }: PagesProps) {
  if (cursor === null && newest === null) return null;
  return (
    <p class="pages">
      {newest && <button type="button" onClick={newest}>First page</button>}
      {cursor !== null && <button type="button" onClick={() => older(cursor)}>Next page</button>}
    </p>
  );
}
