"""The chain's clock, which timelocks and delays refer to."""

from __future__ import annotations

import struct
from dataclasses import dataclass

from solders.sysvar import CLOCK

from cvms.chain.rpc.rpc_client import RpcClient
from cvms.chain.types import Account, Commitment, Slot
from cvms.errors import DecodeError

_LENGTH = 40  # slot, epoch start, epoch, leader schedule epoch, Unix timestamp
_UNIX_TIMESTAMP = 32


@dataclass(frozen=True, slots=True)
class ChainTime:
    """Unix seconds, as programs see them in the block of `slot`."""

    seconds: int
    slot: Slot


async def chain_now(rpc: RpcClient) -> ChainTime:
    """Return the time of the newest confirmed block. Raises what the RPC raises."""
    found = await rpc.get_accounts([CLOCK], commitment=Commitment.CONFIRMED)
    return ChainTime(time_in(found.accounts[0]), found.slot)


async def chain_time(rpc: RpcClient) -> int:
    """Return the Unix seconds of the newest confirmed block."""
    return (await chain_now(rpc)).seconds


def time_in(account: Account | None) -> int:
    """Return the Unix seconds in the clock sysvar. Raises DecodeError when it is something else."""
    if account is None or len(account.data) != _LENGTH:
        raise DecodeError("the chain has no clock")
    (seconds,) = struct.unpack_from("<q", account.data, _UNIX_TIMESTAMP)
    return int(seconds)
