"""Addresses: program-derived addresses (PDAs), token accounts and precompiles."""

from __future__ import annotations

from solana.constants import BPF_LOADER_PROGRAM_ID, ED25519_PROGRAM_ID, SECP256K1_PROGRAM_ID
from solders.pubkey import Pubkey
from spl.token.instructions import get_associated_token_address

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


def position_summary_address(program: Pubkey, vault: Pubkey) -> Pubkey:
    """Return the address of an authorized program's summary of a vault's open positions."""
    return _derive([b"position_summary", bytes(vault)], program)


def token_account(owner: Pubkey, mint: Pubkey) -> Pubkey:
    """Return the address of the associated token account (ATA) of a wallet or PDA, for a mint."""
    return get_associated_token_address(owner, mint)


def _derive(seeds: list[bytes], program: Pubkey) -> Pubkey:
    return Pubkey.find_program_address(seeds, program)[0]
