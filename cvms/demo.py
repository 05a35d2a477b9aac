"""`cvms demo`: one deposit and one withdrawal, as a stranger's client would do them.

Speaks HTTP, WebSocket and Solana RPC only, and knows nothing of the service but its public
interface. Each step stands alone: a connection that broke between two steps is opened again.
"""

from __future__ import annotations

import base64
import json
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import httpx
import trio
import trio_websocket
from solders.keypair import Keypair
from solders.message import to_bytes_versioned
from solders.pubkey import Pubkey
from solders.signature import Signature
from solders.transaction import VersionedTransaction

USDT = 1_000_000
TOPICS = ("deposit_event", "withdraw_event", "vault_balance_update")
# A vault account is its discriminator, then owner, token account and mint, then the total balance.
VAULT_DISCRIMINATOR = bytes([19, 189, 95, 155, 100, 9, 159, 145])
TOTAL_BALANCE_OFFSET = 8 + 3 * 32
STEP_DEADLINE = 60.0
POLL_SECONDS = 0.2

Json = dict[str, Any]


class DemoFailed(Exception):
    """What was seen is not what should be; the message says both."""


@dataclass(frozen=True, slots=True)
class Addresses:
    """Where the service and the chain are, and which programs they speak of."""

    url: str
    rpc_url: str
    program: Pubkey
    mint: Pubkey


