"""Instructions for collateral, which authorized programs call.

The vault program accepts them only in a call by `caller_program`. As top-level instructions they
fail with UnauthorizedProgram.
"""

from __future__ import annotations

from solders.instruction import AccountMeta, Instruction
from solders.pubkey import Pubkey
from solders.sysvar import INSTRUCTIONS
from spl.token.constants import TOKEN_PROGRAM_ID

from cvms.chain.program.addresses import token_account, vault_address, vault_authority_address
from cvms.chain.program.instructions.encoding import readonly, u64, vault_program, writable
from cvms.chain.types import Programs


def lock_collateral(
    programs: Programs, *, caller_program: Pubkey, owner: Pubkey, amount: int
) -> Instruction:
    """Move `amount` from the available to the locked balance."""
    accounts = [
        *caller_accounts(programs, caller_program),
        writable(vault_address(programs, owner)),
    ]
    return vault_program(programs, "lock_collateral", accounts, u64(amount))


def unlock_collateral(
    programs: Programs, *, caller_program: Pubkey, owner: Pubkey, amount: int
) -> Instruction:
    """Move `amount` from the locked to the available balance."""
    accounts = [
        *caller_accounts(programs, caller_program),
        writable(vault_address(programs, owner)),
    ]
    return vault_program(programs, "unlock_collateral", accounts, u64(amount))


def transfer_collateral(
    programs: Programs, *, caller_program: Pubkey, from_owner: Pubkey, to_owner: Pubkey, amount: int
) -> Instruction:
    """Move `amount` between two owners' vaults."""
    accounts = [
        *caller_accounts(programs, caller_program),
        *transfer_accounts(programs, from_owner, to_owner),
    ]
    return vault_program(programs, "transfer_collateral", accounts, u64(amount))


def caller_accounts(programs: Programs, caller_program: Pubkey) -> list[AccountMeta]:
    """Return the accounts from which the vault program identifies its caller."""
    return [
        readonly(caller_program),
        readonly(vault_authority_address(programs)),
        readonly(INSTRUCTIONS),
    ]


def transfer_accounts(
    programs: Programs, from_owner: Pubkey, to_owner: Pubkey
) -> list[AccountMeta]:
    """Return two vaults, their token accounts, and the token program."""
    from_vault = vault_address(programs, from_owner)
    to_vault = vault_address(programs, to_owner)
    return [
        writable(from_vault),
        writable(to_vault),
        writable(token_account(from_vault, programs.mint)),
        writable(token_account(to_vault, programs.mint)),
        readonly(TOKEN_PROGRAM_ID),
    ]
