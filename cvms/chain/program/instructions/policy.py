"""Instructions for an owner's policy: who may act for the vault, and how tokens may leave it.

What loosens a guard in force is refused, unless as many of the multisig's signers sign as it needs,
or the change was requested before: see `guards`.
"""

from __future__ import annotations

from collections.abc import Sequence

from solders.instruction import Instruction
from solders.pubkey import Pubkey

from cvms.chain.program.instructions.encoding import signers as co_signers
from cvms.chain.program.instructions.encoding import vault_program
from cvms.chain.types import Programs


def set_vault_multisig(
    programs: Programs,
    *,
    owner: Pubkey,
    signers: Sequence[Pubkey],
    threshold: int,
    extra_signers: Sequence[Pubkey] = (),
) -> Instruction:
    """Require `threshold` of these signers, 10 at most, to move the vault's tokens."""
    return vault_program(
        programs,
        "set_vault_multisig",
        co_signers(extra_signers),
        owner=owner,
        signers=signers,
        threshold=threshold,
    )


def disable_vault_multisig(
    programs: Programs, *, owner: Pubkey, extra_signers: Sequence[Pubkey] = ()
) -> Instruction:
    """Let the owner and the delegates act alone again."""
    return vault_program(programs, "disable_vault_multisig", co_signers(extra_signers), owner=owner)


def add_delegate(programs: Programs, *, owner: Pubkey, delegate: Pubkey) -> Instruction:
    """Let `delegate` act for the owner's vault; it can only pay out to the owner's side."""
    return vault_program(programs, "add_delegate", owner=owner, delegate=delegate)


def remove_delegate(programs: Programs, *, owner: Pubkey, delegate: Pubkey) -> Instruction:
    """Undo `add_delegate`."""
    return vault_program(programs, "remove_delegate", owner=owner, delegate=delegate)


def set_withdraw_min_delay(
    programs: Programs, *, owner: Pubkey, seconds: int, extra_signers: Sequence[Pubkey] = ()
) -> Instruction:
    """Set the delay between the request of a withdrawal and its execution; 0 removes it."""
    return vault_program(
        programs,
        "set_withdraw_min_delay",
        co_signers(extra_signers),
        owner=owner,
        seconds=seconds,
    )


def set_withdraw_rate_limit(
    programs: Programs,
    *,
    owner: Pubkey,
    window_seconds: int,
    max_amount: int,
    extra_signers: Sequence[Pubkey] = (),
) -> Instruction:
    """Limit withdrawals to `max_amount` within a window; 0 removes the limit.

    The window starts now, unless a guard is in force, under which the running one goes on.
    """
    return vault_program(
        programs,
        "set_withdraw_rate_limit",
        co_signers(extra_signers),
        owner=owner,
        window_seconds=window_seconds,
        max_amount=max_amount,
    )


def add_withdraw_whitelist(
    programs: Programs, *, owner: Pubkey, address: Pubkey, extra_signers: Sequence[Pubkey] = ()
) -> Instruction:
    """Allow withdrawals to token accounts of this wallet, besides the owner's."""
    return vault_program(
        programs,
        "add_withdraw_whitelist",
        co_signers(extra_signers),
        owner=owner,
        address=address,
    )


def remove_withdraw_whitelist(programs: Programs, *, owner: Pubkey, address: Pubkey) -> Instruction:
    """Undo `add_withdraw_whitelist`."""
    return vault_program(programs, "remove_withdraw_whitelist", owner=owner, address=address)
