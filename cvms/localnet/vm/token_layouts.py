"""Layouts of token accounts and mints of SPL Token and Token-2022."""

from __future__ import annotations

from dataclasses import dataclass

from solders.account import Account
from solders.pubkey import Pubkey
from solders.token.state import Mint, TokenAccount
from spl.token.constants import ACCOUNT_LEN, MINT_LEN, TOKEN_2022_PROGRAM_ID, TOKEN_PROGRAM_ID

from cvms.localnet.types import Json

TOKEN_PROGRAMS = frozenset({TOKEN_PROGRAM_ID, TOKEN_2022_PROGRAM_ID})

STATE_OFFSET = 108
KIND_OFFSET = 165
"""Where Token-2022 has the type of an account with extensions."""

MINT_KIND, ACCOUNT_KIND = 1, 2


def token_account(account: Account | None) -> TokenAccount | None:
    """Parse a token account. Return None for any other account."""
    if account is None or account.owner not in TOKEN_PROGRAMS:
        return None
    data = bytes(account.data)
    if not _is_kind(data, ACCOUNT_LEN, ACCOUNT_KIND) or not 1 <= data[STATE_OFFSET] <= 2:
        return None
    try:
        return TokenAccount.from_bytes(data[:ACCOUNT_LEN])
    except ValueError:  # the tag of an option is neither 0 nor 1: the program did not write it
        return None


def token_mint(account: Account | None) -> Mint | None:
    """Parse an initialized mint. Return None for any other account."""
    if account is None or account.owner not in TOKEN_PROGRAMS:
        return None
    data = bytes(account.data)
    if not _is_kind(data, MINT_LEN, MINT_KIND) or data[45] != 1:
        return None
    try:
        return Mint.from_bytes(data[:MINT_LEN])
    except ValueError:
        return None


def _is_kind(data: bytes, length: int, kind: int) -> bool:
    return len(data) == length or (len(data) > KIND_OFFSET and data[KIND_OFFSET] == kind)


@dataclass(frozen=True, slots=True)
class TokenBalance:
    """Balance of the token account at position `index` of a transaction's keys."""

    index: int
    mint: Pubkey
    owner: Pubkey
    program: Pubkey
    amount: int
    decimals: int

    def as_json(self) -> Json:
        return {
            "accountIndex": self.index,
            "mint": str(self.mint),
            "owner": str(self.owner),
            "programId": str(self.program),
            "uiTokenAmount": ui_amount(self.amount, self.decimals),
        }


def ui_amount(amount: int, decimals: int) -> Json:
    """Return an amount in the form of `uiTokenAmount`."""
    digits = str(amount).rjust(decimals + 1, "0")
    whole, fraction = digits[: len(digits) - decimals], digits[len(digits) - decimals :]
    fraction = fraction.rstrip("0")
    return {
        "amount": str(amount),
        "decimals": decimals,
        "uiAmount": amount / 10**decimals,
        "uiAmountString": f"{whole}.{fraction}" if fraction else whole,
    }
