import { useEffect, useState } from "preact/hooks";

import { type Problem, problemFrom } from "../../api/client";
import { useResource } from "../../api/shared";
import { Filters } from "../../parts/filters";
import { amountText, timeText } from "../../parts/format";
import { Badge, Facts, Key, Loaded, Money, Trouble } from "../../parts/shown";
import { useOwned } from "../context";
import { Offer } from "../operation/offer";
import type { Proposal, Reply } from "../types";
import { AMOUNT, readAmount } from "./amounts";

const TOPIC = "multisig_event";

/** Withdrawals that the signers of the vault's multisig propose, approve and sign. */
export function Proposals() {
  const { owner, vault, decimals, deployment } = useOwned();
  const { threshold = 0, signers = [] } = vault.data?.multisig ?? {};
  const [ids, setIds] = useState<string[]>([]);
  const add = (...found: string[]) => setIds((before) => [...new Set([...before, ...found])]);
  if (threshold === 0) {
    return (
      <section aria-labelledby="multisig">
        <h2 id="multisig">Multisig</h2>
        <p>{vault.data === null ? "This is shown once there is a vault." : "This vault has no multisig: the owner withdraws alone."}</p>
      </section>
    );
  }
  const amount = (values: Record<string, string>) => readAmount(values["amount"], decimals ?? 0);
  return (
    <section aria-labelledby="multisig">
      <h2 id="multisig">Multisig</h2>
      <p>A withdrawal needs {threshold} of these {signers.length} signers:</p>
      <ul>{signers.map((each) => <li key={each}><Key text={each} /></li>)}</ul>
      <p class="buttons">
        <Offer label="Propose a withdrawal" by="owner" blocked={deployment === null ? "the service has not answered yet" : undefined} question="Propose a withdrawal"
          about={<p>Available: {amountText(vault.data?.available, decimals)} USDT. Once {threshold} signers have approved it, they sign its transaction. The tokens go to the owner's wallet.</p>}
          fields={[AMOUNT]}
          ask={async (values, attempt) => {
            const fields = { owner, amount: String(amount(values)), threshold };
            const proposal = await attempt.post<Proposal>({ path: "api/vault/propose-withdraw", action: "propose_withdraw", fields });
            add(proposal.proposal_id);
            return {};
          }}
          outcome={() => <p>It is proposed. Send its id, under Multisig, to the signers.</p>} />
      </p>
      <Waiting found={add} />
      <Filters label="One proposal" filters={[{ name: "id", label: "Show the proposal with the id" }]} values={{ id: "" }} apply={({ id = "" }) => id !== "" && add(id)} />
      {ids.map((id) => <OneProposal key={id} id={id} />)}
    </section>
  );
}

/** Ask for the proposals that wait, of which only the owner and the signers may know. */
function Waiting({ found }: { found: (...ids: string[]) => void }) {
  const { api, live, owner, signer, vault } = useOwned();
  const [state, setState] = useState<"off" | "asking" | "on">("off");
  const [ended, setEnded] = useState("");
  const [problem, setProblem] = useState<Problem | null>(null);
  useEffect(() => live.listen(({ topic, type, data }) => {
    if (topic !== TOPIC) return;
    if (type === "ended") {
      setState("off");
      setEnded(String(data));
    } else if (type === "snapshot") {
      setState("on");
      found(...(data as { proposals: Proposal[] }).proposals.map((each) => each.proposal_id));
    } else if (type === "event") {
      found((data as Proposal).proposal_id);
    }
  }), [live]);
  const ask = async () => {
    if (signer === null) return;
    setState("asking");
    setEnded("");
    setProblem(null);
    try {
      const { nonce } = await api.post<{ nonce: string }>("api/auth/nonce", { owner: signer.address });
      const proof = await signer.signText(`subscribe:${TOPIC}:${owner}:${nonce}`);
      live.ask(TOPIC, { owner, signer: signer.address, nonce, ...proof });
    } catch (error) {
      setState("off");
      setProblem(problemFrom(error));
    }
  };
  const allowed = signer !== null && (signer.address === owner || (vault.data?.multisig.signers.includes(signer.address) ?? false));
  return (
    <>
      {state === "on"
        ? <p role="status">Shown live: all proposals that wait, while this page is connected.</p>
        : <p>
            <button type="button" disabled={!allowed || state === "asking"} onClick={() => void ask()}>Show what waits</button>{" "}
            <span class="note">{allowed ? "Your wallet signs a text, which proves that you may see it. It moves nothing." : "Connect the wallet of the owner or of a signer to see it."}</span>
          </p>}
      {ended !== "" && <p class="trouble" role="alert">New proposals are not shown any more. {ended} Ask again.</p>}
      {problem && <Trouble problem={problem} />}
    </>
  );
}

function OneProposal({ id }: { id: string }) {
  const { owner } = useOwned();
  const proposal = useResource<Proposal>(pathOf(id), TOPIC, "transaction_update");
  return (
    <article class="card" aria-label={`Proposal ${id}`}>
      <h3>Proposal <Key text={id} /></h3>
      <Loaded from={proposal}>
        {(data) => data.owner === owner
          ? <>
              <Progress proposal={data} />
              <p class="buttons">
                {["open", "approved", "collecting"].includes(data.state) && (
                  <>
                    <Approve proposal={data} reload={proposal.reload} />
                    <Sign proposal={data} reload={proposal.reload} />
                  </>
                )}
                <button type="button" onClick={() => void proposal.reload()}>Read again</button>
              </p>
            </>
          : <p class="trouble">It is about the vault of <Key text={data.owner} />. Open <a href={data.owner}>that page</a>.</p>}
      </Loaded>
    </article>
  );
}

function Progress({ proposal }: { proposal: Proposal }) {
  const { amount, status, state, approvals, threshold, transaction, missing, expires_at } = proposal;
  return (
    <Facts rows={[
      ["Amount", <><Money amount={amount} /> USDT</>],
      ["State", <Badge text={status ?? state} />],
      ["Approvals", `${approvals.length} of ${threshold}: ${approvals.map((each) => each.signer).join(", ") || "none yet"}`],
      [transaction === undefined ? "May still approve" : "Have not signed", missing.join(", ") || "nobody"],
      ["Ends", timeText(expires_at)],
    ]} />
  );
}

interface StepProps {
  proposal: Proposal;
  reload: () => Promise<void>;
}

function Approve({ proposal, reload }: StepProps) {
  const { signer, owner, decimals } = useOwned();
  const address = signer?.address ?? "";
  const amount = amountText(proposal.amount, decimals);
  return (
    <Offer label="Approve" subject={`the withdrawal of ${amount} USDT`} by="signer" question="Approve this withdrawal?"
      blocked={proposal.approvals.some((each) => each.signer === address) ? "you have approved it" : undefined}
      about={<p>{amount} USDT go from the vault to its owner, <Key text={owner} />. Your wallet signs a text; the transaction follows once enough signers have approved.</p>}
      ask={async (_values, attempt) => {
        const fields = { proposal_id: proposal.proposal_id };
        await attempt.post({ path: "api/vault/approve-withdraw", action: "approve_withdraw", fields, beside: { signer: address } });
        await reload();
        return {};
      }}
      outcome={() => <p>Your approval counts. Once there are enough, sign the transaction here.</p>} />
  );
}

function Sign({ proposal, reload }: StepProps) {
  const { api, signer, decimals } = useOwned();
  const { transaction: built, must_sign: asked = [], missing } = proposal;
  const isMissing = signer !== null && asked.includes(signer.address) && missing.includes(signer.address);
  const barrier = built === undefined ? "it has no transaction yet" : isMissing ? undefined : "your signature is not missing";
  return (
    <Offer label="Sign" subject={`the withdrawal of ${amountText(proposal.amount, decimals)} USDT`} by="signer" primary
      blocked={barrier} question="Sign this withdrawal"
      about={<p>Your wallet signs its transaction. The last signature sends it.</p>}
      expected={() => ({ instruction: "withdraw", fields: { amount: BigInt(proposal.amount) } })}
      ask={async () => {
        // The newest one: a block hash is valid for a minute.
        const { transaction } = await api.get<Proposal>(pathOf(proposal.proposal_id));
        return transaction === undefined ? {} : { transaction };
      }}
      outcome={(reply) => <Collected reply={reply} reload={reload} />} />
  );
}

function pathOf(id: string): string {
  return `api/vault/proposal/${encodeURIComponent(id)}`;
}

/** What became of a signature while others are missing. */
function Collected({ reply, reload }: { reply: Reply; reload: () => Promise<void> }) {
  useEffect(() => void reload(), []);
  if (reply.rebuilt) return <p>The signatures took too long, and the transaction has expired. There is a new one: sign that, and tell the others.</p>;
  if (reply.missing === undefined) return <p>There is nothing to sign any more: look at its state.</p>;
  return <p>Your signature is kept. Still missing: {reply.missing.join(", ")}.</p>;
}
