import { Key, Trouble } from "../../parts/shown";
import { useOwned } from "../context";
import type { WalletChoice } from "../signing/use_wallet";
import { lackingFeatures, type StandardWallet } from "../signing/wallet_standard";

/** Which wallet is connected, and what it may do here. */
export function Wallet({ choice }: { choice: WalletChoice }) {
  const { wallets, accounts, signer, problem } = choice;
  return (
    <section aria-labelledby="wallet" class="card">
      <h2 id="wallet">Your wallet</h2>
      {signer === null
        ? <Wallets wallets={wallets} connect={choice.connect} />
        : <>
            <p>{signer.wallet.name}: <Key text={signer.address} /></p>
            {accounts.length > 1 && (
              <label>
                Account
                <select name="account" value={signer.address} onChange={(event) => choice.choose(event.currentTarget.value)}>
                  {accounts.map(({ address, label }) => <option key={address} value={address}>{label ?? address}</option>)}
                </select>
              </label>
            )}
            <Standing />
            <p><button type="button" onClick={choice.disconnect}>Disconnect</button></p>
          </>}
      {problem && <Trouble problem={problem} />}
    </section>
  );
}

function Wallets({ wallets, connect }: { wallets: readonly StandardWallet[]; connect: (wallet: StandardWallet) => void }) {
  if (wallets.length === 0) {
    return <p>No wallet was found. Install one for Solana that follows the Wallet Standard, such as Phantom, Solflare or Backpack, and reload the page. Without one you can read what follows.</p>;
  }
  return (
    <>
      <p>Connect the owner's wallet to move tokens. You can read what follows without one.</p>
      <ul class="buttons">
        {wallets.map((each) => {
          const lacking = lackingFeatures(each);
          return (
            <li key={each.name} class="action">
              <button type="button" disabled={lacking.length > 0} onClick={() => connect(each)}>Connect {each.name}</button>
              {lacking.length > 0 && <small class="note">it lacks {lacking.join(", ")}: use another wallet</small>}
            </li>
          );
        })}
      </ul>
    </>
  );
}

/** Say what the wallet is to this vault. */
function Standing() {
  const { owner, signer, vault } = useOwned();
  const { threshold = 0, signers = [] } = vault.data?.multisig ?? {};
  if (signer === null) return null;
  const signs = signers.includes(signer.address) ? `a signer of its multisig, which needs ${threshold} of ${signers.length}` : null;
  if (signer.address === owner) return <p>It is the owner of this vault{signs && `, and ${signs}`}.</p>;
  return (
    <div class="trouble" role="status">
      <p><strong>This is not the owner's wallet.</strong> {signs === null
        ? "It can only read this vault."
        : `It is ${signs}: it may approve proposed withdrawals and sign them, under Multisig. All else is the owner's.`}</p>
      <p>Choose the account <Key text={owner} /> in {signer.wallet.name}, connect another wallet, or go to <a href={signer.address}>the vault of this wallet</a>.</p>
    </div>
  );
}
