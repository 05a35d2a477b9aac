"""Instructions of the position manager, which calls the vault program."""

from __future__ import annotations

from typing import Any

from solders.instruction import Instruction
from solders.pubkey import Pubkey

from cvms.chain.program.instructions.encoding import instruction
from cvms.chain.types import Programs


def init_position_summary(programs: Programs, *, payer: Pubkey, owner: Pubkey) -> Instruction:
    """Create the summary of the positions that the owner's vault backs; `payer` pays its rent."""
    return _instruction(programs, "init_position_summary", payer=payer, owner=owner)


def open_position(
    programs: Programs, *, authority: Pubkey, owner: Pubkey, amount: int
) -> Instruction:
    """Lock `amount` for a new position. The authority is the owner or one of its delegates."""
    return _instruction(programs, "open_position", authority=authority, owner=owner, amount=amount)


def close_position(
    programs: Programs, *, authority: Pubkey, owner: Pubkey, amount: int
) -> Instruction:
    """Unlock `amount` and close a position. The authority is as for `open_position`."""
    return _instruction(programs, "close_position", authority=authority, owner=owner, amount=amount)


def rebalance_collateral(
    programs: Programs, *, authority: Pubkey, from_owner: Pubkey, to_owner: Pubkey, amount: int
) -> Instruction:
    """Move `amount` between two owners' vaults. The authority is governance."""
    return _instruction(
        programs,
        "rebalance_collateral",
        authority=authority,
        from_owner=from_owner,
        to_owner=to_owner,
        amount=amount,
    )


def _instruction(programs: Programs, name: str, /, **values: Any) -> Instruction:
    return instruction(programs.position_manager, "position_manager", name, programs, **values)
