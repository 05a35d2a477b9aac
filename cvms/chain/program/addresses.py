"""Where accounts live: well-known programs, program-derived addresses, token accounts."""

from __future__ import annotations

from solders.pubkey import Pubkey

from cvms.chain.types import Programs

SYSTEM_PROGRAM = Pubkey.from_string("11111111111111111111111111111111")
TOKEN_PROGRAM = Pubkey.from_string("TokenkegQfeZyiNwAJbNbGKPFXCWuBvf9Ss623VQ5DA")
ASSOCIATED_TOKEN_PROGRAM = Pubkey.from_string("ATokenGPvbdGVxr1b2hvZbsiqW5xWH25efTNsLJA8knL")
COMPUTE_BUDGET_PROGRAM = Pubkey.from_string("ComputeBudget111111111111111111111111111111")
INSTRUCTIONS_SYSVAR = Pubkey.from_string("Sysvar1nstructions1111111111111111111111111")
RENT_SYSVAR = Pubkey.from_string("SysvarRent111111111111111111111111111111111")

# Precompiles run outside the virtual machine, so they write no `invoke` line to the logs.
PRECOMPILES = frozenset(
    Pubkey.from_string(address)
    for address in (
        "Ed25519SigVerify111111111111111111111111111",
        "KeccakSecp256k11111111111111111111111111111",
        "Secp256r1SigVerify1111111111111111111111111",
    )
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
    return _derive([bytes(owner), bytes(TOKEN_PROGRAM), bytes(mint)], ASSOCIATED_TOKEN_PROGRAM)


def _derive(seeds: list[bytes], program: Pubkey) -> Pubkey:
    return Pubkey.find_program_address(seeds, program)[0]
