import { useCallback, useEffect, useMemo, useState } from "preact/hooks";

import { type Problem, problemFrom } from "../../api/client";
import { type Account, connect, disconnect, lackingFeatures, Signer, type StandardWallet, watchAccounts, watchWallets } from "./wallet_standard";

const KEY = "cvms-wallet";

export interface WalletChoice {
  wallets: readonly StandardWallet[];
  /** The accounts of the connected wallet. */
  accounts: readonly Account[];
  signer: Signer | null;
  problem: Problem | null;
  connect: (wallet: StandardWallet) => void;
  choose: (address: string) => void;
  disconnect: () => void;
}

/** Keep the wallets of the browser, and the connected one. Its account is the preferred one, if it has that. */
export function useWallet(preferred: string): WalletChoice {
  const [wallets, setWallets] = useState<readonly StandardWallet[]>([]);
  const [wallet, setWallet] = useState<StandardWallet | null>(null);
  const [accounts, setAccounts] = useState<readonly Account[]>([]);
  const [address, setAddress] = useState(preferred);
  const [problem, setProblem] = useState<Problem | null>(null);
  useEffect(() => watchWallets(setWallets), []);
  useEffect(() => (wallet === null ? undefined : watchAccounts(wallet, setAccounts)), [wallet]);

  const open = useCallback(async (chosen: StandardWallet, silent: boolean) => {
    setProblem(null);
    try {
      setAccounts(await connect(chosen, silent));
      setWallet(chosen);
      remember(chosen.name);
    } catch (error) {
      if (!silent) setProblem(problemFrom(error));
    }
  }, []);

  // A reload of this tab goes on with the wallet that it had, without asking.
  useEffect(() => {
    const known = wallets.find((each) => each.name === remembered() && lackingFeatures(each).length === 0);
    if (wallet === null && known !== undefined) void open(known, true);
  }, [wallets]);

  const account = accounts.find((each) => each.address === address) ?? accounts.find((each) => each.address === preferred) ?? accounts[0];
  const signer = useMemo(
    () => (wallet === null || account === undefined ? null : new Signer(wallet, account)),
    [wallet, account],
  );
  return {
    wallets,
    accounts,
    signer,
    problem,
    connect: (chosen) => void open(chosen, false),
    choose: setAddress,
    disconnect: () => {
      if (wallet !== null) void disconnect(wallet).catch(() => undefined);
      remember(null);
      setWallet(null);
      setAccounts([]);
    },
  };
}

function remembered(): string | null {
  try {
    return sessionStorage.getItem(KEY);
  } catch {
    return null;
  }
}

function remember(name: string | null): void {
  try {
    if (name === null) sessionStorage.removeItem(KEY);
    else sessionStorage.setItem(KEY, name);
  } catch {
    // A browser that keeps nothing asks again after a reload.
  }
}
