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


def cancel_withdraw_request(
    programs: Programs, *, owner: Pubkey, amount: int, executable_at: int
) -> Instruction:
    """Remove the request of this amount and time."""
    return vault_program(
        programs, "cancel_withdraw_request", owner=owner, amount=amount, executable_at=executable_at
    )


def cancel_timelock(
    programs: Programs,
    *,
    owner: Pubkey,
    amount: int,
    unlock_time: int,
    extra_signers: Sequence[Pubkey] = (),
) -> Instruction:
    """Release the timelock of this amount and time, or bring its end forward.

    A delegate's is released at once, the owner's own only after the minimum delay.
    """
    return vault_program(
        programs,
        "cancel_timelock",
        signers(extra_signers),
        owner=owner,
        amount=amount,
        unlock_time=unlock_time,
    )
