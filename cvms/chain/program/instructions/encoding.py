"""Encoding of instructions: account metas, Borsh arguments and Anchor's discriminator."""

from __future__ import annotations

from collections.abc import Sequence

from solders.instruction import AccountMeta, Instruction
from solders.pubkey import Pubkey

from cvms.chain.borsh import Number, discriminator, encode_number
from cvms.chain.types import Programs


def instruction(
    program: Pubkey, name: str, accounts: Sequence[AccountMeta], arguments: bytes = b""
) -> Instruction:
    """Return the instruction that the program's IDL calls `name`."""
    return Instruction(program, discriminator("global", name) + arguments, accounts)


def vault_program(
    programs: Programs, name: str, accounts: Sequence[AccountMeta], arguments: bytes = b""
) -> Instruction:
    """Return an instruction of the vault program."""
    return instruction(programs.vault, name, accounts, arguments)


def signer(address: Pubkey, *, writable: bool = False) -> AccountMeta:
    return AccountMeta(address, is_signer=True, is_writable=writable)


def signers(addresses: Sequence[Pubkey]) -> list[AccountMeta]:
    return [signer(address) for address in addresses]


def writable(address: Pubkey) -> AccountMeta:
    return AccountMeta(address, is_signer=False, is_writable=True)


def readonly(address: Pubkey) -> AccountMeta:
    return AccountMeta(address, is_signer=False, is_writable=False)


def u8(value: int) -> bytes:
    return encode_number(Number("<B"), value)


def u32(value: int) -> bytes:
    return encode_number(Number("<I"), value)


def u64(value: int) -> bytes:
    return encode_number(Number("<Q"), value)


def i64(value: int) -> bytes:
    return encode_number(Number("<q"), value)


def boolean(value: bool) -> bytes:
    return b"\1" if value else b"\0"


def keys(addresses: Sequence[Pubkey]) -> bytes:
    """Return a vector of public keys."""
    return u32(len(addresses)) + b"".join(map(bytes, addresses))