@dataclass(slots=True)
class Demo:
    """The state that one run carries from step to step."""

    at: Addresses
    http: httpx.AsyncClient
    say: Callable[[str], None] = print
    alice: Keypair = field(default_factory=Keypair)
    bob: Keypair = field(default_factory=Keypair)
    seen_seq: dict[str, int] = field(default_factory=dict)
    operator: str = ""
    deposits_before: float = 0.0
    withdrawals_before: float = 0.0
    withdrawal: Json = field(default_factory=dict)

    # --- the steps, in order -------------------------------------------------------------------

    async def fund_wallets(self) -> None:
        """Two new wallets get SOL and 5,000 USDT each."""
        for wallet in (self.alice, self.bob):
            signature = await self._rpc("requestAirdrop", str(wallet.pubkey()), 2_000_000_000)
            await self._landed(signature)
            await self._rpc(
                "surfnet_setTokenAccount",
                str(wallet.pubkey()),
                str(self.at.mint),
                {"amount": 5_000 * USDT},
            )
            self.say(f"  {wallet.pubkey()} has 2 SOL and 5,000 USDT")
        metrics = await self._metrics()
        self.deposits_before = metrics["vault_deposits_total"]
        self.withdrawals_before = metrics["vault_withdrawals_total"]

    async def initialize_vaults(self) -> None:
        """Each wallet co-signs the creation of its vault; the service pays the fee and submits."""
        for wallet in (self.alice, self.bob):
            body = {"user_pubkey": str(wallet.pubkey())}
            reply = await self._post("/api/vault/initialize", body)
            signature = await self._cosign(wallet, reply)
            self.say(f"  vault of {wallet.pubkey()} is open: {signature}")

    async def subscribe(self) -> None:
        """A browser would stay connected; the demo notes each topic's place and comes back."""
        async with self._websocket() as socket:
            for topic in TOPICS:
                reply = await self._subscribe(socket, topic)
                self.seen_seq[topic] = reply["seq"]
                self.say(f"  {topic} for {self.alice.pubkey()}, from seq {reply['seq']}")

    async def deposit(self) -> None:
        """Each wallet signs a deposit of 1,000 USDT, then the transaction that makes it."""
        for wallet in (self.alice, self.bob):
            signed = await self._signed(wallet, "deposit:{owner}:{amount}:{nonce}", 1_000 * USDT)
            signature = await self._cosign(wallet, await self._post("/api/vault/deposit", signed))
            self.say(f"  1,000 USDT of {wallet.pubkey()} deposited: {signature}")

    async def see_deposit(self) -> None:
        """The WebSocket delivers the deposit and the new balance; balance and history show it."""
        event = await self._event("deposit_event", lambda data: data["amount"] == 1_000 * USDT)
        self.say(f"  deposit_event: {json.dumps(event['data'])}")
        update = await self._event(
            "vault_balance_update", lambda data: data["balance"] == 1_000 * USDT
        )
        self.say(f"  vault_balance_update: {json.dumps(update['data'])}")
        await self._expect_books(balance=1_000 * USDT, history=[("deposit", 1_000 * USDT)])

    async def add_delegate(self) -> None:
        """The owner lets the operator submit withdrawals, which can only reach the owner."""
        self.operator = await self._operator()
        owner = str(self.alice.pubkey())
        nonce = await self._nonce(self.alice)
        text = f"delegate_add:{owner}:{self.operator}:{nonce}"
        body = {"owner": owner, "delegate": self.operator, "nonce": nonce}
        reply = await self._post("/api/vault/delegate/add", body | _signature(self.alice, text))
        self.say(f"  {self.operator} is a delegate: {await self._cosign(self.alice, reply)}")

    async def withdraw(self) -> None:
        """One signed message withdraws 400 USDT: the service submits, the wallet signs no more."""
        signed = await self._signed(self.alice, "withdraw:{owner}:{amount}:{nonce}", 400 * USDT)
        reply = await self._post("/api/vault/withdraw", signed)
        _expect("mode", reply["mode"], "submitted")
        self.withdrawal = signed | {"transaction_signature": reply["signature"]}
        self.say(f"  submitted by the service: {reply['signature']}")

    async def see_withdrawal(self) -> None:
        """Events, balance, history and metrics agree with the chain to the unit."""
        await self._settled(self.withdrawal["transaction_signature"])
        event = await self._event("withdraw_event", lambda data: data["amount"] == 400 * USDT)
        self.say(f"  withdraw_event: {json.dumps(event['data'])}")
        await self._event("vault_balance_update", lambda data: data["balance"] == 600 * USDT)
        await self._expect_books(
            balance=600 * USDT, history=[("withdraw", 400 * USDT), ("deposit", 1_000 * USDT)]
        )
        wallet = await self._token_amount(str(self.alice.pubkey()))
        _expect("USDT in the wallet", wallet, 4_400 * USDT)
        metrics = await self._metrics()
        _expect("vault_deposits_total", metrics["vault_deposits_total"] - self.deposits_before, 2)
        withdrawals = metrics["vault_withdrawals_total"] - self.withdrawals_before
        _expect("vault_withdrawals_total", withdrawals, 1)
        locked = await self._chain_total()
        _expect("total_value_locked", metrics["total_value_locked"], locked)
        self.say(f"  total_value_locked {locked / USDT:,.6f} USDT, as on the chain")

    async def refusals(self) -> None:
        """A replayed nonce, a wrong signature, an overdraft, an unknown owner: clear problems."""
        replayed = {k: v for k, v in self.withdrawal.items() if k != "transaction_signature"}
        await self._refused("/api/vault/withdraw", replayed, 409, "nonce_used")

        text = "withdraw:{owner}:{amount}:{nonce}"
        forged = await self._signed(self.alice, text, 1 * USDT, signer=self.bob)
        await self._refused("/api/vault/withdraw", forged, 401, "invalid_signature")

        overdraft = await self._signed(self.alice, text, 601 * USDT)
        problem = await self._refused("/api/vault/withdraw", overdraft, 422, "program_error")
        _expect("program_error", problem["program_error"]["name"], "InsufficientFunds")

        unknown = await self._signed(Keypair(), text, 1 * USDT)
        await self._refused("/api/vault/withdraw", unknown, 404, "vault_not_found")
        await self._expect_books(
            balance=600 * USDT, history=[("withdraw", 400 * USDT), ("deposit", 1_000 * USDT)]
        )

    # --- what the steps are made of -------------------------------------------------------------

    async def _signed(
        self, owner: Keypair, text: str, amount: int, *, signer: Keypair | None = None
    ) -> Json:
        """A request body with a fresh nonce and the wallet's signature of its text."""
        nonce = await self._nonce(owner)
        fields = {"owner": str(owner.pubkey()), "amount": amount, "nonce": nonce}
        return fields | _signature(signer or owner, text.format(**fields))

    async def _nonce(self, owner: Keypair) -> str:
        reply = await self._post("/api/auth/nonce", {"owner": str(owner.pubkey())})
        return str(reply["nonce"])

    async def _cosign(self, wallet: Keypair, reply: Json) -> str:
        """Sign the transaction the service built, hand it back, wait until it is confirmed."""
        _expect("mode", reply["mode"], "cosign")
        wire = cosigned(wallet, base64.b64decode(reply["transaction"]))
        body = {"transaction": base64.b64encode(wire).decode()}
        signature = str((await self._post("/api/transactions", body))["signature"])
        await self._settled(signature)
        return signature

    async def _settled(self, signature: str) -> None:
        while True:
            state = await self._get(f"/api/transactions/{signature}")
            if state["status"] in {"confirmed", "finalized"}:
                return
            if state["status"] in {"failed", "expired"}:
                raise DemoFailed(f"transaction {signature} is {state}")
            await trio.sleep(POLL_SECONDS)

    async def _landed(self, signature: str) -> None:
        while True:
            statuses = await self._rpc("getSignatureStatuses", [signature])
            status = statuses["value"][0]
            if status and status["confirmationStatus"] in {"confirmed", "finalized"}:
                return
            await trio.sleep(POLL_SECONDS)

    async def _operator(self) -> str:
        """The service's key is the fee payer of what it sponsors."""
        signed = await self._signed(self.alice, "deposit:{owner}:{amount}:{nonce}", 1 * USDT)
        reply = await self._post("/api/vault/deposit", signed)
        wire = base64.b64decode(reply["transaction"])
        return str(VersionedTransaction.from_bytes(wire).message.account_keys[0])

    async def _expect_books(self, *, balance: int, history: list[tuple[str, int]]) -> None:
        """Balance and history of Alice, and her vault's tokens on the chain, are these."""
        owner = str(self.alice.pubkey())
        state = await self._get(f"/api/vault/balance/{owner}")
        _expect("balance", state["balance"], balance)
        _expect("available", state["available"], balance)
        _expect("tokens of the vault", await self._token_amount(state["vault"]), balance)
        rows = (await self._get(f"/api/vault/transactions/{owner}"))["transactions"]
        _expect("history", [(row["kind"], row["amount"]) for row in rows], history)
        self.say(f"  balance {balance / USDT:,.6f} USDT at slot {state['slot']}, as on the chain")

    async def _token_amount(self, owner: str) -> int:
        accounts = await self._rpc(
            "getTokenAccountsByOwner",
            owner,
            {"mint": str(self.at.mint)},
            {"encoding": "jsonParsed", "commitment": "confirmed"},
        )
        (account,) = accounts["value"]
        return int(account["account"]["data"]["parsed"]["info"]["tokenAmount"]["amount"])

    async def _chain_total(self) -> int:
        """The sum of every vault's balance, read from the chain itself."""
        discriminator = base64.b64encode(VAULT_DISCRIMINATOR).decode()
        vault = {"memcmp": {"offset": 0, "bytes": discriminator, "encoding": "base64"}}
        accounts = await self._rpc(
            "getProgramAccounts",
            str(self.at.program),
            {
                "encoding": "base64",
                "commitment": "confirmed",
                "filters": [vault],
                "dataSlice": {"offset": TOTAL_BALANCE_OFFSET, "length": 8},
            },
        )
        balances = (base64.b64decode(each["account"]["data"][0]) for each in accounts)
        return sum(int.from_bytes(balance, "little") for balance in balances)

    async def _metrics(self) -> dict[str, float]:
        reply = await self.http.get(f"{self.at.url}/metrics")
        lines = (line.rpartition(" ") for line in reply.text.splitlines() if line[:1] != "#")
        return {name: float(value) for name, _, value in lines}

    # --- WebSocket -----------------------------------------------------------------------------

    @asynccontextmanager
    async def _websocket(self) -> AsyncIterator[trio_websocket.WebSocketConnection]:
        url = self.at.url.replace("http", "ws", 1) + "/ws"
        async with trio_websocket.open_websocket_url(url) as socket:
            _expect("greeting", json.loads(await socket.get_message())["type"], "connected")
            yield socket

    async def _subscribe(self, socket: trio_websocket.WebSocketConnection, topic: str) -> Json:
        request: Json = {"op": "subscribe", "topic": topic, "owner": str(self.alice.pubkey())}
        if topic in self.seen_seq:
            request["since"] = self.seen_seq[topic]
        await socket.send_message(json.dumps(request))
        while True:
            reply: Json = json.loads(await socket.get_message())
            if reply["type"] in {"subscribed", "error"}:
                _expect("reply", reply["type"], "subscribed")
                return reply

    async def _event(self, topic: str, wanted: Callable[[Json], bool]) -> Json:
        """The next event of this topic that is wanted, missed ones included."""
        async with self._websocket() as socket:
            await self._subscribe(socket, topic)
            while True:
                message: Json = json.loads(await socket.get_message())
                if message["type"] != "event":
                    continue
                _expect("owner", message["data"]["owner"], str(self.alice.pubkey()))
                if wanted(message["data"]):
                    self.seen_seq[topic] = message["seq"]
                    return message

    # --- HTTP and RPC --------------------------------------------------------------------------

    async def _get(self, path: str) -> Json:
        return _success(await self.http.get(self.at.url + path))

    async def _post(self, path: str, body: Json) -> Json:
        return _success(await self.http.post(self.at.url + path, json=body))

    async def _refused(self, path: str, body: Json, status: int, code: str) -> Json:
        reply = await self.http.post(self.at.url + path, json=body)
        problem: Json = reply.json()
        _expect("status and code", (reply.status_code, problem.get("code")), (status, code))
        self.say(f"  {status} {code}: {problem['detail']}")
        return problem

    async def _rpc(self, method: str, *params: Any) -> Any:
        request = {"jsonrpc": "2.0", "id": 1, "method": method, "params": params}
        reply: Json = (await self.http.post(self.at.rpc_url, json=request)).json()
        if "error" in reply:
            raise DemoFailed(f"{method} on the chain answers {reply['error']}")
        return reply["result"]


