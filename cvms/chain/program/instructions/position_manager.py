"""Instructions of the position manager, which calls the vault program.

`wrapped`: another program, such as a multisig, makes the call, so the position manager has to sign
its own.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from solders.instruction import AccountMeta, Instruction
from solders.pubkey import Pubkey

from cvms.chain.program.addresses import (
    caller_address,
    position_summary_address,
    transfer_limits_address,
    vault_address,
)
from cvms.chain.program.instructions.encoding import instruction, readonly, writable
from cvms.chain.types import Programs


def init_position_summary(programs: Programs, *, payer: Pubkey, owner: Pubkey) -> Instruction:
    """Create the summary of the positions that the owner's vault backs; `payer` pays its rent."""
    return _instruction(programs, "init_position_summary", payer=payer, owner=owner)


def open_position(
    programs: Programs, *, authority: Pubkey, owner: Pubkey, amount: int, wrapped: bool = False
) -> Instruction:
    """Lock `amount` for a new position. The authority is the owner or one of its delegates."""
    return _instruction(
        programs,
        "open_position",
        _caller(programs, wrapped),
        authority=authority,
        owner=owner,
        amount=amount,
    )


def close_position(
    programs: Programs, *, authority: Pubkey, owner: Pubkey, amount: int, wrapped: bool = False
) -> Instruction:
    """Unlock `amount` and close a position. The authority is as for `open_position`."""
    return _instruction(
        programs,
        "close_position",
        _caller(programs, wrapped),
        authority=authority,
        owner=owner,
        amount=amount,
    )


def settle_position_summary(programs: Programs, *, owner: Pubkey) -> Instruction:
    """Let the summary claim no more than is locked. Anyone may send it."""
    return _instruction(programs, "settle_position_summary", owner=owner)


def rebalance_collateral(
    programs: Programs,
    *,
    authority: Pubkey,
    from_owner: Pubkey,
    to_owner: Pubkey,
    amount: int,
    limited: bool = False,
    settles: bool = False,
    wrapped: bool = False,
) -> Instruction:
    """Move `amount` between two owners' vaults. The authority is governance.

    `limited`: transfers have limits. `settles`: the paying vault has a summary, which then claims
    no more than is left.
    """
    remaining = _caller(programs, wrapped)
    if limited:
        remaining.append(writable(transfer_limits_address(programs)))
    if settles:
        vault = vault_address(programs, from_owner)
        remaining.append(writable(position_summary_address(programs.position_manager, vault)))
    return _instruction(
        programs,
        "rebalance_collateral",
        remaining,
        authority=authority,
        from_owner=from_owner,
        to_owner=to_owner,
        amount=amount,
    )


def _caller(programs: Programs, wrapped: bool) -> list[AccountMeta]:
    if not wrapped:
        return []
    return [readonly(caller_address(programs.position_manager, programs.vault))]


def _instruction(
    programs: Programs, name: str, remaining: Sequence[AccountMeta] = (), /, **values: Any
) -> Instruction:
    program = programs.position_manager
    return instruction(program, "position_manager", name, programs, remaining, **values)
