"""Tokens that wait: timelocks, and withdrawals asked for before they are made."""

from __future__ import annotations

from collections.abc import Sequence

from solders.instruction import AccountMeta, Instruction
from solders.pubkey import Pubkey

from cvms.chain.program.addresses import vault_address
from cvms.chain.program.instructions.encoding import (
    i64,
    readonly,
    signer,
    signers,
    u64,
    vault_program,
    writable,
)
from cvms.chain.types import Programs


def schedule_timelock(
    programs: Programs,
    *,
    authority: Pubkey,
    owner: Pubkey,
    amount: int,
    duration_seconds: int,
    extra_signers: Sequence[Pubkey] = (),
) -> Instruction:
    """Put `amount` of the available balance out of reach for so long."""
    accounts = [*_named(programs, authority, owner), *signers(extra_signers)]
    arguments = u64(amount) + i64(duration_seconds)
    return vault_program(programs, "schedule_timelock", accounts, arguments)


def release_timelocks(programs: Programs, *, authority: Pubkey, owner: Pubkey) -> Instruction:
    """Make matured timelocks available; any signer may."""
    return vault_program(programs, "release_timelocks", _named(programs, authority, owner))


def request_withdraw(programs: Programs, *, owner: Pubkey, amount: int) -> Instruction:
    """Ask for a withdrawal that the vault's minimum delay allows later."""
    accounts = [signer(owner, writable=True), writable(vault_address(programs, owner))]
    return vault_program(programs, "request_withdraw", accounts, u64(amount))


def _named(programs: Programs, authority: Pubkey, owner: Pubkey) -> list[AccountMeta]:
    return [
        signer(authority, writable=True),
        readonly(owner),
        writable(vault_address(programs, owner)),
    ]
