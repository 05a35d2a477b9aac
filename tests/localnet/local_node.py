"""Clients of a local chain in this process, over its RPC and PubSub sockets."""

from __future__ import annotations

import base64
import json
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import httpx
import trio
import trio_websocket
from solders.hash import Hash
from solders.instruction import Instruction
from solders.keypair import Keypair
from solders.message import MessageV0
from solders.pubkey import Pubkey
from solders.system_program import TransferParams, transfer
from solders.token.state import Mint
from solders.transaction import VersionedTransaction

from cvms.errors import RpcError
from cvms.localnet import Running

SOL = 1_000_000_000
TOKEN_PROGRAM = "TokenkegQfeZyiNwAJbNbGKPFXCWuBvf9Ss623VQ5DA"
SYSTEM_PROGRAM = "11111111111111111111111111111111"
BASE64 = {"encoding": "base64"}
PROCESSED = {"commitment": "processed"}
CONFIRMED = {"commitment": "confirmed"}
FINALIZED_LAG = 4


@dataclass
class Node:
    """A client of a chain's RPC, which can also start slots."""

    running: Running
    http: httpx.AsyncClient

    async def reply(self, method: str, *params: Any) -> dict[str, Any]:
        """Return the whole JSON-RPC reply."""
        call = {"jsonrpc": "2.0", "id": 1, "method": method, "params": list(params)}
        response = await self.http.post(self.running.rpc_url, content=json.dumps(call))
        reply: dict[str, Any] = response.json()
        return reply

    async def call(self, method: str, *params: Any) -> Any:
        """Return the result of a call. Raises RpcError for the node's error."""
        reply = await self.reply(method, *params)
        if "error" in reply:
            error = reply["error"]
            raise RpcError(error["code"], error["message"], error.get("data"))
        return reply["result"]

    def advance(self, slots: int = 1) -> int:
        """Start the next slots, and return that of the new tip."""
        return self.running.chain.advance(slots).slot

    def finalize(self) -> None:
        """Make all current blocks final."""
        self.advance(FINALIZED_LAG)

    async def wallet(self, sol: int = 10) -> Keypair:
        """Return a new keypair with final lamports."""
        keypair = Keypair()
        await self.call("requestAirdrop", str(keypair.pubkey()), sol * SOL)
        self.finalize()
        return keypair

    async def balance(self, key: Pubkey, commitment: str = "processed") -> int:
        answer = await self.call("getBalance", str(key), {"commitment": commitment})
        lamports: int = answer["value"]
        return lamports

    async def blockhash(self, commitment: str = "confirmed") -> Hash:
        answer = await self.call("getLatestBlockhash", {"commitment": commitment})
        return Hash.from_string(answer["value"]["blockhash"])

    async def signed(
        self, payer: Keypair, instructions: Sequence[Instruction], *, blockhash: Hash | None = None
    ) -> VersionedTransaction:
        recent = blockhash or await self.blockhash()
        message = MessageV0.try_compile(payer.pubkey(), list(instructions), [], recent)
        return VersionedTransaction(message, [payer])

    async def transfer(
        self, payer: Keypair, to: Pubkey, lamports: int, *, blockhash: Hash | None = None
    ) -> VersionedTransaction:
        pay = TransferParams(from_pubkey=payer.pubkey(), to_pubkey=to, lamports=lamports)
        return await self.signed(payer, [transfer(pay)], blockhash=blockhash)

    async def send(self, transaction: VersionedTransaction, **config: Any) -> str:
        settings = BASE64 | {"preflightCommitment": "confirmed"} | config
        signature: str = await self.call("sendTransaction", wire(transaction), settings)
        return signature

    async def pay(self, payer: Keypair, to: Pubkey, lamports: int) -> str:
        """Send a transfer with the newest block hash."""
        recent = await self.blockhash("processed")
        transaction = await self.transfer(payer, to, lamports, blockhash=recent)
        return await self.send(transaction, skipPreflight=True)

    async def mint(self, decimals: int = 6, authority: Pubkey | None = None) -> Pubkey:
        """Create a mint of SPL Token."""
        key = Keypair().pubkey()
        data = bytes(Mint(authority, 0, decimals, is_initialized=True))
        lamports = await self.call("getMinimumBalanceForRentExemption", len(data))
        account = {"lamports": lamports, "owner": TOKEN_PROGRAM, "data": data.hex()}
        await self.call("surfnet_setAccount", str(key), account)
        return key

    @asynccontextmanager
    async def pubsub(self, url: str | None = None) -> AsyncIterator[PubSub]:
        async with trio_websocket.open_websocket_url(url or self.running.ws_url) as socket:
            yield PubSub(socket)


@dataclass
class PubSub:
    """A PubSub client. It keeps notifications that arrive before a reply."""

    socket: trio_websocket.WebSocketConnection
    early: list[dict[str, Any]] = field(default_factory=list)

    async def call(self, method: str, *params: Any) -> Any:
        call = {"jsonrpc": "2.0", "id": 7, "method": method, "params": list(params)}
        await self.socket.send_message(json.dumps(call))
        with trio.fail_after(5):
            while "id" not in (frame := json.loads(await self.socket.get_message())):
                self.early.append(frame)
        if "error" in frame:
            raise RpcError(frame["error"]["code"], frame["error"]["message"])
        return frame["result"]

    async def next(self) -> dict[str, Any]:
        """Return the next notification."""
        if self.early:
            return self.early.pop(0)
        with trio.fail_after(5):
            frame: dict[str, Any] = json.loads(await self.socket.get_message())
        return frame

    async def quiet(self) -> bool:
        """Return True if there was no notification: they arrive before a later reply."""
        try:
            await self.call("slotUnsubscribe", 2**40)
        except RpcError:
            return not self.early
        raise AssertionError("an unknown subscription was ended")


def wire(transaction: VersionedTransaction) -> str:
    return base64.b64encode(bytes(transaction)).decode()
