"""Instructions for timelocks and requests to withdraw."""

from __future__ import annotations

from collections.abc import Sequence

from solders.instruction import Instruction
from solders.pubkey import Pubkey

from cvms.chain.program.instructions.encoding import signers, vault_program
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
    return vault_program(
        programs,
        "schedule_timelock",
        signers(extra_signers),
        authority=authority,
        owner=owner,
        amount=amount,
        duration_seconds=duration_seconds,
    )


def release_timelocks(programs: Programs, *, authority: Pubkey, owner: Pubkey) -> Instruction:
    """Make mature timelocks available again. Anyone may sign."""
    return vault_program(programs, "release_timelocks", authority=authority, owner=owner)


def request_withdraw(programs: Programs, *, owner: Pubkey, amount: int) -> Instruction:
    """Request a withdrawal, which the vault's minimum delay then allows later."""
    return vault_program(programs, "request_withdraw", owner=owner, amount=amount)
