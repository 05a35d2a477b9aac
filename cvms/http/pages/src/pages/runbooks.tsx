import { useResource } from "../api/hooks";
import type { Runbook } from "../api/types";
import { words } from "../parts/format";
import { Loaded } from "../parts/shown";

const SOURCE = "console/runbooks.json";

/** What to do, in every case that somebody has thought about before. */
export function Runbooks({ rest }: { rest: string }) {
  const runbooks = useResource<Runbook[]>(SOURCE);
  return (
    <Loaded from={runbooks}>
      {(all) => {
        if (all.length === 0) return <p class="note">This build has no runbooks.</p>;
        const chosen = all.find(({ name }) => name === rest);
        return (
          <>
            {rest !== "" && !chosen && <p class="note">There is no runbook {rest}. These are all:</p>}
            {chosen && <article class="prose" aria-label={chosen.title}><h2>{chosen.title}</h2><Text runbook={chosen} /></article>}
            <h2>All runbooks</h2>
            <ul class="columns">
              {all.map(({ name, title }) => <li key={name}><a href={`#/runbooks/${name}`}>{title}</a></li>)}
            </ul>
            <p class="note">They can be read without a token at <a href="console/runbooks">console/runbooks</a>.</p>
          </>
        );
      }}
    </Loaded>
  );
}

/** The runbook of an alert's kind. */
export function RunbookBeside({ kind }: { kind: string }) {
  const runbooks = useResource<Runbook[]>(SOURCE);
  const wanted = kind.replaceAll("_", "-");
  return (
    <aside class="prose runbook" aria-label={`Runbook of ${words(kind)}`}>
      <h3>Runbook</h3>
      <Loaded from={runbooks}>
        {(all) => {
          const found = all.find(({ name }) => name === wanted);
          if (!found) return <p class="note">There is no runbook for {words(kind)} in this build. docs/alerts.md says what it means and what to do.</p>;
          return <><p><a href={`console/runbooks/${wanted}`}>{found.title}</a></p><Text runbook={found} /></>;
        }}
      </Loaded>
    </aside>
  );
}

/** The build has made the HTML from our own documents, without any HTML of theirs. */
function Text({ runbook }: { runbook: Runbook }) {
  const html = runbook.html.replaceAll('href="../runbooks/', 'href="console/runbooks/');
  return <div dangerouslySetInnerHTML={{ __html: html }} />;
}
