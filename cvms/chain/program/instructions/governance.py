"""Instructions of governance, which the vault authority account records for all vaults."""

from __future__ import annotations

from collections.abc import Sequence

from solders.instruction import Instruction
from solders.pubkey import Pubkey

from cvms.chain.program.addresses import (
    program_data_address,
    token_account,
    transfer_limits_address,
    vault_address,
)
from cvms.chain.program.instructions.encoding import readonly, vault_program
from cvms.chain.types import Programs


def initialize_vault_authority(
    programs: Programs,
    *,
    governance: Pubkey,
    authorized_programs: Sequence[Pubkey] = (),
    freeze: bool | None = None,
) -> Instruction:
    """Create the vault authority, once. The program's upgrade authority signs: `governance`."""
    return vault_program(
        programs,
        "initialize_vault_authority",
        [readonly(program_data_address(programs.vault))],
        governance=governance,
        authorized_programs=authorized_programs,
        freeze=freeze,
    )


def propose_governance(
    programs: Programs,
    *,
    authority: Pubkey,
    proposed: Pubkey,
    program_data: Pubkey | None = None,
) -> Instruction:
    """Propose a key that may then accept governance; the default key withdraws the proposal.

    The authority is governance, or the upgrade authority that the account `program_data` records.
    """
    remaining = [] if program_data is None else [readonly(program_data)]
    return vault_program(
        programs, "propose_governance", remaining, authority=authority, proposed=proposed
    )


def accept_governance(programs: Programs, *, new_governance: Pubkey) -> Instruction:
    """Make the proposed key governance, which it signs."""
    return vault_program(programs, "accept_governance", new_governance=new_governance)


def pause_withdrawals(programs: Programs, *, governance: Pubkey, seconds: int) -> Instruction:
    """Stop what owners and delegates take out, for at most three days; 0 ends a running pause."""
    return vault_program(programs, "pause_withdrawals", governance=governance, seconds=seconds)


def set_transfer_limits(
    programs: Programs, *, governance: Pubkey, vault_daily: int, total_daily: int
) -> Instruction:
    """Limit what is transferred out of one vault, and out of all, within a day.

    Lower limits apply at once, higher ones three days later.
    """
    return vault_program(
        programs,
        "set_transfer_limits",
        governance=governance,
        transfer_limits=transfer_limits_address(programs),
        vault_daily=vault_daily,
        total_daily=total_daily,
    )


def add_authorized_program(
    programs: Programs, *, governance: Pubkey, program: Pubkey
) -> Instruction:
    """Let a program lock, unlock and transfer collateral.

    Withdrawals then require its summary of the vault's positions.
    """
    return vault_program(programs, "add_authorized_program", governance=governance, program=program)


def remove_authorized_program(
    programs: Programs, *, governance: Pubkey, program: Pubkey
) -> Instruction:
    """Undo `add_authorized_program`."""
    return vault_program(
        programs, "remove_authorized_program", governance=governance, program=program
    )


def set_freeze_flag(programs: Programs, *, governance: Pubkey, freeze: bool) -> Instruction:
    """Forbid, or allow again, that programs lock, unlock and transfer collateral."""
    return vault_program(programs, "set_freeze_flag", governance=governance, freeze=freeze)


def set_cpi_enforced(programs: Programs, *, governance: Pubkey, cpi_enforced: bool) -> Instruction:
    """Require that `caller_program` names the calling program."""
    return vault_program(
        programs, "set_cpi_enforced", governance=governance, cpi_enforced=cpi_enforced
    )


def add_yield_program(programs: Programs, *, governance: Pubkey, program: Pubkey) -> Instruction:
    """Let vaults deposit tokens in a yield program."""
    return vault_program(programs, "add_yield_program", governance=governance, program=program)


def remove_yield_program(programs: Programs, *, governance: Pubkey, program: Pubkey) -> Instruction:
    """Undo `add_yield_program`."""
    return vault_program(programs, "remove_yield_program", governance=governance, program=program)


def set_risk_level(programs: Programs, *, governance: Pubkey, risk_level: int) -> Instruction:
    """Set the level of risk that governance accepts."""
    return vault_program(programs, "set_risk_level", governance=governance, risk_level=risk_level)


def update_usdt_mint(
    programs: Programs, *, governance: Pubkey, owner: Pubkey, new_mint: Pubkey
) -> Instruction:
    """Let the owner's empty vault hold another mint, in its token account for that mint."""
    vault = vault_address(programs, owner)
    return vault_program(
        programs,
        "update_usdt_mint",
        governance=governance,
        vault=vault,
        vault_token_account=token_account(vault, new_mint),
        new_mint=new_mint,
    )
