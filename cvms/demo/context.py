"""What the steps of one run share: two wallets, and how a step looks at the service."""

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
    """Alice, whom the demo follows, and Bob; and what one step leaves for a later one.

    `heard` are Alice's events that no step has looked for yet.
    """

    chain: ChainClient
    alice: Keypair
    bob: Keypair
    alice_client: Client
    bob_client: Client
    events: Stream
    say: Callable[[str], None] = print
    pending_events: list[Event] = field(default_factory=list)
    before: dict[str, float] = field(default_factory=dict)
    withdrawal: str = ""

    @property
    def programs(self) -> Programs:
        return self.chain.at.programs

    async def operator(self) -> Pubkey:
        """The service's key: the fee payer of what it sponsors."""
        built = await self.alice_client.deposit(USDT)
        wire = base64.b64decode(built.transaction)
        return VersionedTransaction.from_bytes(wire).message.account_keys[0]

    async def send_as_alice(self, *steps: Instruction, signers: tuple[Keypair, ...] = ()) -> None:
        """Alice sends these straight to the chain, and waits until the service has seen it."""
        await self.indexed(await self.chain.send(*steps, signers=(self.alice, *signers)))

    async def indexed(self, slot: int) -> None:
        """Return once the service's books hold Alice's vault as of this slot."""
        while (await self.alice_client.balance()).slot < slot:  # noqa: ASYNC110
            await trio.sleep(POLL_SECONDS)

    async def submitted(self, amount: int) -> str:
        """Alice withdraws with one signed message; the signature of the service's transaction."""
        outcome = await self.alice_client.withdraw(amount)
        if not isinstance(outcome, Submitted):
            raise DemoFailed(f"a withdrawal is handed back to be signed: {outcome}")
        return outcome.signature

    async def withdraw(self, amount: int) -> None:
        """Alice withdraws through the service, and waits until it is confirmed and in the books."""
        signature = await self.submitted(amount)
        await self.alice_client.settled(signature)
        await self.indexed(await self.chain.landed(signature))
        self.say(f"  withdrew {amount / USDT:,.6f} USDT: {signature}")

    async def refused(self, asking: Awaitable[object], status: int, code: str) -> Problem:
        """Show the problem that a request is answered with, which must be this one."""
        try:
            answer = await asking
        except Problem as problem:
            expect("status and code", (problem.status, problem.code), (status, code))
            self.say(f"  {status} {code}: {problem.detail}")
            return problem
        raise DemoFailed(f"{answer} instead of {status} {code}")

    async def refused_by_program(self, amount: int, name: str) -> None:
        """The program refuses a withdrawal in simulation: nothing is submitted."""
        problem = await self.refused(self.alice_client.withdraw(amount), 422, "program_error")
        expect("program_error", problem.program_error, name)

    async def see_snapshots(self) -> None:
        """The stream begins with one for each topic."""
        for _ in TOPICS:
            while not isinstance(told := await anext(self.events), Snapshot):
                self.pending_events.append(told)
            self.say(f"  {told.topic} after seq {told.seq}")

    async def see_event(self, topic: str, name: str, value: object) -> None:
        """The stream delivers it to Alice, whatever has happened to its connection."""
        while not (found := self._heard(topic, name, value)):
            told = await anext(self.events)
            if isinstance(told, Event):
                expect("owner", told.data["owner"], self.alice_client.address)
                self.pending_events.append(told)
        self.pending_events.remove(found)
        self.say(f"  {topic} {found.seq}: {json.dumps(found.data)}")

    def _heard(self, topic: str, name: str, value: object) -> Event | None:
        wanted = (
            each for each in self.pending_events if each.topic == topic and each.data[name] == value
        )
        return next(wanted, None)

    async def expect_balances(
        self, *, available: int, locked: int = 0, timelocked: int = 0, earning: int = 0
    ) -> None:
        """Alice's balances are these, in the service and on the chain, and her tokens are there."""
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
        """The newest lines of Alice's history, newest first."""
        rows = await self.alice_client.movements(at_most=len(expected))
        expect("history", [(row.kind, row.amount) for row in rows], list(expected))

    async def metrics(self) -> dict[str, float]:
        """GET /metrics, by name and labels."""
        reply = await self.chain.http.get(f"{self.chain.at.url}/metrics")
        lines = (line.rpartition(" ") for line in reply.text.splitlines() if line[:1] != "#")
        return {name: float(value) for name, _, value in lines}


DemoStep = Callable[[DemoContext], Awaitable[None]]


@asynccontextmanager
async def open_context(at: Addresses, say: Callable[[str], None]) -> AsyncIterator[DemoContext]:
    """Two new wallets, a client for each, and Alice's events from now on."""
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
