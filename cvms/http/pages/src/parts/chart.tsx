import { useId } from "preact/hooks";

export interface Series {
  name: string;
  points: { at: Date; value: number | null }[];
}

interface ChartProps {
  title: string;
  series: Series[];
  /** Write a value of the vertical axis. */
  text: (value: number) => string;
}

const WIDTH = 600;
const HEIGHT = 200;
const BOX = { left: 8, right: 592, top: 26, bottom: 176 };

/** Lines over time. Where a value is unknown, the line has a gap. */
export function Chart({ title, series, text }: ChartProps) {
  const id = useId();
  const known = series.flatMap(({ points }) => points.filter((each) => each.value !== null));
  const times = known.map((each) => each.at.getTime());
  if (new Set(times).size < 2) {
    return <figure class="chart"><figcaption>{title}</figcaption><p class="note">There are not yet two points to draw.</p></figure>;
  }
  const values = known.map((each) => each.value as number);
  const high = Math.max(...values, 0);
  const low = Math.min(...values, 0);
  const [from, to] = [Math.min(...times), Math.max(...times)];
  const x = (at: Date) => BOX.left + ((at.getTime() - from) / (to - from)) * (BOX.right - BOX.left);
  const y = (value: number) => BOX.bottom - ((value - low) / (high - low || 1)) * (BOX.bottom - BOX.top);
  return (
    <figure class="chart">
      <figcaption>{title}</figcaption>
      <svg viewBox={`0 0 ${WIDTH} ${HEIGHT}`} role="img" aria-labelledby={`${id}-title ${id}-desc`}>
        <title id={`${id}-title`}>{title}</title>
        <desc id={`${id}-desc`}>{series.map((each) => described(each, text)).join(" ")}</desc>
        <line class="axis" x1={BOX.left} x2={BOX.right} y1={y(0)} y2={y(0)} />
        <line class="grid" x1={BOX.left} x2={BOX.right} y1={BOX.top} y2={BOX.top} />
        <text x={BOX.left} y={BOX.top - 8}>{text(high)}</text>
        {series.map(({ name, points }, number) => <path key={name} class={`line-${number}`} d={path(points, x, y)} />)}
        <text x={BOX.left} y={HEIGHT - 6}>{clock(from, to - from)}</text>
        <text x={BOX.right} y={HEIGHT - 6} class="end">{clock(to, to - from)}</text>
      </svg>
      {series.length > 1 && (
        <ul class="legend">{series.map(({ name }, number) => <li key={name} class={`line-${number}`}>{name}</li>)}</ul>
      )}
    </figure>
  );
}

function path(points: Series["points"], x: (at: Date) => number, y: (value: number) => number): string {
  let drawing = false;
  const steps = points.map(({ at, value }) => {
    if (value === null) {
      drawing = false;
      return "";
    }
    const command = drawing ? "L" : "M";
    drawing = true;
    return `${command}${x(at).toFixed(1)} ${y(value).toFixed(1)}`;
  });
  return steps.join("");
}

function described({ name, points }: Series, text: (value: number) => string): string {
  const values = points.map((each) => each.value).filter((each) => each !== null);
  const last = values.at(-1);
  if (last === undefined) return `${name}: unknown.`;
  return `${name}: between ${text(Math.min(...values))} and ${text(Math.max(...values))}, now ${text(last)}.`;
}

function clock(time: number, span: number): string {
  const iso = new Date(time).toISOString();
  return span > 36 * 3_600_000 ? iso.slice(5, 10) : `${iso.slice(11, span < 600_000 ? 19 : 16)} UTC`;
}
