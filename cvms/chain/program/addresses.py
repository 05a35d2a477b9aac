"""Addresses: program-derived addresses (PDAs), token accounts and precompiles."""

from __future__ import annotations

import hashlib

from solana.constants import BPF_LOADER_PROGRAM_ID, ED25519_PROGRAM_ID, SECP256K1_PROGRAM_ID
from solders.pubkey import Pubkey
from spl.token.instructions import get_associated_token_address

from cvms.chain.borsh import encode_as
from cvms.chain.program.guard_changes import GuardChange
from cvms.chain.types import Programs

# Precompiles run outside the virtual machine, so they log no `invoke` line.
PRECOMPILES = frozenset(
    {
        ED25519_PROGRAM_ID,
        SECP256K1_PROGRAM_ID,
        Pubkey.from_string("Secp256r1SigVerify1111111111111111111111111"),
    }
)


def vault_address(programs: Programs, owner: Pubkey) -> Pubkey:
    """Return the address of the owner's vault."""
    return _derive([b"vault", bytes(owner)], programs.vault)


def vault_authority_address(programs: Programs) -> Pubkey:
    """Return the address of the account with governance, authorized programs and freeze flag."""
    return _derive([b"vault_authority"], programs.vault)


def program_data_address(program: Pubkey) -> Pubkey:
    """Return the address of the account in which the loader keeps code and upgrade authority."""
    return _derive([bytes(program)], BPF_LOADER_PROGRAM_ID)


def transfer_limits_address(programs: Programs) -> Pubkey:
    """Return the address of the account with the limits of transfers between vaults."""
    return _derive([b"transfer_limits"], programs.vault)


def guard_change_address(program: Pubkey, vault: Pubkey, change: GuardChange) -> Pubkey:
    """Return the address of the vault program's account of a requested change of guards."""
    digest = hashlib.sha256(encode_as(GuardChange, change)).digest()
    return _derive([b"guard_change", bytes(vault), digest], program)


def caller_address(program: Pubkey, vault_program: Pubkey) -> Pubkey:
    """Return the address with which an authorized program signs its calls of the vault program.

    Only calls from within another program's call need it.
    """
    return _derive([b"caller", bytes(vault_program)], program)


def position_summary_address(program: Pubkey, vault: Pubkey) -> Pubkey:
    """Return the address of an authorized program's summary of a vault's open positions."""
    return _derive([b"position_summary", bytes(vault)], program)


def token_account(owner: Pubkey, mint: Pubkey) -> Pubkey:
    """Return the address of the associated token account (ATA) of a wallet or PDA, for a mint."""
    return get_associated_token_address(owner, mint)


def _derive(seeds: list[bytes], program: Pubkey) -> Pubkey:
    return Pubkey.find_program_address(seeds, program)[0]
