"""Instructions for timelocks and requests to withdraw."""

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
    """Make `amount` of the available balance unavailable for `duration_seconds`."""
    accounts = [*_named(programs, authority, owner), *signers(extra_signers)]
    arguments = u64(amount) + i64(duration_seconds)
    return vault_program(programs, "schedule_timelock", accounts, arguments)


def release_timelocks(programs: Programs, *, authority: Pubkey, owner: Pubkey) -> Instruction:
    """Make mature timelocks available again. Anyone may sign."""
    return vault_program(programs, "release_timelocks", _named(programs, authority, owner))


def request_withdraw(programs: Programs, *, owner: Pubkey, amount: int) -> Instruction:
    """Request a withdrawal, which the vault's minimum delay then allows later."""
    accounts = [signer(owner, writable=True), writable(vault_address(programs, owner))]
    return vault_program(programs, "request_withdraw", accounts, u64(amount))


def _named(programs: Programs, authority: Pubkey, owner: Pubkey) -> list[AccountMeta]:
    return [
        signer(authority, writable=True),
        readonly(owner),
        writable(vault_address(programs, owner)),
    ]
