"""List of all vaults, from the first fields of each account.

Nodes filter accounts by bytes at an offset. So a list that is too long for one response is asked
for by the first byte of the owner, the first field.
"""

from __future__ import annotations

import itertools
from collections.abc import AsyncGenerator, Iterator
from dataclasses import dataclass

from solders.pubkey import Pubkey

from cvms.chain import borsh
from cvms.chain.borsh import U64
from cvms.chain.program.accounts import VAULT_DISCRIMINATOR
from cvms.chain.rpc.rpc_client import RpcClient
from cvms.chain.types import Commitment, Programs

# The first four fields of a vault, after the discriminator.
_OFFSET, _LENGTH = 8, 3 * 32 + 8

MOST_LISTED = 100_000
"""Vaults of one response, which has 400 bytes for each."""


@dataclass(frozen=True, slots=True)
class _VaultHead:
    owner: Pubkey
    token_account: Pubkey
    usdt_mint: Pubkey
    total_balance: U64


@dataclass(frozen=True, slots=True)
class ListedVault:
    """A vault of the programs' mint. `total` is in token units."""

    address: Pubkey
    owner: Pubkey
    token_account: Pubkey
    total: int


async def list_vaults(
    rpc: RpcClient, programs: Programs, *, commitment: Commitment, expected: int
) -> AsyncGenerator[list[ListedVault], None]:
    """Yield all vaults of the programs' mint, in parts of up to about MOST_LISTED vaults.

    `expected` is about how many there are. Each part is true for a slot of its own. Raises
    DecodeError for an account that cannot be a vault, and what `rpc` raises: not every node offers
    getProgramAccounts.
    """
    for owners_begin in _prefixes(expected):
        _, accounts = await rpc.get_program_accounts(
            programs.vault,
            data_begins=VAULT_DISCRIMINATOR + owners_begin,
            commitment=commitment,
            data_slice=(_OFFSET, _LENGTH),
        )
        heads = [
            (address, borsh.decode(_VaultHead, account.data, trailing=False))
            for address, account in accounts
        ]
        yield [
            ListedVault(address, head.owner, head.token_account, head.total_balance)
            for address, head in heads
            if head.usdt_mint == programs.mint
        ]


def _prefixes(expected: int) -> Iterator[bytes]:
    """Return all beginnings of an owner's address that as few bytes as possible can make."""
    length = 0
    while expected > MOST_LISTED * 256**length:
        length += 1
    return map(bytes, itertools.product(range(256), repeat=length))
