"""Instructions that loosen an owner's guards: requested, and applied after the delay in force."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from solders.instruction import Instruction
from solders.pubkey import Pubkey

from cvms.chain.program.addresses import guard_change_address, vault_address
from cvms.chain.program.guard_changes import GuardChange
from cvms.chain.program.instructions.encoding import signers, vault_program
from cvms.chain.types import Programs


def request_guard_change(programs: Programs, *, owner: Pubkey, change: GuardChange) -> Instruction:
    """Request a change, which its owner may apply after the delay. The owner pays its rent."""
    return _requested(programs, "request_guard_change", owner, change, change=change)


def apply_guard_change(programs: Programs, *, owner: Pubkey, change: GuardChange) -> Instruction:
    """Apply a requested change, within seven days from when it may be applied."""
    return _requested(programs, "apply_guard_change", owner, change)


def cancel_guard_change(
    programs: Programs, *, authority: Pubkey, owner: Pubkey, change: GuardChange
) -> Instruction:
    """Remove a requested change. The authority is the owner or one of the multisig's signers."""
    return _requested(programs, "cancel_guard_change", owner, change, authority=authority)


def set_transfer_allowance(
    programs: Programs, *, owner: Pubkey, amount: int, extra_signers: Sequence[Pubkey] = ()
) -> Instruction:
    """Agree that `amount` may be transferred out beyond what is locked; 2**64 - 1 is no limit."""
    return vault_program(
        programs, "set_transfer_allowance", signers(extra_signers), owner=owner, amount=amount
    )


def _requested(
    programs: Programs, name: str, owner: Pubkey, change: GuardChange, /, **values: Any
) -> Instruction:
    vault = vault_address(programs, owner)
    request = guard_change_address(programs.vault, vault, change)
    return vault_program(programs, name, owner=owner, guard_change=request, **values)
