import { render } from "preact";
import { useLayoutEffect, useRef, useState } from "preact/hooks";

import { type Check, type Outcome, verify } from "../../../../../clients/verifier/src/verification.js";
import { Badge, type Tone } from "../parts/shown";
import { readForm, Unusable } from "./files";
import { isOffline, meaning } from "./meanings";

const TONES: Record<Outcome, Tone> = { ok: "good", failed: "critical", "not checked": "plain" };
const NO_CRYPTOGRAPHY = "This browser has no cryptography for pages without TLS. Open the page with https, or save it to disk and open it from there.";

type State = { is: "empty" | "busy" } | { is: "unusable"; why: string } | { is: "verified"; checks: Check[] };

function App() {
  const [state, setState] = useState<State>({ is: "empty" });
  // What is read of one form must not be shown beside another.
  const latest = useRef(0);
  const changed = () => {
    latest.current += 1;
    setState({ is: "empty" });
  };
  const submit = async (event: SubmitEvent) => {
    event.preventDefault();
    const number = (latest.current += 1);
    setState({ is: "busy" });
    const next = await outcome(event.target as HTMLFormElement);
    if (number === latest.current) setState(next);
  };
  return (
    <>
      <header><p class="product">CVMS verify</p></header>
      <main>
        <h1>Verify a proof of reserves</h1>
        <p>Does the service owe what it says to your vault, and does it have the tokens? This page verifies that with the files that you choose. It sends nothing
          anywhere, and needs no network once it is loaded: save it to disk, and it works from there.</p>
        <form onSubmit={submit} onInput={changed}>
          <fieldset>
            <legend>Files</legend>
            <label>Inclusion proof of your vault (proof.json)<input type="file" name="proof" accept=".json,application/json" required /></label>
            <label>Copies of the log, optional: the service's, and those that you have kept<input type="file" name="logs" multiple /></label>
            <label>File of reserves, optional<input type="file" name="reserves" /></label>
            <p class="note">The service has them under <code>/api/proofs</code>: <a href="api/proofs/log" download="log.ndjson">download the log</a>.</p>
          </fieldset>
          <fieldset>
            <legend>What you expect</legend>
            <p class="note">Take these from a place that the service does not control. Without the key, anybody can have made the proof.</p>
            {[["key", "Key that signs the log"], ["program", "Vault program"], ["mint", "Mint of the token"]].map(([name, label]) => (
              <label key={name}>{label}, optional<input name={name} autocomplete="off" spellcheck={false} /></label>
            ))}
          </fieldset>
          <p><button class="primary" disabled={state.is === "busy"}>Verify</button></p>
        </form>
        {state.is === "unusable" && <div class="trouble" role="alert"><p>{state.why}</p></div>}
        {state.is === "verified" && <Result checks={state.checks} />}
        <div role="status" class="spoken">{state.is === "busy" ? "Verifying" : ""}</div>
      </main>
    </>
  );
}

/** Each check, and first what follows from all of them. */
function Result({ checks }: { checks: Check[] }) {
  const heading = useRef<HTMLHeadingElement>(null);
  useLayoutEffect(() => heading.current?.focus(), []);
  const failed = checks.filter((each) => each.outcome === "failed");
  const skipped = checks.filter((each) => each.outcome === "not checked");
  const withFiles = skipped.filter(({ name }) => isOffline(name)).map(({ name }) => name);
  return (
    <section aria-labelledby="result">
      <h2 id="result" ref={heading} tabIndex={-1}>{failed.length > 0 ? "The proof fails" : "No check fails"}</h2>
      {failed.length > 0
        ? <div class="trouble"><p>Failed: {failed.map(({ name }) => name).join(", ")}. Keep the files: they show it to others, too.</p></div>
        : <div class="outcome"><p>{checks.length - skipped.length} checks are passed.
            {withFiles.length > 0 && ` More files and keys would allow ${withFiles.join(", ")}.`}</p></div>}
      <ol class="checks">{checks.map((check) => <One key={check.name} check={check} />)}</ol>
      <p class="note">This page asks no Solana node. The command <code>cvms verify</code> does, with <code>--rpc</code>: it also shows that the accounts held the tokens, and that the proof is not old.</p>
    </section>
  );
}

function One({ check: { name, outcome, detail } }: { check: Check }) {
  return (
    <li class={`tile ${TONES[outcome]}`} data-check={name}>
      <h3><Badge text={outcome} tone={TONES[outcome]} /> <code>{name}</code></h3>
      {outcome === "not checked"
        ? <p class="note">Not checked: {detail}. It would show: <q>{meaning(name, false)}</q></p>
        : <><p>{meaning(name, outcome === "failed")}</p><p class="note">{detail}</p></>}
    </li>
  );
}

async function outcome(form: HTMLFormElement): Promise<State> {
  if (!window.isSecureContext) return { is: "unusable", why: NO_CRYPTOGRAPHY };
  try {
    return { is: "verified", checks: await verify(await readForm(form)) };
  } catch (fault) {
    if (!(fault instanceof Unusable)) throw fault;
    return { is: "unusable", why: fault.message };
  }
}

const root = document.getElementById("verify")!;
root.replaceChildren();
render(<App />, root);
