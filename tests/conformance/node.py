"""A node that is asked the recorded questions, and what was done on it before."""

from __future__ import annotations

import base64
import json
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any

import httpx
from solders.hash import Hash
from solders.keypair import Keypair
from solders.message import MessageV0
from solders.pubkey import Pubkey
from solders.system_program import TransferParams, transfer
from solders.transaction import VersionedTransaction

from tests.conformance.likeness import Json, differences, differences_of_replies
from tests.conformance.recording import Cast, Exchange

SOL = 1_000_000_000
BASE64 = {"encoding": "base64"}


@dataclass(frozen=True, slots=True)
class AskedNode:
    """A client of a node. `finalize` waits until what was sent is final."""

    url: str
    http: httpx.AsyncClient
    finalize: Callable[[str], Awaitable[None]]

    async def reply(self, method: str, *params: Any) -> Any:
        call = {"jsonrpc": "2.0", "id": 1, "method": method, "params": list(params)}
        return (await self.http.post(self.url, json=call)).json()

    async def call(self, method: str, *params: Any) -> Any:
        reply = await self.reply(method, *params)
        assert "error" not in reply, (method, params, reply)
        return reply["result"]

    async def post(self, body: str) -> str:
        headers = {"content-type": "application/json"}
        answered = await self.http.post(self.url, content=body, headers=headers)
        assert answered.status_code == 200
        return answered.text

    async def blockhash(self) -> Hash:
        found = await self.call("getLatestBlockhash", {"commitment": "confirmed"})
        return Hash.from_string(found["value"]["blockhash"])

    async def send(self, payer: Keypair, to: Pubkey, lamports: int) -> VersionedTransaction:
        """Send a transfer without preflight, and return it once it is final."""
        pay = transfer(TransferParams(from_pubkey=payer.pubkey(), to_pubkey=to, lamports=lamports))
        message = MessageV0.try_compile(payer.pubkey(), [pay], [], await self.blockhash())
        signed = VersionedTransaction(message, [payer])
        wire = base64.b64encode(bytes(signed)).decode()
        await self.call("sendTransaction", wire, BASE64 | {"skipPreflight": True})
        return signed

    async def prepare(self, *, mint: Pubkey, program: Pubkey) -> Cast:
        """Do what was done before the recording: an airdrop, a transfer, and one that fails."""
        payer, recipient = Keypair(), Keypair().pubkey()
        await self.finalize(await self.call("requestAirdrop", str(payer.pubkey()), 5 * SOL))
        paid = await self.send(payer, recipient, SOL)
        await self.finalize(str(paid.signatures[0]))
        failed = await self.send(payer, recipient, 1_000 * SOL)
        await self.finalize(str(failed.signatures[0]))
        signature, search = str(paid.signatures[0]), {"searchTransactionHistory": True}
        [status] = (await self.call("getSignatureStatuses", [signature], search))["value"]
        return Cast(
            payer=payer,
            recipient=recipient,
            mint=mint,
            program=program,
            transfer=paid,
            failed=failed,
            slot=status["slot"],
        )

    async def ask(self, exchange: Exchange, cast: Cast) -> Json:
        """Ask a recorded question in terms of this run. Return the reply, or a response's body."""
        if exchange.body is not None:
            return await self.post(exchange.body)
        reply = await self.reply(exchange.method, *cast.params(exchange, await self.blockhash()))
        del reply["jsonrpc"], reply["id"]
        return reply


def differences_of_answers(expected: Json, actual: Json, words: Mapping[str, str]) -> list[str]:
    """Compare replies, or the bodies of responses: nothing, a reply, or a list of replies."""
    if not isinstance(expected, str):
        return differences_of_replies(expected, actual, words)
    if not expected or not actual:
        return [] if expected == actual else [f"«{actual}», not «{expected}»"]
    one, other = json.loads(expected), json.loads(actual)
    if isinstance(one, dict) and isinstance(other, dict):
        return differences_of_replies(one, other)
    return differences(one, other)
