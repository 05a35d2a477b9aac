import { useId } from "preact/hooks";

import { isSigner, type Owned, useOwned } from "../context";
import type { OperationProps } from "./operation";

interface OfferProps extends OperationProps {
  /** What it is done to, for those who hear the button without its row. */
  subject?: string;
  /** Whose wallet it takes; none if anybody may do it. */
  by: "owner" | "signer" | "anybody";
  /** Why nobody may do it now, if so. */
  blocked?: string | undefined;
  primary?: boolean;
}

/** The button of an operation, or why it cannot be done now. */
export function Offer({ subject, by, blocked, primary, ...operation }: OfferProps) {
  const owned = useOwned();
  const hint = useId();
  const barrier = missing(owned, by) ?? blocked;
  return (
    <span class="action">
      <button type="button" class={primary && barrier === undefined ? "primary" : ""} disabled={barrier !== undefined}
        aria-label={subject === undefined ? operation.label : `${operation.label} ${subject}`}
        aria-describedby={barrier === undefined ? undefined : hint} onClick={() => owned.begin(operation)}>
        {operation.label}
      </button>
      {barrier !== undefined && <small id={hint} class="note">{barrier}</small>}
    </span>
  );
}

function missing(owned: Owned, by: OfferProps["by"]): string | undefined {
  const { signer, owner, deployment } = owned;
  if (deployment === null) return "the service has not answered yet";
  if (by === "anybody") return undefined;
  if (signer === null) return "connect a wallet first";
  if (by === "owner" && signer.address !== owner) return "only the owner's wallet can do this";
  if (by === "signer" && !isSigner(owned)) return "only a signer of the multisig can do this";
  return undefined;
}
