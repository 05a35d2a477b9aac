"""`jsonParsed` instructions: the common system, token and memo instructions.

Others are returned partly decoded.
"""

from __future__ import annotations

from enum import IntEnum

from solana.constants import SYSTEM_PROGRAM_ID
from solders.pubkey import Pubkey
from spl.memo.constants import MEMO_PROGRAM_ID
from spl.token.constants import TOKEN_2022_PROGRAM_ID, TOKEN_PROGRAM_ID

from cvms.localnet.types import Json
from cvms.localnet.vm.token_layouts import ui_amount

SYSTEM_CREATE_ACCOUNT, SYSTEM_TRANSFER = 0, 2


class TokenTag(IntEnum):
    """The first byte of a token instruction."""

    TRANSFER = 3
    MINT_TO = 7
    BURN = 8
    TRANSFER_CHECKED = 12


def parse_instruction(program: Pubkey, accounts: list[str], data: bytes) -> Json:
    """Return `{program, parsed}`, or None for an instruction that cannot be parsed."""
    if program == SYSTEM_PROGRAM_ID:
        return _named("system", _system(accounts, data))
    if program == TOKEN_PROGRAM_ID:
        return _named("spl-token", _token(accounts, data))
    if program == TOKEN_2022_PROGRAM_ID:
        return _named("spl-token-2022", _token(accounts, data))
    if program == MEMO_PROGRAM_ID:
        return _named("spl-memo", data.decode("utf-8", "replace"))
    return None


def _named(program: str, parsed: Json) -> Json:
    return None if parsed is None else {"program": program, "parsed": parsed}


def _system(accounts: list[str], data: bytes) -> Json:
    kind = int.from_bytes(data[:4], "little")
    if kind == SYSTEM_TRANSFER and len(data) == 12 and len(accounts) >= 2:
        info = {"source": accounts[0], "destination": accounts[1], "lamports": _u64(data, 4)}
        return {"type": "transfer", "info": info}
    if kind == SYSTEM_CREATE_ACCOUNT and len(data) == 52 and len(accounts) >= 2:
        created = {
            "source": accounts[0],
            "newAccount": accounts[1],
            "lamports": _u64(data, 4),
            "space": _u64(data, 12),
            "owner": str(Pubkey.from_bytes(data[20:52])),
        }
        return {"type": "createAccount", "info": created}
    return None


def _token(accounts: list[str], data: bytes) -> Json:
    kind = data[0] if data else None
    if len(accounts) < 3 or len(data) < 9:
        return None
    amount = _u64(data, 1)
    match kind:
        case TokenTag.TRANSFER:
            info = {"source": accounts[0], "destination": accounts[1], "amount": str(amount)}
            return {"type": "transfer", "info": info | _signed("authority", accounts, 2)}
        case TokenTag.MINT_TO:
            info = {"mint": accounts[0], "account": accounts[1], "amount": str(amount)}
            return {"type": "mintTo", "info": info | _signed("mintAuthority", accounts, 2)}
        case TokenTag.BURN:
            info = {"account": accounts[0], "mint": accounts[1], "amount": str(amount)}
            return {"type": "burn", "info": info | _signed("authority", accounts, 2)}
        case TokenTag.TRANSFER_CHECKED if len(accounts) >= 4 and len(data) == 10:
            checked = {
                "source": accounts[0],
                "mint": accounts[1],
                "destination": accounts[2],
                "tokenAmount": ui_amount(amount, data[9]),
            }
            return {"type": "transferChecked", "info": checked | _signed("authority", accounts, 3)}
        case _:
            return None


def _signed(role: str, accounts: list[str], index: int) -> dict[str, Json]:
    """Return the signer: one key, or a multisig account and its signers."""
    if len(accounts) == index + 1:
        return {role: accounts[index]}
    name = f"multisig{role[0].upper()}{role[1:]}"
    return {name: accounts[index], "signers": accounts[index + 1 :]}


def _u64(data: bytes, offset: int) -> int:
    return int.from_bytes(data[offset : offset + 8], "little")
