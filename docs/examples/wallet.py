"""A wallet for walk.sh: keys, signatures and codes. It opens no connection.

wallet.py new FILE                           create a key
wallet.py address FILE                       print its public key
wallet.py sign FILE TEXT name=value ...      print a request's body with the signature of TEXT
wallet.py sign-in FILE TEXT name=value ...   the same, with the signature of a sign-in message
wallet.py cosign TRANSACTION FILE ...        add signatures to a transaction in base64
wallet.py payer TRANSACTION                  print its fee payer
wallet.py multisig FILE BLOCKHASH N KEY ...  print a transaction that sets a multisig, N of KEYs
wallet.py code SECRET                        print the current code of the second factor
"""

from __future__ import annotations

import base64
import json
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from solders.hash import Hash
from solders.keypair import Keypair
from solders.message import MessageV0, to_bytes_versioned
from solders.pubkey import Pubkey
from solders.transaction import VersionedTransaction


def new(file: str) -> None:
    Path(file).write_text(str(Keypair()))


def address(file: str) -> None:
    print(key(file).pubkey())


def sign(file: str, text: str, *fields: str) -> None:
    body = fields_of(fields)
    print(json.dumps(body | {"signature": signature(file, text.format(**body))}))


def sign_in(file: str, text: str, *fields: str) -> None:
    """Sign a message whose domain is in SIWS_DOMAINS and whose chain is SIWS_CHAIN_ID."""
    body, now = fields_of(fields), datetime.now(UTC)
    message = (
        "localhost wants you to sign in with your Solana account:\n"
        f"{key(file).pubkey()}\n\n{text.format(**body)}\n\n"
        "URI: http://localhost/\nVersion: 1\nChain ID: localnet\n"
        f"Nonce: {body['nonce']}\nIssued At: {now.isoformat()}\n"
        f"Expiration Time: {(now + timedelta(minutes=5)).isoformat()}"
    )
    print(json.dumps(body | {"message": message, "signature": signature(file, message)}))


def cosign(text: str, *files: str) -> None:
    transaction = VersionedTransaction.from_bytes(base64.b64decode(text))
    signatures, message = list(transaction.signatures), transaction.message
    to_sign = to_bytes_versioned(message)
    for each in map(key, files):
        place = list(message.account_keys).index(each.pubkey())
        signatures[place] = each.sign_message(to_sign)
    print_wire(VersionedTransaction.populate(message, signatures))


def payer(text: str) -> None:
    print(VersionedTransaction.from_bytes(base64.b64decode(text)).message.account_keys[0])


def multisig(file: str, blockhash: str, threshold: str, *signers: str) -> None:
    """Print the transaction that the owner sends to the chain; the service has no route for it."""
    from cvms.chain.program.instructions import set_vault_multisig
    from cvms.config.loader import load_programs

    owner = key(file)
    keys = [Pubkey.from_string(each) for each in signers]
    instruction = set_vault_multisig(
        load_programs({}), owner=owner.pubkey(), signers=keys, threshold=int(threshold)
    )
    message = MessageV0.try_compile(owner.pubkey(), [instruction], [], Hash.from_string(blockhash))
    print_wire(VersionedTransaction(message, [owner]))


def code(secret: str) -> None:
    import pyotp

    print(pyotp.TOTP(secret).now())


def key(file: str) -> Keypair:
    return Keypair.from_base58_string(Path(file).read_text())


def fields_of(fields: tuple[str, ...]) -> dict[str, Any]:
    """Return the fields; digits become numbers, true and false booleans, all else text."""
    pairs = (field.split("=", 1) for field in fields)
    switches = {"true": True, "false": False}
    return {
        name: int(value) if value.isdigit() else switches.get(value, value) for name, value in pairs
    }


def signature(file: str, text: str) -> str:
    return str(key(file).sign_message(text.encode()))


def print_wire(transaction: VersionedTransaction) -> None:
    print(base64.b64encode(bytes(transaction)).decode())


if __name__ == "__main__":
    COMMANDS = (new, address, sign, sign_in, cosign, payer, multisig, code)
    by_name = {each.__name__.replace("_", "-"): each for each in COMMANDS}
    if len(sys.argv) < 2 or sys.argv[1] not in by_name:
        sys.exit(__doc__)
    by_name[sys.argv[1]](*sys.argv[2:])
