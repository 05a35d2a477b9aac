"""JSON-RPC calls from a test to the chain, and what an owner needs there."""

from __future__ import annotations

from typing import Any

import httpx
import trio
from solders.keypair import Keypair
from solders.pubkey import Pubkey

SOL = 1_000_000_000
TOKENS = 10**12


async def rpc(url: str, method: str, *params: Any) -> Any:
    """Call `method` and return its result."""
    request = {"jsonrpc": "2.0", "id": 1, "method": method, "params": params}
    async with httpx.AsyncClient() as http:
        reply = (await http.post(url, json=request)).json()
    assert "error" not in reply, reply
    return reply["result"]


async def fund(url: str, owner: Keypair, mint: Pubkey) -> None:
    """Give an owner one SOL, and tokens."""
    address = str(owner.pubkey())
    await rpc(url, "requestAirdrop", address, SOL)
    level = {"commitment": "confirmed"}
    while (  # noqa: ASYNC110 - processes have no other way to be asked
        (await rpc(url, "getBalance", address, level))["value"] < SOL
    ):
        await trio.sleep(0.05)
    await rpc(url, "surfnet_setTokenAccount", address, str(mint), {"amount": TOKENS})
