"""Every vault there is, by no more of each account than says whose it is and what it holds."""

from __future__ import annotations

from dataclasses import dataclass

from solders.pubkey import Pubkey

from cvms.chain import borsh
from cvms.chain.borsh import U64
from cvms.chain.program.accounts import VAULT_DISCRIMINATOR
from cvms.chain.rpc.rpc_client import RpcClient
from cvms.chain.types import Commitment, Programs, Slot

# The first four fields of a vault, behind the discriminator.
_OFFSET, _LENGTH = 8, 3 * 32 + 8


@dataclass(frozen=True, slots=True)
class _Beginning:
    owner: Pubkey
    token_account: Pubkey
    usdt_mint: Pubkey
    total_balance: U64


@dataclass(frozen=True, slots=True)
class ListedVault:
    """A vault of our mint. Amounts in token units."""

    address: Pubkey
    owner: Pubkey
    token_account: Pubkey
    total: int


async def list_vaults(
    rpc: RpcClient, programs: Programs, *, commitment: Commitment
) -> tuple[Slot, list[ListedVault]]:
    """The vaults that hold the programs' mint, as of a slot: about 400 bytes of answer for each.

    Raises DecodeError for an account that cannot be a vault, and whatever `rpc` raises: not every
    node answers getProgramAccounts.
    """
    slot, accounts = await rpc.get_program_accounts(
        programs.vault,
        discriminator=VAULT_DISCRIMINATOR,
        commitment=commitment,
        data_slice=(_OFFSET, _LENGTH),
    )
    found = []
    for address, account in accounts:
        begin = borsh.decode(_Beginning, account.data, trailing=False)
        if begin.usdt_mint == programs.mint:
            found.append(
                ListedVault(address, begin.owner, begin.token_account, begin.total_balance)
            )
    return slot, found
