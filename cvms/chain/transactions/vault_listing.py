"""List of all vaults, from the first fields of each account.

Nodes filter accounts by bytes at an offset. So a list that is too long for one response is asked
for by the first byte of the owner, the first field.
"""

from __future__ import annotations

import itertools
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


def owner_prefixes(expected: int) -> list[bytes]:
    """Return the parts in which about so many vaults can be listed, as beginnings of owners.

    Each part has up to about MOST_LISTED vaults: owners are evenly distributed.
    """
    length = 0
    while expected > MOST_LISTED * 256**length:
        length += 1
    return [bytes(each) for each in itertools.product(range(256), repeat=length)]


async def list_vaults(
    rpc: RpcClient, programs: Programs, *, commitment: Commitment, owners_begin: bytes = b""
) -> list[ListedVault]:
    """Return all vaults of the programs' mint whose owners begin with these bytes.

    Raises DecodeError for an account that cannot be a vault, and what `rpc` raises: not every node
    offers getProgramAccounts.
    """
    _, accounts = await rpc.get_program_accounts(
        programs.vault,
        data_begins=VAULT_DISCRIMINATOR + owners_begin,
        commitment=commitment,
        data_slice=(_OFFSET, _LENGTH),
    )
    vaults = []
    for address, account in accounts:
        head = borsh.decode(_VaultHead, account.data, trailing=False)
        if head.usdt_mint == programs.mint:
            vaults.append(ListedVault(address, head.owner, head.token_account, head.total_balance))
    return vaults
