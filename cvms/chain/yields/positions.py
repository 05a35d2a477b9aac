"""Positions of an owner in pools of the reference yield program, with the interest so far."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from solders.pubkey import Pubkey
from solders.sysvar import CLOCK

from cvms.chain.program.accounts import read_token_account
from cvms.chain.program.yield_pool_accounts import (
    YieldPoolAccount,
    claimable,
    position_address,
    read_pool,
    read_position,
    reserve_address,
)
from cvms.chain.rpc.rpc_client import RpcClient
from cvms.chain.transactions.chain_clock import time_in
from cvms.chain.types import Account, Commitment, Programs, Slot
from cvms.errors import DecodeError


@dataclass(frozen=True, slots=True)
class PoolPosition:
    """An owner's position in a pool, in token units.

    `interest` has accrued; the pool pays it from `reserve`, to those who claim first.
    """

    pool: Pubkey
    opened: bool
    principal: int = 0
    interest: int = 0
    reserve: int = 0

    @property
    def claimable(self) -> int:
        """The interest that a claim would pay now."""
        return min(self.interest, self.reserve)


async def read_positions(
    rpc: RpcClient, programs: Programs, *, pools: Sequence[Pubkey], owner: Pubkey
) -> tuple[Slot, list[PoolPosition]]:
    """Return the owner's positions and their slot, in the order of `pools`.

    An address that is not a pool of the programs' mint is omitted. For a vault's tokens the owner
    is the vault account. Raises DecodeError for an invalid position, reserve or clock, and what
    `rpc` raises.
    """
    slot, positions = await _read(rpc, programs, pools, [owner])
    return slot, positions[owner]


async def read_positions_of(
    rpc: RpcClient, programs: Programs, *, pools: Sequence[Pubkey], owners: Sequence[Pubkey]
) -> dict[Pubkey, list[PoolPosition]]:
    """Return the positions of several owners; as `read_positions`.

    More than ACCOUNTS_PER_CALL accounts may not all be of one slot.
    """
    _, positions = await _read(rpc, programs, pools, owners)
    return positions


async def _read(
    rpc: RpcClient, programs: Programs, pools: Sequence[Pubkey], owners: Sequence[Pubkey]
) -> tuple[Slot, dict[Pubkey, list[PoolPosition]]]:
    addresses = [CLOCK, *pools, *(reserve_address(programs, pool) for pool in pools)]
    for owner in owners:
        addresses += [position_address(programs, pool=pool, owner=owner) for pool in pools]
    found = await rpc.get_accounts(addresses, commitment=Commitment.CONFIRMED)
    now, rest, count = time_in(found.accounts[0]), found.accounts[1:], len(pools)
    states = [_pool(account, programs) for account in rest[:count]]
    reserves, positions = rest[count : 2 * count], rest[2 * count :]
    return found.slot, {
        owner: [
            _position(pool, state, position, reserve, programs, now=now)
            for pool, state, reserve, position in zip(
                pools, states, reserves, positions[index * count :], strict=False
            )
            if state is not None
        ]
        for index, owner in enumerate(owners)
    }


def _pool(account: Account | None, programs: Programs) -> YieldPoolAccount | None:
    try:
        pool = read_pool(account, programs)
    except DecodeError:
        return None  # its rate is refused for the same reason
    return pool if pool is not None and pool.mint == programs.mint else None


def _position(
    address: Pubkey,
    pool: YieldPoolAccount,
    position_account: Account | None,
    reserve_account: Account | None,
    programs: Programs,
    *,
    now: int,
) -> PoolPosition:
    position = read_position(position_account, programs)
    if position is None:
        return PoolPosition(address, opened=False)
    reserve = read_token_account(reserve_account)
    return PoolPosition(
        address,
        opened=True,
        principal=position.principal,
        interest=claimable(pool, position, now=now),
        reserve=reserve.amount if reserve else 0,
    )
