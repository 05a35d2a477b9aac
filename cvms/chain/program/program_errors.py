"""Errors of on-chain programs, by name and message.

A custom error code means different things in different programs, so the logs decide whose it is:
the first frame that fails is the innermost, and the others pass its error on.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from solana.constants import SYSTEM_PROGRAM_ID
from solders.pubkey import Pubkey
from spl.token.constants import ASSOCIATED_TOKEN_PROGRAM_ID, TOKEN_PROGRAM_ID

from cvms.chain.program.anchor_errors import ANCHOR_ERRORS
from cvms.chain.program.idl import ProgramName, load_idl
from cvms.chain.types import Programs
from cvms.errors import Conflict, CvmsError, ProgramRefused, TransactionExpired

_FAILED = re.compile(r"Program ([1-9A-HJ-NP-Za-km-z]{32,44}) failed: (?s:.*)")
_MAX_LOG_LINES = 20

_Table = Mapping[int, tuple[str, str]]

# Source: spl-token's TokenError.
_TOKEN_ERRORS: _Table = MappingProxyType(
    {
        0: ("NotRentExempt", "Lamport balance below rent-exempt threshold"),
        1: ("InsufficientFunds", "Insufficient funds"),
        2: ("InvalidMint", "Invalid mint"),
        3: ("MintMismatch", "Account not associated with this mint"),
        4: ("OwnerMismatch", "Owner does not match"),
        5: ("FixedSupply", "Fixed supply"),
        6: ("AlreadyInUse", "Already in use"),
        7: ("InvalidNumberOfProvidedSigners", "Invalid number of provided signers"),
        8: ("InvalidNumberOfRequiredSigners", "Invalid number of required signers"),
        9: ("UninitializedState", "State is uninitialized"),
        10: ("NativeNotSupported", "Instruction does not support native tokens"),
        11: ("NonNativeHasBalance", "Account can only be closed when its balance is zero"),
        12: ("InvalidInstruction", "Invalid instruction"),
        13: ("InvalidState", "State is invalid for the requested operation"),
        14: ("Overflow", "Operation overflowed"),
        15: ("AuthorityTypeNotSupported", "Account does not support this authority type"),
        16: ("MintCannotFreeze", "This token mint cannot freeze accounts"),
        17: ("AccountFrozen", "Account is frozen"),
        18: ("MintDecimalsMismatch", "The decimals do not match the mint"),
        19: ("NonNativeNotSupported", "Instruction does not support non-native tokens"),
    }
)
# Source: solana-system-interface's SystemError.
_SYSTEM_ERRORS: _Table = MappingProxyType(
    {
        0: ("AccountAlreadyInUse", "An account with this address already exists"),
        1: ("ResultWithNegativeLamports", "Insufficient lamports"),
        2: ("InvalidProgramId", "Cannot assign account to this program id"),
        3: ("InvalidAccountDataLength", "Cannot allocate account data of this length"),
        4: ("MaxSeedLengthExceeded", "Length of requested seed is too long"),
        5: ("AddressWithSeedMismatch", "Address does not match the address derived from the seed"),
        6: ("NonceNoRecentBlockhashes", "No recent block hash to advance the nonce with"),
        7: ("NonceBlockhashNotExpired", "The stored nonce is still in the recent block hashes"),
        8: ("NonceUnexpectedBlockhashValue", "The given nonce does not match the stored one"),
    }
)
_ASSOCIATED_TOKEN_ERRORS: _Table = MappingProxyType(
    {0: ("InvalidOwner", "The account's owner is not the one its address is derived from")}
)


@dataclass(frozen=True, slots=True)
class ProgramError:
    """A custom error code with its name and message."""

    code: int
    name: str
    msg: str


def program_error(program: Pubkey, code: int, programs: Programs) -> ProgramError:
    """Return the error that `code` stands for in `program`; an unknown one is named `Custom`."""
    entry = _table(program, programs).get(code)
    name, msg = entry or ("Custom", f"{program} refuses with custom error {code:#x}")
    return ProgramError(code, name, msg)


def failing_program(logs: Sequence[str]) -> Pubkey | None:
    """Return the program whose frame failed first, the innermost; None when no line says so."""
    for line in logs:
        if match := _FAILED.fullmatch(line):
            try:
                return Pubkey.from_string(match[1])
            except ValueError:
                return None
    return None


def to_program_error(err: Any, logs: Sequence[str], programs: Programs) -> CvmsError:
    """Return the exception for a transaction's error, given as the node's JSON.

    It is ProgramRefused, except TransactionExpired for an expired blockhash and Conflict for a
    transaction that has already landed.
    """
    name, detail = _named(err)
    if name == "BlockhashNotFound":
        return TransactionExpired("the transaction's blockhash is no longer valid")
    if name == "AlreadyProcessed":
        return Conflict("this transaction has already been processed")
    if name == "InstructionError" and isinstance(detail, list) and len(detail) == 2:
        name, detail = _named(detail[1])
        if name == "Custom" and isinstance(detail, int):
            program = failing_program(logs) or programs.vault
            error = program_error(program, detail, programs)
            return _refused(error.code, error.name, error.msg, logs)
    return _refused(None, name, _sentence(name), logs)


def _refused(code: int | None, name: str, msg: str, logs: Sequence[str]) -> ProgramRefused:
    return ProgramRefused(code=code, name=name, msg=msg, logs=logs[-_MAX_LOG_LINES:])


def _named(err: Any) -> tuple[str, Any]:
    """Split `"Name"` or `{"Name": detail}`, the forms in which serde writes an enum."""
    if isinstance(err, dict) and len(err) == 1:
        [(name, detail)] = err.items()
        return str(name), detail
    return (err, None) if isinstance(err, str) else ("Unknown", None)


def _sentence(name: str) -> str:
    words = re.sub(r"(?<=[a-z])(?=[A-Z])", " ", name)
    return words[:1].upper() + words[1:].lower()


def _table(program: Pubkey, programs: Programs) -> _Table:
    if program == programs.vault:
        return _anchor_table("collateral_vault")
    if program == programs.position_manager:
        return _anchor_table("position_manager")
    if program == programs.yield_pool:
        return _anchor_table("yield_pool")
    return {
        TOKEN_PROGRAM_ID: _TOKEN_ERRORS,
        SYSTEM_PROGRAM_ID: _SYSTEM_ERRORS,
        ASSOCIATED_TOKEN_PROGRAM_ID: _ASSOCIATED_TOKEN_ERRORS,
    }.get(program, {})


def _anchor_table(name: ProgramName) -> _Table:
    own = {each.code: (each.name, each.msg) for each in load_idl(name).errors}
    return {**ANCHOR_ERRORS, **own}
