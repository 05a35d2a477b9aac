"""Encoding of instructions: order and flags of the accounts and the arguments are the IDL's."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any

from solders.instruction import AccountMeta, Instruction
from solders.pubkey import Pubkey

from cvms.chain.borsh import I64, U8, U32, U64, encode_as
from cvms.chain.program.addresses import (
    position_summary_address,
    token_account,
    vault_address,
    vault_authority_address,
)
from cvms.chain.program.guard_changes import GuardChange
from cvms.chain.program.idl import AccountSlot, InstructionLayout, ProgramName, load_idl
from cvms.chain.types import Programs

_TYPES = {"u8": U8, "u32": U32, "u64": U64, "i64": I64, "bool": bool, "pubkey": Pubkey}
_DEFINED = {"GuardChange": GuardChange}


def vault_program(
    programs: Programs, name: str, remaining: Sequence[AccountMeta] = (), /, **values: Any
) -> Instruction:
    """Return an instruction of the vault program; as `instruction`."""
    return instruction(programs.vault, "collateral_vault", name, programs, remaining, **values)


def instruction(
    program_id: Pubkey,
    program: ProgramName,
    name: str,
    programs: Programs,
    remaining: Sequence[AccountMeta] = (),
    /,
    **values: Any,
) -> Instruction:
    """Return the instruction that the program's IDL calls `name`.

    `values` are its accounts and arguments by their names in the IDL, without the accounts that
    are constant or follow from others. `remaining` follow the named accounts.
    """
    layout = _layouts(program)[name]
    accounts = []
    for slot in layout.accounts:
        if slot.name not in values:
            values[slot.name] = _derived(slot, programs, values)
        accounts.append(AccountMeta(values[slot.name], slot.signer, slot.writable))
    data = bytes(layout.discriminator)
    data += b"".join(_encode(argument.type, values[argument.name]) for argument in layout.args)
    return Instruction(program_id, data, [*accounts, *remaining])


def signers(addresses: Sequence[Pubkey]) -> list[AccountMeta]:
    return [AccountMeta(address, is_signer=True, is_writable=False) for address in addresses]


def readonly(address: Pubkey) -> AccountMeta:
    return AccountMeta(address, is_signer=False, is_writable=False)


def writable(address: Pubkey) -> AccountMeta:
    return AccountMeta(address, is_signer=False, is_writable=True)


@cache
def _layouts(program: ProgramName) -> dict[str, InstructionLayout]:
    return {layout.name: layout for layout in load_idl(program).instructions}


def _derived(slot: AccountSlot, programs: Programs, known: Mapping[str, Pubkey]) -> Pubkey:
    """Return an account that is constant or follows from `known` accounts and owners of vaults."""
    if slot.address:
        return Pubkey.from_string(slot.address)
    match name := slot.name:
        case "vault_authority":
            return vault_authority_address(programs)
        case "vault" | "from_vault" | "to_vault":
            return vault_address(programs, known[name.replace("vault", "owner")])
        case "vault_token_account" | "from_vault_token_account" | "to_vault_token_account":
            return token_account(known[name.removesuffix("_token_account")], programs.mint)
        case "position_summary":
            return position_summary_address(programs.position_manager, known["vault"])
    constants = {
        "caller_program": programs.position_manager,
        "collateral_vault_program": programs.vault,
        "usdt_mint": programs.mint,
    }
    return constants[name]


def _encode(kind: Any, value: Any) -> bytes:
    if isinstance(kind, str):
        return encode_as(_TYPES[kind], value)
    if "option" in kind:
        return b"\0" if value is None else b"\1" + _encode(kind["option"], value)
    if "defined" in kind:
        return encode_as(_DEFINED[kind["defined"]["name"]], value)
    return encode_as(tuple[Pubkey, ...], tuple(value))
