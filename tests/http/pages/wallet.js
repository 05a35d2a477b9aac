// A wallet of the Wallet Standard for tests, as a browser extension puts it into a page. Its keys are
// those of the test, which also says whether it refuses: `testWallets[name].refuses`.
(() => {
  const base64url = (bytes) => btoa(String.fromCharCode(...bytes)).replaceAll("+", "-").replaceAll("/", "_").replaceAll("=", "");
  const testWallets = (window.testWallets = {});

  for (const { name, address, seed, publicKey, lacks } of KEYS) {
    const jwk = { kty: "OKP", crv: "Ed25519", d: base64url(seed), x: base64url(publicKey) };
    const key = crypto.subtle.importKey("jwk", jwk, { name: "Ed25519" }, false, ["sign"]);
    const control = (testWallets[name] = { refuses: false, texts: [], transactions: 0 });
    const chains = ["solana:mainnet", "solana:localnet"];
    const features = ["solana:signMessage", "solana:signTransaction"];
    const account = { address, publicKey: new Uint8Array(publicKey), chains, features };
    const listeners = new Set();
    let accounts = [];

    async function sign(bytes) {
      if (control.refuses) throw new Error("User rejected the request.");
      return new Uint8Array(await crypto.subtle.sign({ name: "Ed25519" }, await key, bytes));
    }

    async function signed(transaction) {
      control.transactions += 1;
      const count = transaction[0];
      const message = transaction.subarray(1 + count * 64);
      const keys = message.subarray(message[0] & 0x80 ? 5 : 4);
      const place = Array.from({ length: count }, (_, index) => keys.subarray(index * 32, index * 32 + 32))
        .findIndex((each) => each.every((byte, index) => byte === publicKey[index]));
      const copy = transaction.slice();
      copy.set(await sign(message), 1 + place * 64);
      return copy;
    }

    const wallet = Object.freeze({
      version: "1.0.0",
      name,
      icon: "data:image/svg+xml;base64,PHN2ZyB4bWxucz0iaHR0cDovL3d3dy53My5vcmcvMjAwMC9zdmciLz4=",
      chains,
      get accounts() {
        return accounts;
      },
      features: {
        "standard:connect": {
          version: "1.0.0",
          async connect() {
            accounts = [account];
            listeners.forEach((listener) => listener({ accounts }));
            return { accounts };
          },
        },
        "standard:disconnect": { version: "1.0.0", async disconnect() { accounts = []; } },
        "standard:events": {
          version: "1.0.0",
          on(_event, listener) {
            listeners.add(listener);
            return () => listeners.delete(listener);
          },
        },
        "solana:signMessage": {
          version: "1.0.0",
          async signMessage(...inputs) {
            return await Promise.all(inputs.map(async ({ message }) => {
              control.texts.push(new TextDecoder().decode(message));
              return { signedMessage: message, signature: await sign(message) };
            }));
          },
        },
        "solana:signTransaction": {
          version: "1.0.0",
          supportedTransactionVersions: ["legacy", 0],
          async signTransaction(...inputs) {
            return await Promise.all(inputs.map(async ({ transaction }) => ({ signedTransaction: await signed(transaction) })));
          },
        },
      },
    });

    delete wallet.features[lacks];
    const register = (page) => page.register(wallet);
    window.dispatchEvent(new CustomEvent("wallet-standard:register-wallet", { detail: register }));
    window.addEventListener("wallet-standard:app-ready", (event) => register(event.detail));
  }
})();
