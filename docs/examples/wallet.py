"""What a wallet does for walk.sh: keys, signatures, codes. It never speaks to anything but stdout.

wallet.py new FILE                           make a key
wallet.py address FILE                       its public key
wallet.py sign FILE TEXT name=value ...      a request's body, with the signature of TEXT
wallet.py sign-in FILE TEXT name=value ...   the same, with that of a sign-in message
wallet.py cosign TRANSACTION FILE ...        the transaction in base64, signed by these keys too
wallet.py payer TRANSACTION                  who pays its fee
wallet.py multisig FILE BLOCKHASH N KEY ...  a transaction that has N of KEYs sign from then on
wallet.py code SECRET                        the second factor's code of now
wallet.py get NAME.NAME ...                  fields of the JSON on stdin
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
    """The domain is one of the service's SIWS_DOMAINS, the chain its SIWS_CHAIN_ID."""
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
    """The service has no route for it: the owner sends this to the chain."""
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


def get(*paths: str) -> None:
    value = json.load(sys.stdin)
    for path in paths:
        found: Any = value
        for name in path.split("."):
            found = found[int(name) if name.isdigit() else name]
        print(found)


def key(file: str) -> Keypair:
    return Keypair.from_base58_string(Path(file).read_text())


def fields_of(fields: tuple[str, ...]) -> dict[str, Any]:
    """Numbers as numbers, true and false as such, everything else as text."""
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
    COMMANDS = (new, address, sign, sign_in, cosign, payer, multisig, code, get)
    by_name = {each.__name__.replace("_", "-"): each for each in COMMANDS}
    if len(sys.argv) < 2 or sys.argv[1] not in by_name:
        sys.exit(__doc__)
    by_name[sys.argv[1]](*sys.argv[2:])
