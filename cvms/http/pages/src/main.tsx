import { render } from "preact";
import { useCallback, useEffect, useMemo, useState } from "preact/hooks";

import { ADVICE } from "./api/advice";
import { Api } from "./api/client";
import { type Console, ConsoleContext, usePlace } from "./api/hooks";
import { CONSOLE_TOPICS, Live } from "./api/live";
import { type Session, store, storedSession } from "./api/session";
import { SharedContext } from "./api/shared";
import type { Alert, Overview as OverviewData } from "./api/types";
import { PAGES } from "./pages/registry";
import { type ActionProps, Confirmation } from "./parts/action";
import { words } from "./parts/format";
import { Shell } from "./parts/shell";
import { SignIn } from "./parts/sign_in";

const LAG_POINTS = 300;

function App() {
  const [session, setSession] = useState(storedSession);
  const [reason, setReason] = useState("");
  const change = useCallback((to: Session | null, why: string) => {
    store(to);
    setReason(why);
    setSession(to);
  }, []);
  if (session === null) return <SignIn reason={reason} enter={(entered) => change(entered, "")} />;
  return <SignedIn key={session.token} session={session} leave={(why) => change(null, why)} />;
}

function SignedIn({ session, leave }: { session: Session; leave: (why: string) => void }) {
  const place = usePlace();
  const [spoken, announce] = useState("");
  const [asked, ask] = useState<ActionProps | null>(null);
  const [overview, setOverview] = useState<OverviewData | null>(null);
  const [lag, setLag] = useState<Console["lag"]>([]);
  const [decimals, setDecimals] = useState<number | null>(null);
  const api = useMemo(() => new Api({
    headers: { Authorization: `Bearer ${session.token}` },
    advice: ADVICE,
    refused: (problem) => leave(problem.detail),
  }), [session]);
  const live = useMemo(
    () => new Live({ topics: CONSOLE_TOPICS, fields: { token: session.token }, refused: leave }),
    [session],
  );

  useEffect(() => {
    const stop = live.listen(({ topic, type, data }) => {
      if (topic === "operations" && data !== null && type !== "reset") {
        const shown = data as OverviewData;
        setOverview(shown);
        setLag((before) => [...before, { at: new Date(shown.at), value: shown.lag_seconds }].slice(-LAG_POINTS));
      } else if (topic === "security_alert" && type === "event") {
        const { kind, severity, state, summary } = data as Alert;
        announce(`${state === "open" ? severity : state} alert, ${words(kind)}: ${summary}`);
      }
    });
    live.start();
    return () => {
      stop();
      live.stop();
    };
  }, [live]);

  useEffect(() => {
    // Without them, amounts are shown in the smallest unit, which is said beside them.
    void api.get<{ decimals: number }>("api/config").then(
      (config) => setDecimals(config.decimals),
      () => undefined,
    );
  }, [api]);

  useEffect(() => {
    const timer = window.setTimeout(
      () => leave("Your token has expired. Make a new one with `cvms token`."),
      session.expires.getTime() - Date.now(),
    );
    return () => window.clearTimeout(timer);
  }, [session]);

  const current = PAGES.find(({ name }) => name === place.page) ?? PAGES[0]!;
  const { Page } = current;
  const context: Console = { api, live, decimals, session, overview, lag, announce, ask };
  return (
    <SharedContext.Provider value={context}>
      <ConsoleContext.Provider value={context}>
        <Shell pages={PAGES} current={current} part={place.rest} spoken={spoken} leave={() => leave("")}>
          <Page key={current.name} rest={place.rest} query={place.query} />
        </Shell>
        {asked && <Confirmation {...asked} close={() => ask(null)} />}
      </ConsoleContext.Provider>
    </SharedContext.Provider>
  );
}

const root = document.getElementById("console")!;
root.replaceChildren();
render(<App />, root);
performance.mark("console-interactive");
