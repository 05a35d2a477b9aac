"""`cvms demo`: one deposit and one withdrawal, as a stranger's client would do them.

Speaks HTTP, WebSocket and Solana RPC only. Each step stands alone: a connection that broke
between two steps is opened again.
"""

from __future__ import annotations

import base64
import json
import sys
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

import httpx
import trio
import trio_websocket
from solders.keypair import Keypair
from solders.transaction import VersionedTransaction

from cvms.demo.client import Addresses, Client, DemoFailed, Json, expect

USDT = 1_000_000
TOPICS = ("deposit_event", "withdraw_event", "vault_balance_update")
DEPOSIT = "deposit:{owner}:{amount}:{nonce}"
WITHDRAW = "withdraw:{owner}:{amount}:{nonce}"
DELEGATE_ADD = "delegate_add:{owner}:{delegate}:{nonce}"
STEP_DEADLINE = 60.0


@dataclass(slots=True)
class Demo:
    """Two wallets, and what one run carries from step to step."""

    client: Client
    say: Callable[[str], None] = print
    alice: Keypair = field(default_factory=Keypair)
    bob: Keypair = field(default_factory=Keypair)
    before: dict[str, float] = field(default_factory=dict)
    withdrawal: Json = field(default_factory=dict)
    withdrawal_signature: str = ""

    async def fund_wallets(self) -> None:
        """Two new wallets get 2 SOL and 5,000 USDT each."""
        for wallet in (self.alice, self.bob):
            address = str(wallet.pubkey())
            signature = await self.client.rpc("requestAirdrop", address, 2_000_000_000)
            await self.client.landed(signature)
            mint, amount = str(self.client.at.mint), {"amount": 5_000 * USDT}
            await self.client.rpc("surfnet_setTokenAccount", address, mint, amount)
            self.say(f"  {address} has 2 SOL and 5,000 USDT")
        self.before = await self.client.metrics()

    async def initialize_vaults(self) -> None:
        """Each wallet co-signs the creation of its vault; the service pays the fee and submits."""
        for wallet in (self.alice, self.bob):
            body = {"user_pubkey": str(wallet.pubkey())}
            reply = await self.client.post("/api/vault/initialize", body)
            signature = await self.client.cosign(wallet, reply)
            self.say(f"  vault of {wallet.pubkey()} is open: {signature}")

    async def subscribe(self) -> None:
        """Alice subscribes to her events; from here she goes on, even after a lost connection."""
        async with self.client.websocket() as socket:
            for topic in TOPICS:
                reply = await self.client.subscribe(socket, topic, self.alice.pubkey())
                self.client.seen_seq[topic] = reply["seq"]
                self.say(f"  {topic} after seq {reply['seq']}")

    async def deposit(self) -> None:
        """Each wallet signs a deposit of 1,000 USDT, then the transaction that makes it."""
        for wallet in (self.alice, self.bob):
            body = await self.client.signed(wallet, DEPOSIT, amount=1_000 * USDT)
            reply = await self.client.post("/api/vault/deposit", body)
            signature = await self.client.cosign(wallet, reply)
            self.say(f"  1,000 USDT of {wallet.pubkey()}: {signature}")

    async def see_deposit(self) -> None:
        """The WebSocket delivers the deposit and the new balance; balance and history show it."""
        await self._see_event("deposit_event", "amount", 1_000 * USDT)
        await self._see_event("vault_balance_update", "balance", 1_000 * USDT)
        await self._expect_books(balance=1_000 * USDT, history=[("deposit", 1_000 * USDT)])

    async def add_delegate(self) -> None:
        """The owner lets the operator submit withdrawals, which can only reach the owner."""
        operator = await self._operator()
        body = await self.client.signed(self.alice, DELEGATE_ADD, delegate=operator)
        reply = await self.client.post("/api/vault/delegate/add", body)
        self.say(f"  {operator} is a delegate: {await self.client.cosign(self.alice, reply)}")

    async def withdraw(self) -> None:
        """One signed message withdraws 400 USDT: the service submits, the wallet signs no more."""
        self.withdrawal = await self.client.signed(self.alice, WITHDRAW, amount=400 * USDT)
        reply = await self.client.post("/api/vault/withdraw", self.withdrawal)
        expect("mode", reply["mode"], "submitted")
        self.withdrawal_signature = reply["signature"]
        self.say(f"  submitted by the service: {self.withdrawal_signature}")

    async def see_withdrawal(self) -> None:
        """Events, balance, history and metrics agree with the chain to the unit."""
        await self.client.settled(self.withdrawal_signature)
        await self._see_event("withdraw_event", "amount", 400 * USDT)
        await self._see_event("vault_balance_update", "balance", 600 * USDT)
        history = [("withdraw", 400 * USDT), ("deposit", 1_000 * USDT)]
        await self._expect_books(balance=600 * USDT, history=history)
        wallet = await self.client.token_amount(str(self.alice.pubkey()))
        expect("USDT in the wallet", wallet, 4_400 * USDT)
        await self._expect_metrics(deposits=2, withdrawals=1)

    async def refusals(self) -> None:
        """A replayed nonce, a wrong signature, an overdraft, an unknown owner: clear problems."""
        await self._refused(self.withdrawal, 409, "nonce_used")
        forged = await self.client.signed(self.alice, WITHDRAW, amount=USDT, signer=self.bob)
        await self._refused(forged, 401, "invalid_signature")
        overdraft = await self.client.signed(self.alice, WITHDRAW, amount=601 * USDT)
        problem = await self._refused(overdraft, 422, "program_error")
        expect("program_error", problem["program_error"]["name"], "InsufficientFunds")
        unknown = await self.client.signed(Keypair(), WITHDRAW, amount=USDT)
        await self._refused(unknown, 404, "vault_not_found")
        history = [("withdraw", 400 * USDT), ("deposit", 1_000 * USDT)]
        await self._expect_books(balance=600 * USDT, history=history)

    async def _operator(self) -> str:
        """The service's key: the fee payer of what it sponsors."""
        body = await self.client.signed(self.alice, DEPOSIT, amount=USDT)
        reply = await self.client.post("/api/vault/deposit", body)
        wire = base64.b64decode(reply["transaction"])
        return str(VersionedTransaction.from_bytes(wire).message.account_keys[0])

    async def _see_event(self, topic: str, name: str, value: int) -> None:
        event = await self.client.event(
            topic, self.alice.pubkey(), lambda data: bool(data[name] == value)
        )
        self.say(f"  {topic} {event['seq']}: {json.dumps(event['data'])}")

    async def _expect_books(self, *, balance: int, history: list[tuple[str, int]]) -> None:
        """Balance and history of Alice, and her vault's tokens on the chain, are these."""
        owner = str(self.alice.pubkey())
        state = await self.client.get(f"/api/vault/balance/{owner}")
        expect("balance", state["balance"], balance)
        expect("available", state["available"], balance)
        tokens = await self.client.token_amount(state["vault"])
        expect("tokens of the vault", tokens, balance)
        rows = (await self.client.get(f"/api/vault/transactions/{owner}"))["transactions"]
        expect("history", [(row["kind"], row["amount"]) for row in rows], history)
        self.say(f"  balance {balance / USDT:,.6f} USDT at slot {state['slot']}, as on the chain")

    async def _expect_metrics(self, *, deposits: int, withdrawals: int) -> None:
        metrics = await self.client.metrics()
        for name, grown in (
            ("vault_deposits_total", deposits),
            ("vault_withdrawals_total", withdrawals),
        ):
            expect(name, metrics[name] - self.before[name], grown)
        total = await self.client.chain_total()
        expect("total_value_locked", metrics["total_value_locked"], total)
        self.say(f"  total_value_locked {total / USDT:,.6f} USDT, as on the chain")

    async def _refused(self, body: Json, status: int, code: str) -> Json:
        problem = await self.client.refused("/api/vault/withdraw", body, status, code)
        self.say(f"  {status} {code}: {problem['detail']}")
        return problem


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
        demo = Demo(client=Client(at=at, http=http), say=say)
        for number, step in enumerate(STEPS, 1):
            say(f"{number}. {step.__doc__}")
            with trio.fail_after(STEP_DEADLINE):
                await step(demo)
            if between is not None:
                await between()
        say("Everything is as it should be.")


def demo_command(at: Addresses) -> int:
    """Run the demo and say in one line what failed, if anything did; returns the exit status."""
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
