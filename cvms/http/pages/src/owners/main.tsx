import { render } from "preact";
import { useEffect, useMemo, useState } from "preact/hooks";

import { Api } from "../api/client";
import { Live, OWNER_TOPICS } from "../api/live";
import { type Shared, SharedContext, useResource } from "../api/shared";
import { LiveSign } from "../parts/live_sign";
import { Key } from "../parts/shown";
import { ADVICE } from "./advice";
import { type Owned, OwnedContext } from "./context";
import { Operation, type OperationProps } from "./operation/operation";
import { Delays } from "./sections/delays";
import { Movements } from "./sections/movements";
import { Proposals } from "./sections/proposals";
import { SecondFactor } from "./sections/second_factor";
import { Statement } from "./sections/statement";
import { Balances, History } from "./sections/vault";
import { Wallet } from "./sections/wallet";
import { useWallet } from "./signing/use_wallet";
import type { Deployment, SecondFactor as Status, Vault } from "./types";

const ROOT = "../"; // the page is /vault/{owner}
const DEPLOYMENT_TRIES_MS = 5_000;
const RULES_MS = 15_000; // a change of signers, delay or limits has no event
const PARTS: [string, string][] = [
  ["wallet", "Wallet"], ["balances", "Balances"], ["movements", "Move tokens"], ["timelocks", "Timelocks"],
  ["requests", "Requests"], ["multisig", "Multisig"], ["second-factor", "Second factor"],
  ["history", "History"], ["statement", "Statement"],
];

function App({ owner }: { owner: string }) {
  const [spoken, announce] = useState("");
  const api = useMemo(() => new Api({
    root: ROOT, headers: { Accept: "application/json; amounts=string" }, advice: ADVICE,
  }), []);
  // Of public topics nothing is refused; what a proof was for, its part of the page shows.
  const live = useMemo(() => new Live({ root: ROOT, topics: OWNER_TOPICS, fields: { owner }, refused: announce }), [owner]);
  const deployment = useDeployment(api);
  useEffect(() => {
    live.start();
    return () => live.stop();
  }, [live]);
  const shared = { api, live, decimals: deployment?.decimals ?? null, announce };
  return (
    <SharedContext.Provider value={shared}>
      <Page owner={owner} deployment={deployment} shared={shared} />
      <div role="status" class="spoken">{spoken}</div>
    </SharedContext.Provider>
  );
}

function Page({ owner, deployment, shared }: { owner: string; deployment: Deployment | null; shared: Shared }) {
  const vault = useResource<Vault>(`api/vault/${owner}`, ...OWNER_TOPICS);
  const secondFactor = useResource<Status>(`api/2fa/status/${owner}`);
  const choice = useWallet(owner);
  useEffect(() => {
    const timer = window.setInterval(() => document.hidden || void vault.reload(), RULES_MS);
    return () => window.clearInterval(timer);
  }, [vault.reload]);
  const wallet = choice.signer?.address;
  const [begun, setBegun] = useState<{ operation: OperationProps; wallet: string | undefined } | null>(null);
  const begin = (operation: OperationProps) => setBegun({ operation, wallet });
  const context: Owned = { ...shared, owner, deployment, vault, secondFactor, signer: choice.signer, begin };
  return (
    <OwnedContext.Provider value={context}>
      <a class="skip" href="#page">Skip to the page</a>
      <header>
        <p class="product">CVMS vault</p>
        <LiveSign />
      </header>
      <nav aria-label="Parts of the page">
        <ul>{PARTS.map(([id, title]) => <li key={id}><a href={`#${id}`}>{title}</a></li>)}</ul>
      </nav>
      <main id="page" tabIndex={-1}>
        <h1>Vault of <Key text={owner} /></h1>
        <Wallet choice={choice} />
        <Balances />
        <Movements />
        <Delays />
        <Proposals />
        <SecondFactor />
        <History />
        <Statement />
      </main>
      {/* What was begun with another wallet ends. */}
      {begun?.wallet === wallet && begun && <Operation {...begun.operation} close={() => setBegun(null)} />}
    </OwnedContext.Provider>
  );
}

/** Read what the page has to know of this deployment, again until the service answers. */
function useDeployment(api: Api): Deployment | null {
  const [deployment, setDeployment] = useState<Deployment | null>(null);
  useEffect(() => {
    if (deployment !== null) return;
    const read = () => void api.get<Deployment>("api/config").then(setDeployment, () => undefined);
    read();
    const timer = window.setInterval(read, DEPLOYMENT_TRIES_MS);
    return () => window.clearInterval(timer);
  }, [deployment, api]);
  return deployment;
}

const owner = location.pathname.split("/").at(-1) ?? "";
document.title = `Vault of ${owner} · CVMS`;
const root = document.getElementById("owners")!;
root.replaceChildren();
render(<App owner={owner} />, root);
performance.mark("owners-interactive");
