"""Instructions for collateral, which authorized programs call.

The vault program accepts them only in a call by `caller_program`. As top-level instructions they
fail with UnauthorizedProgram.
"""

from __future__ import annotations

from solders.instruction import Instruction
from solders.pubkey import Pubkey

from cvms.chain.program.instructions.encoding import vault_program
from cvms.chain.types import Programs


def lock_collateral(
    programs: Programs, *, caller_program: Pubkey, owner: Pubkey, amount: int
) -> Instruction:
    """Move `amount` from the available to the locked balance."""
    return vault_program(
        programs, "lock_collateral", caller_program=caller_program, owner=owner, amount=amount
    )


def unlock_collateral(
    programs: Programs, *, caller_program: Pubkey, owner: Pubkey, amount: int
) -> Instruction:
    """Move `amount` from the locked to the available balance."""
    return vault_program(
        programs, "unlock_collateral", caller_program=caller_program, owner=owner, amount=amount
    )


def transfer_collateral(
    programs: Programs, *, caller_program: Pubkey, from_owner: Pubkey, to_owner: Pubkey, amount: int
) -> Instruction:
    """Move `amount` between two owners' vaults."""
    return vault_program(
        programs,
        "transfer_collateral",
        caller_program=caller_program,
        from_owner=from_owner,
        to_owner=to_owner,
        amount=amount,
    )
