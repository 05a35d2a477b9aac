"""Context of the demo's steps: two wallets, their clients, and checks of what is seen."""

from __future__ import annotations

import base64
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import httpx
import trio
from solders.instruction import Instruction
from solders.keypair import Keypair
from solders.pubkey import Pubkey
from solders.transaction import VersionedTransaction

from cvms.chain.types import Programs
from cvms.client import (
    Balance,
    Client,
    Event,
    Problem,
    Snapshot,
    Stream,
    Submitted,
    Topic,
    Wallet,
    open_client,
)
from cvms.demo.chain_client import POLL_SECONDS, Addresses, ChainClient, DemoFailed, expect

USDT = 1_000_000
TOPICS = (
    "deposit_event",
    "withdraw_event",
    "lock_event",
    "unlock_event",
    "timelock_event",
    "yield_event",
    "vault_balance_update",
)


@dataclass(slots=True)
class DemoContext:
    """Two wallets, Alice's and Bob's, and what a step leaves for a later one.

    `pending_events` are Alice's events that no step has expected yet.
    """

    chain: ChainClient
    alice: Keypair
    bob: Keypair
    alice_client: Client
    bob_client: Client
    events: Stream
    say: Callable[[str], None] = print
    pending_events: list[Event] = field(default_factory=list)
    metrics_before: dict[str, float] = field(default_factory=dict)
    withdrawal: str = ""

    @property
    def programs(self) -> Programs:
        return self.chain.at.programs

    async def operator(self) -> Pubkey:
        """Return the service's key, which pays the fee of a deposit."""
        built = await self.alice_client.deposit(USDT)
        wire = base64.b64decode(built.transaction)
        return VersionedTransaction.from_bytes(wire).message.account_keys[0]

    async def send_as_alice(self, *steps: Instruction, signers: tuple[Keypair, ...] = ()) -> None:
        """Send a transaction of Alice's to the chain, and wait until the service has indexed it."""
        await self.indexed(await self.chain.send(*steps, signers=(self.alice, *signers)))

    async def indexed(self, slot: int) -> None:
        """Wait until the service has indexed Alice's vault up to this slot."""
        while (await self.alice_client.balance()).slot < slot:  # noqa: ASYNC110
            await trio.sleep(POLL_SECONDS)

    async def submitted(self, amount: int) -> str:
        """Withdraw for Alice, and return the signature of the service's transaction."""
        outcome = await self.alice_client.withdraw(amount)
        if not isinstance(outcome, Submitted):
            raise DemoFailed(f"the withdrawal was not submitted by the service: {outcome}")
        return outcome.signature

    async def withdraw(self, amount: int) -> None:
        """Withdraw for Alice, and wait until the withdrawal is confirmed and indexed."""
        signature = await self.submitted(amount)
        await self.alice_client.settled(signature)
        await self.indexed(await self.chain.landed(signature))
        self.say(f"  withdrew {amount / USDT:,.6f} USDT: {signature}")

    async def refused(self, request: Awaitable[object], status: int, code: str) -> Problem:
        """Check that a request is refused with this problem, and print it."""
        try:
            reply = await request
        except Problem as problem:
            expect("status and code", (problem.status, problem.code), (status, code))
            self.say(f"  {status} {code}: {problem.detail}")
            return problem
        raise DemoFailed(f"{reply} instead of {status} {code}")

    async def refused_by_program(self, amount: int, name: str) -> None:
        """Check that the simulation of Alice's withdrawal fails with this program error."""
        problem = await self.refused(self.alice_client.withdraw(amount), 422, "program_error")
        expect("program_error", problem.program_error, name)

    async def see_snapshots(self) -> None:
        """Check that the stream begins with a snapshot of each topic."""
        for _ in TOPICS:
            while not isinstance(message := await anext(self.events), Snapshot):
                self.pending_events.append(message)
            self.say(f"  {message.topic} after seq {message.seq}")

    async def see_event(self, topic: str, name: str, value: object) -> None:
        """Wait for an event of Alice's in which field `name` has this value."""
        while not (event := self._find_pending(topic, name, value)):
            message = await anext(self.events)
            if isinstance(message, Event):
                expect("owner", message.data["owner"], self.alice_client.address)
                self.pending_events.append(message)
        self.pending_events.remove(event)
        self.say(f"  {topic} {event.seq}: {json.dumps(event.data)}")

    def _find_pending(self, topic: str, name: str, value: object) -> Event | None:
        events = (event for event in self.pending_events if event.topic == topic)
        return next((event for event in events if event.data[name] == value), None)

    async def expect_balances(
        self, *, available: int, locked: int = 0, timelocked: int = 0, earning: int = 0
    ) -> None:
        """Check Alice's balances in the service and on the chain, and her vault's tokens."""
        state = await self.alice_client.balance()
        vault = await self.chain.vault(self.alice.pubkey())
        total = available + locked + timelocked + earning
        for name, expected, in_service, on_chain in (
            ("balance", total, state.balance, vault.total_balance),
            ("available", available, state.available, vault.available_balance),
            ("locked", locked, state.locked, vault.locked_balance),
            ("timelocked", timelocked, state.timelocked, vault.timelocked),
            ("yield_deposited", earning, state.yield_deposited, vault.yield_deposited_balance),
        ):
            expect(
                f"{name} in the service and on the chain", (in_service, on_chain), (expected,) * 2
            )
        tokens = await self.chain.token_amount(state.vault)
        expect("tokens of the vault", tokens, total - earning)
        self.say(f"  {_balances(state)} at slot {state.slot}, as on the chain")

    async def expect_history(self, *expected: tuple[str, int]) -> None:
        """Check the newest entries of Alice's history, newest first."""
        rows = await self.alice_client.movements(at_most=len(expected))
        expect("history", [(row.kind, row.amount) for row in rows], list(expected))

    async def metrics(self) -> dict[str, float]:
        """Return the samples of GET /metrics by name and labels."""
        reply = await self.chain.http.get(f"{self.chain.at.url}/metrics")
        lines = (line.rpartition(" ") for line in reply.text.splitlines() if line[:1] != "#")
        return {name: float(value) for name, _, value in lines}


DemoStep = Callable[[DemoContext], Awaitable[None]]


@asynccontextmanager
async def open_context(at: Addresses, say: Callable[[str], None]) -> AsyncIterator[DemoContext]:
    """Make two new wallets with a client each, and subscribe to Alice's events."""
    alice, bob = Keypair(), Keypair()
    topics = [Topic(name, owner=str(alice.pubkey())) for name in TOPICS]
    async with (
        httpx.AsyncClient(timeout=10.0) as http,
        open_client(at.url, wallet=Wallet(alice), http=http) as as_alice,
        open_client(at.url, wallet=Wallet(bob), http=http) as as_bob,
        as_alice.stream(*topics) as events,
    ):
        yield DemoContext(
            chain=ChainClient(at, http),
            alice=alice,
            bob=bob,
            alice_client=as_alice,
            bob_client=as_bob,
            events=events,
            say=say,
        )


def _balances(state: Balance) -> str:
    parts = [
        f"{amount / USDT:,.6f} {word}"
        for amount, word in (
            (state.available, "available"),
            (state.locked, "locked"),
            (state.timelocked, "timelocked"),
            (state.yield_deposited, "earning"),
        )
        if amount
    ]
    return f"balance {state.balance / USDT:,.6f} USDT ({', '.join(parts) or 'empty'})"
