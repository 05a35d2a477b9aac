"""Opens a vault, deposits and withdraws with the client of openapi-python-client."""

import base64
import os
import time

from cvms_client import Client
from cvms_client.api.authentication import issue_nonce
from cvms_client.api.transactions import get_transaction, submit_transaction
from cvms_client.api.vaults import deposit, get_balance, initialize_vault, withdraw
from cvms_client.models import (
    Balance,
    CoSign,
    CoSigned,
    Deposit,
    Initialize,
    NonceRequest,
    Withdraw,
)
from solders.keypair import Keypair

PENDING = {"pending", "submitted"}

wallet = Keypair.from_seed(bytes.fromhex(os.environ["WALLET_SEED"]))
owner = str(wallet.pubkey())
amount = int(os.environ["AMOUNT"])
cvms = Client(base_url=os.environ["SERVICE_URL"], raise_on_unexpected_status=True)


def signed(action, *fields):
    nonce = issue_nonce.sync(client=cvms, body=NonceRequest(owner=owner)).nonce
    text = ":".join([action, owner, *map(str, fields), nonce])
    return {"owner": owner, "nonce": nonce, "signature": str(wallet.sign_message(text.encode()))}


def land(transaction):
    """Return the slot in which the transaction landed."""
    wire = bytearray(base64.b64decode(transaction))
    message = bytes(wire[1 + 64 * wire[0] :])
    keys = 5 if message[0] & 0x80 else 4
    place = (message.index(bytes(wallet.pubkey()), keys) - keys) // 32
    wire[1 + 64 * place : 65 + 64 * place] = bytes(wallet.sign_message(message))
    body = CoSigned(transaction=base64.b64encode(wire).decode())
    signature = submit_transaction.sync(client=cvms, body=body).signature
    while (state := get_transaction.sync(signature, client=cvms)).status in PENDING:
        time.sleep(0.05)
    assert state.status in {"confirmed", "finalized"}, state
    return state.slot


def balance_since(slot):
    """Return the balance as of a slot or a later one, once that is indexed."""
    while True:
        found = get_balance.sync(owner, client=cvms, x_min_slot=slot)
        if isinstance(found, Balance):
            return found.balance
        assert found.code == "slot_not_indexed", found
        time.sleep(0.05)


opened = initialize_vault.sync(client=cvms, body=Initialize(owner=owner))
assert isinstance(opened, CoSign), opened
land(opened.transaction)
body = Deposit(amount=amount, **signed("deposit", amount))
assert balance_since(land(deposit.sync(client=cvms, body=body).transaction)) == amount
body = Withdraw(amount=1_000_000, **signed("withdraw", 1_000_000))
left = balance_since(land(withdraw.sync(client=cvms, body=body).transaction))
print(f"balance {left}")  # noqa: T201
