"""Instructions of governance, which the vault authority account records for all vaults."""

from __future__ import annotations

from collections.abc import Sequence

from solana.constants import SYSTEM_PROGRAM_ID
from solders.instruction import Instruction
from solders.pubkey import Pubkey
from spl.token.constants import ASSOCIATED_TOKEN_PROGRAM_ID, TOKEN_PROGRAM_ID

from cvms.chain.program.addresses import token_account, vault_address, vault_authority_address
from cvms.chain.program.instructions.encoding import (
    boolean,
    keys,
    readonly,
    signer,
    u8,
    vault_program,
    writable,
)
from cvms.chain.types import Programs


def initialize_vault_authority(
    programs: Programs,
    *,
    governance: Pubkey,
    authorized_programs: Sequence[Pubkey] = (),
    freeze: bool | None = None,
) -> Instruction:
    """Create the vault authority, once. The signer becomes governance."""
    flag = b"\0" if freeze is None else b"\1" + boolean(freeze)
    accounts = [
        signer(governance, writable=True),
        writable(vault_authority_address(programs)),
        readonly(SYSTEM_PROGRAM_ID),
    ]
    arguments = keys(authorized_programs) + flag
    return vault_program(programs, "initialize_vault_authority", accounts, arguments)


def add_authorized_program(
    programs: Programs, *, governance: Pubkey, program: Pubkey
) -> Instruction:
    """Let a program lock, unlock and transfer collateral.

    Withdrawals then require its summary of the vault's positions.
    """
    return _by_governance(programs, "add_authorized_program", governance, bytes(program))


def remove_authorized_program(
    programs: Programs, *, governance: Pubkey, program: Pubkey
) -> Instruction:
    """Undo `add_authorized_program`."""
    return _by_governance(programs, "remove_authorized_program", governance, bytes(program))


def set_freeze_flag(programs: Programs, *, governance: Pubkey, freeze: bool) -> Instruction:
    """Forbid, or allow again, the locking and unlocking of collateral."""
    return _by_governance(programs, "set_freeze_flag", governance, boolean(freeze))


def set_cpi_enforced(programs: Programs, *, governance: Pubkey, cpi_enforced: bool) -> Instruction:
    """Require that `caller_program` names the calling program."""
    return _by_governance(programs, "set_cpi_enforced", governance, boolean(cpi_enforced))


def add_yield_program(programs: Programs, *, governance: Pubkey, program: Pubkey) -> Instruction:
    """Let vaults deposit tokens in a yield program."""
    return _by_governance(programs, "add_yield_program", governance, bytes(program))


def remove_yield_program(programs: Programs, *, governance: Pubkey, program: Pubkey) -> Instruction:
    """Undo `add_yield_program`."""
    return _by_governance(programs, "remove_yield_program", governance, bytes(program))


def set_risk_level(programs: Programs, *, governance: Pubkey, risk_level: int) -> Instruction:
    """Set the level of risk that governance accepts."""
    return _by_governance(programs, "set_risk_level", governance, u8(risk_level))


def update_usdt_mint(
    programs: Programs, *, governance: Pubkey, owner: Pubkey, new_mint: Pubkey
) -> Instruction:
    """Let the owner's empty vault hold another mint, in its token account for that mint."""
    vault = vault_address(programs, owner)
    accounts = [
        signer(governance, writable=True),
        writable(vault_authority_address(programs)),
        writable(vault),
        writable(token_account(vault, new_mint)),
        readonly(new_mint),
        readonly(SYSTEM_PROGRAM_ID),
        readonly(TOKEN_PROGRAM_ID),
        readonly(ASSOCIATED_TOKEN_PROGRAM_ID),
    ]
    return vault_program(programs, "update_usdt_mint", accounts)


def _by_governance(
    programs: Programs, name: str, governance: Pubkey, arguments: bytes
) -> Instruction:
    accounts = [signer(governance, writable=True), writable(vault_authority_address(programs))]
    return vault_program(programs, name, accounts, arguments)
