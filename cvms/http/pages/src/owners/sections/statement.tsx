import { useState } from "preact/hooks";

import { type Problem, problemFrom } from "../../api/client";
import { queryOf } from "../../api/shared";
import { Trouble } from "../../parts/shown";
import { useOwned } from "../context";

const DAY_MS = 86_400_000;

/** The statement of a period, as a file. */
export function Statement() {
  const { api, owner, announce } = useOwned();
  const [first, setFirst] = useState("");
  const [last, setLast] = useState("");
  const [saved, setSaved] = useState("");
  const [problem, setProblem] = useState<Problem | null>(null);
  const save = async (event: Event) => {
    event.preventDefault();
    setProblem(null);
    setSaved("");
    try {
      const query = queryOf({ format: "csv", from: first && startOf(first, 0), to: last && startOf(last, 1) });
      const url = URL.createObjectURL(await api.download(`api/vault/statement/${owner}${query}`));
      const name = `statement-${owner}.csv`;
      Object.assign(document.createElement("a"), { href: url, download: name }).click();
      window.setTimeout(() => URL.revokeObjectURL(url), 10_000);
      setSaved(`The statement is saved as ${name}.`);
      announce("The statement is saved.");
    } catch (error) {
      setProblem(problemFrom(error));
    }
  };
  return (
    <section aria-labelledby="statement">
      <h2 id="statement">Statement</h2>
      <p>Opening and closing balances, and every final movement between, in the token's smallest units. Days are in UTC; without days it is all that is known.</p>
      <form class="filters" onSubmit={(event) => void save(event)}>
        <label>First day<input type="date" name="first" value={first} max={last || undefined} onInput={(event) => setFirst(event.currentTarget.value)} /></label>
        <label>Last day<input type="date" name="last" value={last} min={first || undefined} onInput={(event) => setLast(event.currentTarget.value)} /></label>
        <button type="submit">Download as CSV</button>
      </form>
      {saved !== "" && <p class="outcome" role="status">{saved}</p>}
      {problem && <Trouble problem={problem} />}
    </section>
  );
}

/** Return the beginning of a day, or of one that many days later. */
function startOf(day: string, later: number): string {
  return new Date(Date.parse(`${day}T00:00:00Z`) + later * DAY_MS).toISOString();
}
