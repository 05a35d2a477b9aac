"""Test funds for wallets on a local chain."""

from __future__ import annotations

from dataclasses import dataclass

import trio
from solders.pubkey import Pubkey

from cvms.chain.rpc.rpc_client import RpcClient, open_rpc
from cvms.chain.types import Commitment, Programs
from cvms.errors import ChainTimeout, ConfigurationError, RpcError

LAMPORTS = 1_000_000_000
MINT_DECIMALS = 6
LANDING_DEADLINE = 30.0
METHOD_NOT_FOUND = -32601


@dataclass(frozen=True, slots=True)
class Funds:
    """What a wallet gets, in SOL and in USDT."""

    sol: float
    usdt: float


def fund_wallet(address: Pubkey, funds: Funds, *, rpc_url: str, programs: Programs) -> None:
    """Give the wallet SOL and USDT of the local chain: what it has of USDT is replaced.

    Raises ConfigurationError for a chain that gives none, and ChainUnavailable.
    """

    async def fund() -> None:
        async with open_rpc([rpc_url]) as rpc:
            await _fund(rpc, address, funds, programs)

    try:
        trio.run(fund)
    except RpcError as error:
        if error.code != METHOD_NOT_FOUND:
            raise
        raise ConfigurationError(f"{rpc_url} is not a local chain: it gives no test USDT") from None
    except trio.TooSlowError:
        raise ChainTimeout(f"{rpc_url} confirms no transaction") from None


async def _fund(rpc: RpcClient, address: Pubkey, funds: Funds, programs: Programs) -> None:
    if funds.usdt:
        amount = {"amount": round(funds.usdt * 10**MINT_DECIMALS)}
        await rpc.call("surfnet_setTokenAccount", [str(address), str(programs.mint), amount])
    if funds.sol:
        await airdrop(rpc, address, round(funds.sol * LAMPORTS))


async def airdrop(rpc: RpcClient, address: Pubkey, lamports: int) -> None:
    """Ask the chain for SOL, and wait until it is confirmed."""
    signature = await rpc.call("requestAirdrop", [str(address), lamports])
    await confirm(rpc, str(signature))


async def confirm(rpc: RpcClient, signature: str) -> None:
    """Wait until the transaction is confirmed."""
    with trio.fail_after(LANDING_DEADLINE):
        while True:
            (status,) = await rpc.get_signature_statuses([signature])
            if status is not None and status.commitment is not Commitment.PROCESSED:
                return
            await trio.sleep(0.05)
