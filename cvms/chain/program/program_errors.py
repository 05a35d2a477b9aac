"""Errors of on-chain programs, by name and message.

A custom error code means different things in different programs, so the logs decide whose it is:
the first frame that fails is the innermost, and the others pass its error on.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import Any

import msgspec
from solana.constants import SYSTEM_PROGRAM_ID
from solders.pubkey import Pubkey
from spl.token.constants import ASSOCIATED_TOKEN_PROGRAM_ID, TOKEN_PROGRAM_ID

from cvms.chain.program.idl import ProgramName, load_idl
from cvms.chain.types import Programs
from cvms.errors import Conflict, CvmsError, ProgramRefused, TransactionExpired

_FAILED = re.compile(r"Program ([1-9A-HJ-NP-Za-km-z]{32,44}) failed: (?s:.*)")
_MAX_LOG_LINES = 20

_Errors = Mapping[int, tuple[str, str]]  # name and message by code


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
            advice = _library_table("advice") if program == programs.vault else {}
            _, todo = advice.get(error.code, ("", ""))
            return ProgramRefused(
                code=error.code,
                name=error.name,
                msg=error.msg,
                advice=todo,
                logs=logs[-_MAX_LOG_LINES:],
            )
    return ProgramRefused(code=None, name=name, msg=_sentence(name), logs=logs[-_MAX_LOG_LINES:])


def _named(err: Any) -> tuple[str, Any]:
    """Split `"Name"` or `{"Name": detail}`, the forms in which serde writes an enum."""
    if isinstance(err, dict) and len(err) == 1:
        [(name, detail)] = err.items()
        return str(name), detail
    return (err, None) if isinstance(err, str) else ("Unknown", None)


def _sentence(name: str) -> str:
    words = re.sub(r"(?<=[a-z])(?=[A-Z])", " ", name)
    return words[:1].upper() + words[1:].lower()


def _table(program: Pubkey, programs: Programs) -> _Errors:
    if program == programs.vault:
        return _anchor_table("collateral_vault")
    if program == programs.position_manager:
        return _anchor_table("position_manager")
    if program == programs.yield_pool:
        return _anchor_table("yield_pool")
    if program == TOKEN_PROGRAM_ID:
        return _library_table("token")
    if program == SYSTEM_PROGRAM_ID:
        return _library_table("system")
    return _library_table("associated_token") if program == ASSOCIATED_TOKEN_PROGRAM_ID else {}


def _anchor_table(name: ProgramName) -> _Errors:
    own = {each.code: (each.name, each.msg) for each in load_idl(name).errors}
    return {**_library_table("anchor"), **own}


class _Table(msgspec.Struct, frozen=True):
    source: str
    errors: dict[int, tuple[str, str]]


@cache
def _library_table(name: str) -> _Errors:
    """Return the errors of a program that is not ours, from error_tables.json."""
    raw = resources.files(__package__).joinpath("error_tables.json").read_bytes()
    return msgspec.json.decode(raw, type=dict[str, _Table])[name].errors
