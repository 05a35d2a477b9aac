"""What the steps of one run share: two wallets, and how a step looks at the service."""

from __future__ import annotations

import base64
import json
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

from solders.instruction import Instruction
from solders.keypair import Keypair
from solders.pubkey import Pubkey
from solders.transaction import VersionedTransaction

from cvms.chain.types import Programs
from cvms.demo.client import Client, Json, expect

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
DEPOSIT = "deposit:{owner}:{amount}:{nonce}"
WITHDRAW = "withdraw:{owner}:{amount}:{nonce}"


@dataclass(slots=True)
class Stage:
    """Alice, whom the demo follows, and Bob; and what one step leaves for a later one."""

    client: Client
    say: Callable[[str], None] = print
    alice: Keypair = field(default_factory=Keypair)
    bob: Keypair = field(default_factory=Keypair)
    before: dict[str, float] = field(default_factory=dict)
    withdrawal: Json = field(default_factory=dict)
    withdrawal_signature: str = ""

    @property
    def programs(self) -> Programs:
        return self.client.at.programs

    async def operator(self) -> Pubkey:
        """The service's key: the fee payer of what it sponsors."""
        body = await self.client.signed(self.alice, DEPOSIT, amount=USDT)
        reply = await self.client.post("/api/vault/deposit", body)
        wire = base64.b64decode(reply["transaction"])
        return VersionedTransaction.from_bytes(wire).message.account_keys[0]

    async def on_chain(self, *steps: Instruction, signers: tuple[Keypair, ...] = ()) -> None:
        """Alice sends these straight to the chain, and waits until the service has seen it."""
        slot = await self.client.send(*steps, signers=(self.alice, *signers))
        await self.client.indexed(self.alice.pubkey(), slot)

    async def withdraw(self, amount: int) -> None:
        """Alice withdraws through the service, and waits until it is confirmed and in the books."""
        body = await self.client.signed(self.alice, WITHDRAW, amount=amount)
        reply = await self.client.post("/api/vault/withdraw", body)
        expect("mode", reply["mode"], "submitted")
        await self.client.settled(reply["signature"])
        slot = await self.client.landed(reply["signature"])
        await self.client.indexed(self.alice.pubkey(), slot)
        self.say(f"  withdrew {amount / USDT:,.6f} USDT: {reply['signature']}")

    async def refused(self, body: Json, status: int, code: str) -> Json:
        """Show the problem that a withdrawal is answered with, which must be this one."""
        problem = await self.client.refused("/api/vault/withdraw", body, status, code)
        self.say(f"  {status} {code}: {problem['detail']}")
        return problem

    async def refused_by_program(self, amount: int, name: str) -> None:
        """The program refuses a withdrawal in simulation: nothing is submitted."""
        body = await self.client.signed(self.alice, WITHDRAW, amount=amount)
        problem = await self.refused(body, 422, "program_error")
        expect("program_error", problem["program_error"]["name"], name)

    async def see_event(self, topic: str, name: str, value: object) -> None:
        """The WebSocket delivers it to Alice."""
        event = await self.client.event(
            topic, self.alice.pubkey(), lambda data: bool(data[name] == value)
        )
        self.say(f"  {topic} {event['seq']}: {json.dumps(event['data'])}")

    async def expect_balances(
        self, *, available: int, locked: int = 0, timelocked: int = 0, earning: int = 0
    ) -> None:
        """Alice's balances are these, in the service and on the chain, and her tokens are there."""
        owner = self.alice.pubkey()
        state = await self.client.get(f"/api/vault/balance/{owner}")
        vault = await self.client.vault(owner)
        total = available + locked + timelocked + earning
        for name, expected, on_chain in (
            ("balance", total, vault.total_balance),
            ("available", available, vault.available_balance),
            ("locked", locked, vault.locked_balance),
            ("timelocked", timelocked, vault.timelocked),
            ("yield_deposited", earning, vault.yield_deposited_balance),
        ):
            expect(
                f"{name} in the service and on the chain", (state[name], on_chain), (expected,) * 2
            )
        tokens = await self.client.token_amount(state["vault"])
        expect("tokens of the vault", tokens, total - earning)
        self.say(f"  {_balances(state)} at slot {state['slot']}, as on the chain")

    async def expect_history(self, *expected: tuple[str, int]) -> None:
        """The newest lines of Alice's history, newest first."""
        path = f"/api/vault/transactions/{self.alice.pubkey()}?limit={len(expected)}"
        rows = (await self.client.get(path))["transactions"]
        expect("history", [(row["kind"], row["amount"]) for row in rows], list(expected))


Step = Callable[[Stage], Awaitable[None]]


def _balances(state: Json) -> str:
    parts = [
        f"{state[name] / USDT:,.6f} {word}"
        for name, word in (
            ("available", "available"),
            ("locked", "locked"),
            ("timelocked", "timelocked"),
            ("yield_deposited", "earning"),
        )
        if state[name]
    ]
    return f"balance {state['balance'] / USDT:,.6f} USDT ({', '.join(parts) or 'empty'})"
