"""What every ledger begins with: the faucet's lamports, and the mint of wrapped SOL."""

from __future__ import annotations

from solders.account import Account
from solders.keypair import Keypair
from solders.system_program import ID as SYSTEM_PROGRAM
from solders.token import ID as TOKEN_PROGRAM
from solders.token.state import Mint

from cvms.localnet.ledger.chain import Chain
from cvms.localnet.ledger.sqlite_ledger import Ledger
from cvms.localnet.vm.token_layouts import NATIVE_MINT

FAUCET_LAMPORTS = 2**62
"""More than anyone asks for, and airdrops to one account cannot overflow it."""

SOL_DECIMALS = 9


def faucet_keypair(ledger: Ledger) -> Keypair:
    return Keypair.from_bytes(ledger.setting("faucet", bytes(Keypair())))


def fill_genesis(chain: Chain) -> None:
    """Write what is not there yet."""
    faucet = faucet_keypair(chain.ledger).pubkey()
    if chain.accounts.latest(faucet) is None:
        chain.overwrite(faucet, Account(FAUCET_LAMPORTS, b"", SYSTEM_PROGRAM))
    if chain.accounts.latest(NATIVE_MINT) is None:
        data = bytes(Mint(None, 0, SOL_DECIMALS, is_initialized=True))
        mint = Account(chain.vm.rent_exempt(len(data)), data, TOKEN_PROGRAM)
        chain.overwrite(NATIVE_MINT, mint)
