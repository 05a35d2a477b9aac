"""IDLs of the programs: names, account positions and error messages."""

from __future__ import annotations

from functools import cache
from importlib import resources
from typing import Literal

import msgspec

ProgramName = Literal["collateral_vault", "position_manager", "yield_pool"]


class AccountSlot(msgspec.Struct, frozen=True):
    """One position in an instruction's account list."""

    name: str
    writable: bool = False
    signer: bool = False
    address: str | None = None


class Argument(msgspec.Struct, frozen=True):
    name: str
    type: str | dict[str, str | dict[str, str]]


class InstructionLayout(msgspec.Struct, frozen=True):
    name: str
    discriminator: tuple[int, ...]
    accounts: tuple[AccountSlot, ...]
    args: tuple[Argument, ...]


class ErrorEntry(msgspec.Struct, frozen=True):
    code: int
    name: str
    msg: str = ""


class Idl(msgspec.Struct, frozen=True):
    """The part of an IDL that the service reads at run time."""

    instructions: tuple[InstructionLayout, ...]
    errors: tuple[ErrorEntry, ...]


@cache
def load_idl(program: ProgramName) -> Idl:
    """Return the program's IDL, which is part of this package."""
    return msgspec.json.decode(idl_json(program), type=Idl)


def idl_json(program: ProgramName) -> bytes:
    """Return the whole IDL document, for clients. Its address is the local chain's."""
    return resources.files(__name__).joinpath(f"{program}.json").read_bytes()
