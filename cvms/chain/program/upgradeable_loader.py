"""The upgradeable loader (loader v3): its accounts, its instructions, and the hash of a program.

Source: the crate solana-loader-v3-interface 7.0.0, and Agave 4.2.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from struct import pack, unpack_from

from solana.constants import BPF_LOADER_PROGRAM_ID, SYSTEM_PROGRAM_ID
from solders.instruction import AccountMeta, Instruction
from solders.pubkey import Pubkey
from solders.sysvar import CLOCK, RENT

from cvms.chain.program.accounts import owned_by
from cvms.chain.program.addresses import program_data_address
from cvms.chain.program.instructions.encoding import readonly, signers, writable
from cvms.chain.types import Account, Slot
from cvms.errors import DecodeError

LOADER = BPF_LOADER_PROGRAM_ID
BUFFER_HEADER, PROGRAM_LENGTH, PROGRAM_DATA_HEADER = 37, 36, 45
LEAST_EXTENSION = 10_240
"""Of a program's data in bytes, since SIMD-0431."""
_BUFFER, _PROGRAM, _PROGRAM_DATA = 1, 2, 3  # state of an account
_MARK = 4  # bytes of the state


@dataclass(frozen=True, slots=True)
class Buffer:
    """An account in which code is collected. Without an authority nobody can change it."""

    authority: Pubkey | None
    code: bytes


@dataclass(frozen=True, slots=True)
class DeployedProgram:
    """The code of a program with the zeros behind it, and who may upgrade it."""

    slot: Slot
    authority: Pubkey | None
    code: bytes


def executable_hash(code: bytes) -> str:
    """Return the hash of an ELF file or of deployed code, as `solana-verify` computes it."""
    return hashlib.sha256(code.rstrip(b"\0")).hexdigest()


# --- accounts ----------------------------------------------------------------------------------


def read_buffer(account: Account | None) -> Buffer | None:
    """Return the buffer, None for no account. Raises DecodeError if it is something else."""
    data = _data(account, _BUFFER, BUFFER_HEADER, "a buffer")
    return None if data is None else Buffer(_option(data, _MARK), data[BUFFER_HEADER:])


def read_program(account: Account | None, data: Account | None) -> DeployedProgram | None:
    """Return the program, given its account and its program-data account; None for none.

    Raises DecodeError if its address has something else, or the program was closed.
    """
    if _data(account, _PROGRAM, PROGRAM_LENGTH, "a program of the upgradeable loader") is None:
        return None
    program = read_program_data(data)
    if program is None:
        raise DecodeError("the program was closed, and its id can never be used again")
    return program


def read_program_data(data: Account | None) -> DeployedProgram | None:
    """Return the program in a program-data account, None for none. Raises DecodeError."""
    code = _data(data, _PROGRAM_DATA, PROGRAM_DATA_HEADER, "a program's data")
    if code is None:
        return None
    (slot,) = unpack_from("<Q", code, _MARK)
    return DeployedProgram(Slot(slot), _option(code, _MARK + 8), code[PROGRAM_DATA_HEADER:])


def _data(account: Account | None, mark: int, header: int, what: str) -> bytes | None:
    owned = owned_by(account, LOADER)
    if owned is None:
        return None
    if len(owned.data) < header or owned.data[:_MARK] != pack("<I", mark):
        raise DecodeError(f"the account is not {what}")
    return owned.data


def _option(data: bytes, at: int) -> Pubkey | None:
    return Pubkey.from_bytes(data[at + 1 : at + 33]) if data[at] else None


# --- instructions ------------------------------------------------------------------------------


def initialize_buffer(buffer: Pubkey, *, authority: Pubkey) -> Instruction:
    """Make a new account of the loader's a buffer, in the transaction that creates it."""
    return _instruction(pack("<I", 0), writable(buffer), readonly(authority))


def write_buffer(buffer: Pubkey, *, authority: Pubkey, offset: int, code: bytes) -> Instruction:
    data = pack("<IIQ", 1, offset, len(code)) + code
    return _instruction(data, writable(buffer), *signers([authority]))


def deploy(
    program: Pubkey, *, buffer: Pubkey, payer: Pubkey, authority: Pubkey, room: int
) -> Instruction:
    """Deploy the code of a buffer, with room for `room` bytes.

    It belongs into the transaction that creates the program's account. The buffer's lamports go to
    the payer first. Its authority becomes the program's.
    """
    return _instruction(
        pack("<IQ", 2, room),
        _paying(payer),
        *map(writable, (program_data_address(program), program, buffer)),
        *map(readonly, (RENT, CLOCK, SYSTEM_PROGRAM_ID)),
        *signers([authority]),
    )


def upgrade(program: Pubkey, *, buffer: Pubkey, authority: Pubkey, refund: Pubkey) -> Instruction:
    """Replace the code by that of a buffer of the same authority, whose lamports are refunded."""
    return _instruction(
        pack("<I", 3),
        *map(writable, (program_data_address(program), program, buffer, refund)),
        *map(readonly, (RENT, CLOCK)),
        *signers([authority]),
    )


def set_authority(account: Pubkey, *, authority: Pubkey, new: Pubkey | None) -> Instruction:
    """Hand a buffer, or a program by its data account, to a key that does not sign; None: nobody"""
    extra = [] if new is None else [readonly(new)]
    return _instruction(pack("<I", 4), writable(account), *signers([authority]), *extra)


def set_authority_checked(account: Pubkey, *, authority: Pubkey, new: Pubkey) -> Instruction:
    """Hand a buffer, or a program by its data account, to a key that signs too."""
    return _instruction(pack("<I", 7), writable(account), *signers([authority, new]))


def close_buffer(buffer: Pubkey, *, authority: Pubkey, refund: Pubkey) -> Instruction:
    return _instruction(pack("<I", 5), *map(writable, (buffer, refund)), *signers([authority]))


def extend(program: Pubkey, *, payer: Pubkey, growth: int) -> Instruction:
    """Give a program's data room for more bytes. Anyone may."""
    return _instruction(
        pack("<II", 6, growth), *_extended(program), readonly(SYSTEM_PROGRAM_ID), _paying(payer)
    )


def extend_checked(
    program: Pubkey, *, payer: Pubkey, authority: Pubkey, growth: int
) -> Instruction:
    """The same on clusters of Agave 3 with the feature enable_extend_program_checked.

    `extend` fails there. Agave 4.2 has this instruction no more.
    """
    return _instruction(
        pack("<II", 9, growth),
        *_extended(program),
        *signers([authority]),
        readonly(SYSTEM_PROGRAM_ID),
        _paying(payer),
    )


def _extended(program: Pubkey) -> Sequence[AccountMeta]:
    return [writable(program_data_address(program)), writable(program)]


def _paying(payer: Pubkey) -> AccountMeta:
    return AccountMeta(payer, is_signer=True, is_writable=True)


def _instruction(data: bytes, *accounts: AccountMeta) -> Instruction:
    return Instruction(LOADER, data, list(accounts))
