"""Instructions of the position manager, which calls the vault program."""

from __future__ import annotations

from solana.constants import SYSTEM_PROGRAM_ID
from solders.instruction import Instruction
from solders.pubkey import Pubkey

from cvms.chain.program.addresses import position_summary_address, vault_address
from cvms.chain.program.instructions.collateral import caller_accounts, transfer_accounts
from cvms.chain.program.instructions.encoding import instruction, readonly, signer, u64, writable
from cvms.chain.types import Programs


def init_position_summary(programs: Programs, *, payer: Pubkey, owner: Pubkey) -> Instruction:
    """Create the summary of the positions that the owner's vault backs; `payer` pays its rent."""
    vault = vault_address(programs, owner)
    accounts = [
        signer(payer, writable=True),
        readonly(vault),
        writable(position_summary_address(programs.position_manager, vault)),
        readonly(SYSTEM_PROGRAM_ID),
    ]
    return instruction(programs.position_manager, "init_position_summary", accounts)


def open_position(
    programs: Programs, *, authority: Pubkey, owner: Pubkey, amount: int
) -> Instruction:
    """Lock `amount` for a new position. The authority is the owner or one of its delegates."""
    return _position(programs, "open_position", authority, owner, amount)


def close_position(
    programs: Programs, *, authority: Pubkey, owner: Pubkey, amount: int
) -> Instruction:
    """Unlock `amount` and close a position. The authority is as for `open_position`."""
    return _position(programs, "close_position", authority, owner, amount)


def rebalance_collateral(
    programs: Programs, *, authority: Pubkey, from_owner: Pubkey, to_owner: Pubkey, amount: int
) -> Instruction:
    """Move `amount` between two owners' vaults. The authority is governance."""
    accounts = [
        *caller_accounts(programs, programs.position_manager),
        *transfer_accounts(programs, from_owner, to_owner),
        readonly(programs.vault),
        signer(authority),
    ]
    return instruction(programs.position_manager, "rebalance_collateral", accounts, u64(amount))


def _position(
    programs: Programs, name: str, authority: Pubkey, owner: Pubkey, amount: int
) -> Instruction:
    vault = vault_address(programs, owner)
    accounts = [
        *caller_accounts(programs, programs.position_manager),
        writable(vault),
        writable(position_summary_address(programs.position_manager, vault)),
        readonly(programs.vault),
        signer(authority),
    ]
    return instruction(programs.position_manager, name, accounts, u64(amount))
