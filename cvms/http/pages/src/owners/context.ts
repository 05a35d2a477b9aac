import { createContext } from "preact";
import { useContext } from "preact/hooks";

import type { Resource, Shared } from "../api/shared";
import type { OperationProps } from "./operation/operation";
import type { Signer } from "./signing/wallet_standard";
import type { Deployment, SecondFactor, Vault } from "./types";

/** What every part of an owner's page has. */
export interface Owned extends Shared {
  owner: string;
  deployment: Deployment | null;
  vault: Resource<Vault>;
  secondFactor: Resource<SecondFactor>;
  /** The connected wallet's account. */
  signer: Signer | null;
  /** Open the dialog of an operation. */
  begin: (operation: OperationProps) => void;
}

export const OwnedContext = createContext<Owned | null>(null);

export function useOwned(): Owned {
  const found = useContext(OwnedContext);
  if (found === null) throw new Error("a part was shown without the page around it");
  return found;
}

/** Return whether the connected wallet is one of the signers of the vault's multisig. */
export function isSigner({ vault, signer }: Owned): boolean {
  return signer !== null && (vault.data?.multisig.signers.includes(signer.address) ?? false);
}
