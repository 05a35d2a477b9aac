"""Instructions of SPL Token and of its associated accounts.

solana-py has them too; importing them takes a tenth of the time that the service starts in.
"""

from __future__ import annotations

import struct

from solana.constants import SYSTEM_PROGRAM_ID
from solders.instruction import AccountMeta, Instruction
from solders.pubkey import Pubkey
from spl.token.constants import ASSOCIATED_TOKEN_PROGRAM_ID, TOKEN_PROGRAM_ID

from cvms.chain.program.addresses import token_account

CREATE_IDEMPOTENT = bytes([1])
MINT_TO = 7
INITIALIZE_MINT2 = 20


def create_token_account(*, payer: Pubkey, owner: Pubkey, mint: Pubkey) -> Instruction:
    """Return the creation of an owner's associated token account, which may exist already."""
    accounts = [
        AccountMeta(payer, is_signer=True, is_writable=True),
        _writable(token_account(owner, mint)),
        *map(_readonly, (owner, mint, SYSTEM_PROGRAM_ID, TOKEN_PROGRAM_ID)),
    ]
    return Instruction(ASSOCIATED_TOKEN_PROGRAM_ID, CREATE_IDEMPOTENT, accounts)


def initialize_mint(mint: Pubkey, *, decimals: int, authority: Pubkey) -> Instruction:
    """Return the initialization of a new account as a mint without a freeze authority."""
    no_freeze_authority = bytes(33)
    data = bytes([INITIALIZE_MINT2, decimals]) + bytes(authority) + no_freeze_authority
    return Instruction(TOKEN_PROGRAM_ID, data, [_writable(mint)])


def mint_tokens(mint: Pubkey, *, recipient: Pubkey, authority: Pubkey, amount: int) -> Instruction:
    """Return the issue of tokens to the token account `recipient`, signed by the authority."""
    signer = AccountMeta(authority, is_signer=True, is_writable=False)
    accounts = [_writable(mint), _writable(recipient), signer]
    return Instruction(TOKEN_PROGRAM_ID, struct.pack("<BQ", MINT_TO, amount), accounts)


def _writable(address: Pubkey) -> AccountMeta:
    return AccountMeta(address, is_signer=False, is_writable=True)


def _readonly(address: Pubkey) -> AccountMeta:
    return AccountMeta(address, is_signer=False, is_writable=False)
