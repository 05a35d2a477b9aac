"""Accounts of the upgradeable loader, and the hash of what they hold."""

from __future__ import annotations

import hashlib
from struct import pack

import pytest
from solana.constants import SYSTEM_PROGRAM_ID
from solders.pubkey import Pubkey

from cvms.chain.program.upgradeable_loader import (
    LOADER,
    executable_hash,
    read_buffer,
    read_program,
)
from cvms.chain.types import Account, Lamports
from cvms.errors import DecodeError

KEY = Pubkey(bytes(range(32)))
CODE = b"\x7fELF code"
SOME = b"\1" + bytes(KEY)
NONE = bytes(33)
PROGRAM = pack("<I", 2) + bytes(KEY)
DATA = pack("<IQ", 3, 77)


def account(data: bytes, owner: Pubkey = LOADER) -> Account:
    return Account(Lamports(1), owner, data, executable=False)


def test_a_hash_ignores_the_zeros_behind_the_code() -> None:
    assert executable_hash(CODE + bytes(99)) == hashlib.sha256(CODE).hexdigest()


@pytest.mark.parametrize(("option", "authority"), [(SOME, KEY), (NONE, None)], ids=["some", "none"])
def test_a_program_is_read_with_its_authority(option: bytes, authority: Pubkey | None) -> None:
    found = read_program(account(PROGRAM), account(DATA + option + CODE))
    assert found is not None
    assert (found.slot, found.authority, found.code) == (77, authority, CODE)


@pytest.mark.parametrize(("option", "authority"), [(SOME, KEY), (NONE, None)], ids=["some", "none"])
def test_a_buffer_is_read_with_its_authority(option: bytes, authority: Pubkey | None) -> None:
    found = read_buffer(account(pack("<I", 1) + option + CODE))
    assert found is not None
    assert (found.authority, found.code) == (authority, CODE)


@pytest.mark.parametrize("absent", [None, account(b"", SYSTEM_PROGRAM_ID)])
def test_nothing_is_read_where_nothing_is(absent: Account | None) -> None:
    assert read_program(absent, None) is None
    assert read_buffer(absent) is None


def test_a_closed_program_is_an_error() -> None:
    """Its id can never be used again, so nothing can be deployed there."""
    with pytest.raises(DecodeError, match="closed"):
        read_program(account(PROGRAM), None)


@pytest.mark.parametrize("data", [b"", pack("<I", 1) + SOME, PROGRAM[:-1]], ids=len)
def test_another_account_is_no_program(data: bytes) -> None:
    with pytest.raises(DecodeError, match="not a program"):
        read_program(account(data), None)


@pytest.mark.parametrize("data", [PROGRAM, DATA + SOME, pack("<I", 1) + SOME[:-1]], ids=len)
def test_another_account_is_no_buffer(data: bytes) -> None:
    with pytest.raises(DecodeError, match="not a buffer"):
        read_buffer(account(data))
