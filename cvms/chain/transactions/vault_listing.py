"""List of all vaults, from the first fields of each account."""

from __future__ import annotations

from dataclasses import dataclass

from solders.pubkey import Pubkey

from cvms.chain import borsh
from cvms.chain.borsh import U64
from cvms.chain.program.accounts import VAULT_DISCRIMINATOR
from cvms.chain.rpc.rpc_client import RpcClient
from cvms.chain.types import Commitment, Programs, Slot

# The first four fields of a vault, after the discriminator.
_OFFSET, _LENGTH = 8, 3 * 32 + 8


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
    rpc: RpcClient, programs: Programs, *, commitment: Commitment
) -> tuple[Slot, list[ListedVault]]:
    """Return all vaults of the programs' mint, and their slot. The response has 400 bytes for each.

    Raises DecodeError for an account that cannot be a vault, and what `rpc` raises: not every node
    offers getProgramAccounts.
    """
    slot, accounts = await rpc.get_program_accounts(
        programs.vault,
        discriminator=VAULT_DISCRIMINATOR,
        commitment=commitment,
        data_slice=(_OFFSET, _LENGTH),
    )
    vaults = []
    for address, account in accounts:
        head = borsh.decode(_VaultHead, account.data, trailing=False)
        if head.usdt_mint == programs.mint:
            vaults.append(ListedVault(address, head.owner, head.token_account, head.total_balance))
    return slot, vaults