STEPS: tuple[Callable[[Demo], Awaitable[None]], ...] = (
    Demo.fund_wallets,
    Demo.initialize_vaults,
    Demo.subscribe,
    Demo.deposit,
    Demo.see_deposit,
    Demo.add_delegate,
    Demo.withdraw,
    Demo.see_withdrawal,
    Demo.refusals,
)


async def run_demo(
    at: Addresses,
    *,
    between: Callable[[], Awaitable[None]] | None = None,
    say: Callable[[str], None] = print,
) -> None:
    """Run every step, printing each; `between` is awaited after each one.

    Raises DemoFailed, naming what was seen and what was expected.
    """
    async with httpx.AsyncClient(timeout=10.0) as http:
        demo = Demo(at=at, http=http, say=say)
        for number, step in enumerate(STEPS, 1):
            say(f"{number}. {step.__doc__}")
            with trio.fail_after(STEP_DEADLINE):
                await step(demo)
            if between is not None:
                await between()
        say("Everything is as it should be.")


def demo_command(at: Addresses) -> int:
    """Run the demo and say in one line what failed, if anything did."""
    try:
        trio.run(run_demo, at)
    except DemoFailed as failure:
        print(f"cvms demo: {failure}", file=sys.stderr)
    except (httpx.TransportError, trio_websocket.HandshakeError) as error:
        print(f"cvms demo: {at.url} or {at.rpc_url} does not answer ({error}).", file=sys.stderr)
        print("Start them with `make dev`, or name them with --url and --rpc-url.", file=sys.stderr)
    except trio.TooSlowError:
        print(f"cvms demo: a step took longer than {STEP_DEADLINE:.0f} s.", file=sys.stderr)
    else:
        return 0
    return 1


def cosigned(wallet: Keypair, wire: bytes) -> bytes:
    """The transaction with this wallet's signature in its place."""
    transaction = VersionedTransaction.from_bytes(wire)
    message = transaction.message
    signatures: list[Signature] = list(transaction.signatures)
    place = list(message.account_keys).index(wallet.pubkey())
    signatures[place] = wallet.sign_message(to_bytes_versioned(message))
    return bytes(VersionedTransaction.populate(message, signatures))


def _signature(signer: Keypair, text: str) -> Json:
    return {"signature": str(signer.sign_message(text.encode()))}


def _success(reply: httpx.Response) -> Json:
    if reply.status_code >= 300:
        raise DemoFailed(f"{reply.request.url.path} answers {reply.status_code}: {reply.text}")
    body: Json = reply.json()
    return body


def _expect(what: str, seen: object, expected: object) -> None:
    if seen != expected:
        raise DemoFailed(f"{what}: {seen!r} instead of {expected!r}")
