"""Where accounts live: well-known programs, program-derived addresses, token accounts."""

from __future__ import annotations

from solana.constants import ED25519_PROGRAM_ID, SECP256K1_PROGRAM_ID
from solders.pubkey import Pubkey
from spl.token.instructions import get_associated_token_address

from cvms.chain.types import Programs

# Precompiles run outside the virtual machine, so they write no `invoke` line to the logs.
PRECOMPILES = frozenset(
    {
        ED25519_PROGRAM_ID,
        SECP256K1_PROGRAM_ID,
        Pubkey.from_string("Secp256r1SigVerify1111111111111111111111111"),
    }
)


def vault_address(programs: Programs, owner: Pubkey) -> Pubkey:
    """The owner's vault account."""
    return _derive([b"vault", bytes(owner)], programs.vault)


def vault_authority_address(programs: Programs) -> Pubkey:
    """The one account that holds governance, the authorized programs and the freeze flag."""
    return _derive([b"vault_authority"], programs.vault)


def position_summary_address(program: Pubkey, vault: Pubkey) -> Pubkey:
    """Where an authorized program keeps its summary of a vault's open positions."""
    return _derive([b"position_summary", bytes(vault)], program)


def token_account(owner: Pubkey, mint: Pubkey) -> Pubkey:
    """The associated token account (ATA) of an owner, a wallet or a PDA, for a mint."""
    return get_associated_token_address(owner, mint)


def _derive(seeds: list[bytes], program: Pubkey) -> Pubkey:
    return Pubkey.find_program_address(seeds, program)[0]
