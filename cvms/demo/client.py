"""A client of the service and of the chain; of both it knows the public interfaces only."""

from __future__ import annotations

import base64
import json
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import httpx
import trio
import trio_websocket
from solders.hash import Hash
from solders.instruction import Instruction
from solders.keypair import Keypair
from solders.message import MessageV0, to_bytes_versioned
from solders.pubkey import Pubkey
from solders.signature import Signature
from solders.transaction import VersionedTransaction

from cvms.chain.accounts import VAULT_DISCRIMINATOR, Vault, decode_vault
from cvms.chain.addresses import token_account, vault_address
from cvms.chain.types import Programs

POLL_SECONDS = 0.2

Json = dict[str, Any]


class DemoFailed(Exception):
    """What was seen is not what should be; the message says both."""


@dataclass(frozen=True, slots=True)
class Addresses:
    """Where the service and the chain are, and which programs they speak of."""

    url: str
    rpc_url: str
    programs: Programs


@dataclass(slots=True)
class Client:
    """One person's view of the service. A connection that broke is opened again at the next call.

    `seen_seq` holds, for each topic, the last event seen: the place to go on from.
    """

    at: Addresses
    http: httpx.AsyncClient
    seen_seq: dict[str, int] = field(default_factory=dict)

    # --- wallet ---------------------------------------------------------------------------------

    async def signed(
        self, owner: Keypair, text: str, *, signer: Keypair | None = None, **fields: Any
    ) -> Json:
        """A request body: the fields, a fresh nonce, and the wallet's signature of the text."""
        nonce = (await self.post("/api/auth/nonce", {"owner": str(owner.pubkey())}))["nonce"]
        body = {"owner": str(owner.pubkey()), **fields, "nonce": nonce}
        message = text.format(**body).encode()
        return body | {"signature": str((signer or owner).sign_message(message))}

    async def cosign(self, wallet: Keypair, reply: Json) -> str:
        """Sign the transaction the service built, hand it back, wait until it is confirmed."""
        expect("mode", reply["mode"], "cosign")
        wire = cosigned(wallet, base64.b64decode(reply["transaction"]))
        body = {"transaction": base64.b64encode(wire).decode()}
        signature = str((await self.post("/api/transactions", body))["signature"])
        await self.settled(signature)
        return signature

    async def settled(self, signature: str) -> None:
        """Return once the service calls the transaction confirmed."""
        while True:
            state = await self.get(f"/api/transactions/{signature}")
            if state["status"] in {"confirmed", "finalized"}:
                return
            if state["status"] in {"failed", "expired"}:
                raise DemoFailed(f"transaction {signature} is {state}")
            await trio.sleep(POLL_SECONDS)

    async def indexed(self, owner: Pubkey, slot: int) -> None:
        """Return once the service's books hold the owner's vault as of this slot."""
        while True:
            state = await self.get(f"/api/vault/balance/{owner}")
            if state["slot"] >= slot:
                return
            await trio.sleep(POLL_SECONDS)

    # --- HTTP -----------------------------------------------------------------------------------

    async def get(self, path: str) -> Json:
        """The body of a successful GET."""
        return _success(await self.http.get(self.at.url + path))

    async def post(self, path: str, body: Json) -> Json:
        """The body of a successful POST."""
        return _success(await self.http.post(self.at.url + path, json=body))

    async def refused(self, path: str, body: Json, status: int, code: str) -> Json:
        """The problem that a POST is refused with, which must be this one."""
        reply = await self.http.post(self.at.url + path, json=body)
        problem: Json = reply.json()
        expect("status and code", (reply.status_code, problem.get("code")), (status, code))
        return problem

    async def metrics(self) -> dict[str, float]:
        """GET /metrics, by name and labels."""
        reply = await self.http.get(f"{self.at.url}/metrics")
        lines = (line.rpartition(" ") for line in reply.text.splitlines() if line[:1] != "#")
        return {name: float(value) for name, _, value in lines}

    # --- WebSocket ------------------------------------------------------------------------------

    @asynccontextmanager
    async def websocket(self) -> AsyncIterator[trio_websocket.WebSocketConnection]:
        """An open WebSocket that has been greeted."""
        url = self.at.url.replace("http", "ws", 1) + "/ws"
        async with trio_websocket.open_websocket_url(url) as socket:
            expect("greeting", json.loads(await socket.get_message())["type"], "connected")
            yield socket

    async def subscribe(
        self, socket: trio_websocket.WebSocketConnection, topic: str, owner: Pubkey
    ) -> Json:
        """Subscribe to a topic of one owner, from the last event seen."""
        request: Json = {"op": "subscribe", "topic": topic, "owner": str(owner)}
        if topic in self.seen_seq:
            request["since"] = self.seen_seq[topic]
        await socket.send_message(json.dumps(request))
        while True:
            reply: Json = json.loads(await socket.get_message())
            if reply["type"] in {"subscribed", "error"}:
                expect("reply", reply["type"], "subscribed")
                return reply

    async def event(self, topic: str, owner: Pubkey, wanted: Callable[[Json], bool]) -> Json:
        """The next event of this topic and owner that is wanted, missed ones included."""
        async with self.websocket() as socket:
            await self.subscribe(socket, topic, owner)
            while True:
                message: Json = json.loads(await socket.get_message())
                if message["type"] != "event":
                    continue
                expect("owner", message["data"]["owner"], str(owner))
                self.seen_seq[topic] = message["seq"]
                if wanted(message["data"]):
                    return message

    # --- chain ----------------------------------------------------------------------------------

    async def rpc(self, method: str, *params: Any) -> Any:
        """The result of a JSON-RPC call."""
        request = {"jsonrpc": "2.0", "id": 1, "method": method, "params": params}
        reply: Json = (await self.http.post(self.at.rpc_url, json=request)).json()
        if "error" in reply:
            raise DemoFailed(f"{method} on the chain answers {reply['error']}")
        return reply["result"]

    async def send(self, *steps: Instruction, signers: Sequence[Keypair]) -> int:
        """Send a transaction straight to the chain; the first signer pays. The slot it is in."""
        latest = await self.rpc("getLatestBlockhash", {"commitment": "confirmed"})
        blockhash = Hash.from_string(latest["value"]["blockhash"])
        payer = signers[0].pubkey()
        message = MessageV0.try_compile(payer, list(steps), [], blockhash)
        wire = base64.b64encode(bytes(VersionedTransaction(message, list(signers)))).decode()
        how = {"encoding": "base64", "preflightCommitment": "confirmed"}
        return await self.landed(await self.rpc("sendTransaction", wire, how))

    async def landed(self, signature: str) -> int:
        """The transaction's slot, once the chain itself calls it confirmed."""
        while True:
            statuses = await self.rpc("getSignatureStatuses", [signature])
            status = statuses["value"][0]
            if status and status["confirmationStatus"] in {"confirmed", "finalized"}:
                expect(f"error of {signature}", status["err"], None)
                return int(status["slot"])
            await trio.sleep(POLL_SECONDS)

    async def travel(self, seconds: int) -> None:
        """Move the chain's clock forward; only a local chain can."""
        slot = await self.rpc("getSlot", {"commitment": "processed"})
        now = await self.rpc("getBlockTime", slot)
        await self.rpc("surfnet_timeTravel", {"absoluteTimestamp": (now + seconds) * 1000})

    async def vault(self, owner: Pubkey) -> Vault:
        """The owner's vault, read from the chain itself."""
        address = str(vault_address(self.at.programs, owner))
        how = {"encoding": "base64", "commitment": "confirmed"}
        found = await self.rpc("getAccountInfo", address, how)
        return decode_vault(base64.b64decode(found["value"]["data"][0]))

    async def token_amount(self, owner: str) -> int:
        """USDT in an address's associated token account."""
        account = token_account(Pubkey.from_string(owner), self.at.programs.mint)
        found = await self.rpc("getTokenAccountBalance", str(account), {"commitment": "confirmed"})
        return int(found["value"]["amount"])

    async def chain_total(self) -> int:
        """The sum of every vault's balance, read from the chain itself."""
        discriminator = base64.b64encode(VAULT_DISCRIMINATOR).decode()
        vault = {"memcmp": {"offset": 0, "bytes": discriminator, "encoding": "base64"}}
        accounts = await self.rpc(
            "getProgramAccounts",
            str(self.at.programs.vault),
            {"encoding": "base64", "commitment": "confirmed", "filters": [vault]},
        )
        vaults = (decode_vault(base64.b64decode(each["account"]["data"][0])) for each in accounts)
        return sum(each.total_balance for each in vaults)


def cosigned(wallet: Keypair, wire: bytes) -> bytes:
    """The transaction with this wallet's signature in its place."""
    transaction = VersionedTransaction.from_bytes(wire)
    message = transaction.message
    signatures: list[Signature] = list(transaction.signatures)
    place = list(message.account_keys).index(wallet.pubkey())
    signatures[place] = wallet.sign_message(to_bytes_versioned(message))
    return bytes(VersionedTransaction.populate(message, signatures))


def expect(what: str, seen: object, expected: object) -> None:
    """Raises DemoFailed unless both are equal."""
    if seen != expected:
        raise DemoFailed(f"{what}: {seen!r} instead of {expected!r}")


def _success(reply: httpx.Response) -> Json:
    if reply.status_code >= 300:
        raise DemoFailed(f"{reply.request.url.path} answers {reply.status_code}: {reply.text}")
    body: Json = reply.json()
    return body
