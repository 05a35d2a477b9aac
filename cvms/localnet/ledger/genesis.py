"""Accounts that exist in every ledger: the faucet, and the mint of wrapped SOL."""

from __future__ import annotations

from solana.constants import SYSTEM_PROGRAM_ID
from solders.account import Account
from solders.keypair import Keypair
from solders.token.state import Mint
from spl.token.constants import TOKEN_PROGRAM_ID, WRAPPED_SOL_MINT

from cvms.localnet.ledger.chain import LocalnetChain
from cvms.localnet.ledger.sqlite_ledger import Ledger

FAUCET_LAMPORTS = 2**62
"""More than any test asks for, and too little for airdrops to overflow an account."""

SOL_DECIMALS = 9


def faucet_keypair(ledger: Ledger) -> Keypair:
    return Keypair.from_bytes(ledger.setting("faucet", bytes(Keypair())))


def fill_genesis(chain: LocalnetChain) -> None:
    """Write the accounts that do not exist yet."""
    faucet = faucet_keypair(chain.ledger).pubkey()
    if chain.accounts.latest(faucet) is None:
        chain.overwrite(faucet, Account(FAUCET_LAMPORTS, b"", SYSTEM_PROGRAM_ID))
    if chain.accounts.latest(WRAPPED_SOL_MINT) is None:
        data = bytes(Mint(None, 0, SOL_DECIMALS, is_initialized=True))
        mint = Account(chain.vm.rent_exempt(len(data)), data, TOKEN_PROGRAM_ID)
        chain.overwrite(WRAPPED_SOL_MINT, mint)
