// Opens a vault, deposits and withdraws with the client of openapi-generator.

import cvms.client.ApiClient;
import cvms.client.ApiException;
import cvms.client.api.AuthenticationApi;
import cvms.client.api.TransactionsApi;
import cvms.client.api.VaultsApi;
import cvms.client.model.CoSigned;
import cvms.client.model.Deposit;
import cvms.client.model.Initialize;
import cvms.client.model.NonceRequest;
import cvms.client.model.Withdraw;
import java.nio.charset.StandardCharsets;
import java.security.KeyFactory;
import java.security.PrivateKey;
import java.security.Signature;
import java.security.spec.EdECPrivateKeySpec;
import java.security.spec.NamedParameterSpec;
import java.util.Arrays;
import java.util.Base64;
import java.util.HexFormat;

public class VaultLife {
  static final String OWNER = System.getenv("OWNER");
  static final byte[] PUBLIC_KEY = HexFormat.of().parseHex(System.getenv("PUBLIC_KEY"));
  static final long AMOUNT = Long.parseLong(System.getenv("AMOUNT"));
  static final ApiClient CLIENT = new ApiClient();
  static final TransactionsApi TRANSACTIONS;
  static final AuthenticationApi AUTHENTICATION;
  static final VaultsApi VAULTS;

  static {
    CLIENT.updateBaseUri(System.getenv("SERVICE_URL"));
    TRANSACTIONS = new TransactionsApi(CLIENT);
    AUTHENTICATION = new AuthenticationApi(CLIENT);
    VAULTS = new VaultsApi(CLIENT);
  }

  static byte[] sign(byte[] message) throws Exception {
    byte[] seed = HexFormat.of().parseHex(System.getenv("WALLET_SEED"));
    PrivateKey key =
        KeyFactory.getInstance("Ed25519")
            .generatePrivate(new EdECPrivateKeySpec(NamedParameterSpec.ED25519, seed));
    Signature signature = Signature.getInstance("Ed25519");
    signature.initSign(key);
    signature.update(message);
    return signature.sign();
  }

  static String nonce() throws ApiException {
    return AUTHENTICATION.issueNonce(new NonceRequest().owner(OWNER)).getNonce();
  }

  static String signText(String action, long amount, String nonce) throws Exception {
    String text = action + ":" + OWNER + ":" + amount + ":" + nonce;
    return Base64.getEncoder().encodeToString(sign(text.getBytes(StandardCharsets.UTF_8)));
  }

  // Returns the slot in which the transaction landed.
  static long land(String transaction) throws Exception {
    byte[] wire = Base64.getDecoder().decode(transaction);
    byte[] message = Arrays.copyOfRange(wire, 1 + 64 * wire[0], wire.length);
    int keys = message[0] < 0 ? 5 : 4;
    for (int place = 0; place < wire[0]; place++) {
      int start = keys + 32 * place;
      if (Arrays.equals(Arrays.copyOfRange(message, start, start + 32), PUBLIC_KEY)) {
        System.arraycopy(sign(message), 0, wire, 1 + 64 * place, 64);
      }
    }
    var body = new CoSigned().transaction(Base64.getEncoder().encodeToString(wire));
    String signature = TRANSACTIONS.submitTransaction(body, null).getSignature();
    while (true) {
      var state = TRANSACTIONS.getTransaction(signature);
      switch (state.getStatus()) {
        case "confirmed", "finalized" -> {
          return state.getSlot();
        }
        case "pending", "submitted" -> Thread.sleep(50);
        default -> throw new IllegalStateException(state.toString());
      }
    }
  }

  // Returns the balance as of a slot or a later one, once that is indexed.
  static long balanceSince(long slot) throws Exception {
    while (true) {
      try {
        return VAULTS.getBalance(OWNER, null, slot).getBalance();
      } catch (ApiException error) {
        if (error.getCode() != 422) throw error;
        Thread.sleep(50);
      }
    }
  }

  public static void main(String[] arguments) throws Exception {
    land(VAULTS.initializeVault(new Initialize().owner(OWNER), null).getTransaction());

    String nonce = nonce();
    var deposit = new Deposit().owner(OWNER).nonce(nonce).amount(AMOUNT);
    deposit.signature(signText("deposit", AMOUNT, nonce));
    long found = balanceSince(land(VAULTS.deposit(deposit, null).getTransaction()));
    if (found != AMOUNT) throw new IllegalStateException("balance " + found);

    nonce = nonce();
    var withdraw = new Withdraw().owner(OWNER).nonce(nonce).amount(1_000_000L);
    withdraw.signature(signText("withdraw", 1_000_000L, nonce));
    long slot = land(VAULTS.withdraw(withdraw, null, null).getTransaction());
    System.out.println("balance " + balanceSince(slot));
  }
}
