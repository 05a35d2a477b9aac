import { useState } from "preact/hooks";

import { readToken, type Session } from "../api/session";

/** The form that takes a token. Nothing is sent: the first page does that. */
export function SignIn({ reason, enter }: { reason: string; enter: (session: Session) => void }) {
  const [token, setToken] = useState("");
  const [fault, setFault] = useState(reason);
  const send = (event: Event) => {
    event.preventDefault();
    try {
      enter(readToken(token));
    } catch (error) {
      setFault(error instanceof Error ? error.message : String(error));
    }
  };
  return (
    <main class="sign-in" id="page">
      <h1>CVMS console</h1>
      <p>For administrators. Whoever runs the service prints a token with <code>cvms token NAME --role viewer</code>.</p>
      <form onSubmit={send}>
        <label>
          Token
          <input type="password" name="token" value={token} required autocomplete="off" spellcheck={false}
            aria-describedby="token-care" aria-invalid={fault !== ""}
            onInput={(event) => setToken(event.currentTarget.value)} />
        </label>
        <p id="token-care" class="note">It stays in this tab until you sign out or close it, and is in no URL.</p>
        <div role="alert">{fault !== "" && <p class="trouble">{fault}</p>}</div>
        <p><button type="submit" class="primary">Sign in</button></p>
      </form>
      <p>Without a token: <a href="console/runbooks">runbooks</a>, <a href="docs">the API</a>.</p>
    </main>
  );
}
