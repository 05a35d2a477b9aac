"""After any sequence of steps, a vault equals an independent model, and no token is lost."""

from dataclasses import dataclass, field
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from solders.instruction import Instruction
from solders.pubkey import Pubkey

from tests.program.harness.instructions import build
from tests.program.harness.ledger import START, Ledger, vault_address

SUPPLY = 1_000

MOVEMENTS = {
    "deposit": "deposit",
    "withdraw": "withdraw",
    "rescue": "emergency_withdraw",
    "ask": "request_withdraw",
}
steps = st.one_of(
    st.tuples(st.sampled_from([*MOVEMENTS]), st.integers(0, SUPPLY + 1)),
    st.tuples(st.just("lock for"), st.integers(-1, 50)),
    st.tuples(st.sampled_from(["delay", "wait"]), st.integers(0, 50)),
    st.tuples(st.just("release"), st.just(0)),
)


@dataclass(slots=True)
class Model:
    """The expected state of a vault. Each step changes it and returns True, or is refused."""

    wallet: int = SUPPLY
    available: int = 0
    deposited: int = 0
    withdrawn: int = 0
    now: int = START
    seconds: int = 0
    timelocks: list[dict[str, int]] = field(default_factory=list)
    pending: list[dict[str, int]] = field(default_factory=list)

    def deposit(self, amount: int) -> bool:
        if not 0 < amount <= self.wallet:
            return False
        self.wallet -= amount
        self.available += amount
        self.deposited += amount
        return True

    def withdraw(self, amount: int) -> bool:
        if not 0 < amount <= min(self.available + self.due(), self.allowed(amount)):
            return False
        self.release()
        return self.rescue(amount)

    def asked(self) -> list[dict[str, int]]:
        return [each for each in self.pending if each["executable_at"] <= self.now]

    def allowed(self, amount: int) -> int:
        """Return what may leave, or `amount` if there is no delay."""
        return sum(each["amount"] for each in self.asked()) if self.seconds else amount

    def use(self, amount: int) -> None:
        for each in self.asked():
            used = min(amount, each["amount"])
            each["amount"] -= used
            amount -= used
        self.pending = [each for each in self.pending if each["amount"]]

    def rescue(self, amount: int) -> bool:
        if not 0 < amount <= min(self.available, self.allowed(amount)):
            return False
        if self.seconds:
            self.use(amount)
        self.available -= amount
        self.wallet += amount
        self.withdrawn += amount
        return True

    def ask(self, amount: int) -> bool:
        requested = sum(each["amount"] for each in self.pending)
        if not amount or not self.seconds or requested + amount > SUPPLY - self.wallet:
            return False
        times = {"requested_at": self.now, "executable_at": self.now + self.seconds}
        self.pending.append({"amount": amount} | times)
        return True

    def lock(self, amount: int, duration: int) -> bool:
        if not 0 < amount <= self.available or duration < 0:
            return False
        self.available -= amount
        self.timelocks.append({"amount": amount, "unlock_time": self.now + duration})
        return True

    def due(self) -> int:
        return sum(each["amount"] for each in self.timelocks if each["unlock_time"] <= self.now)

    def release(self) -> bool:
        self.available += self.due()
        self.timelocks = [each for each in self.timelocks if each["unlock_time"] > self.now]
        return True

    def expected(self) -> dict[str, Any]:
        return {
            "total_balance": SUPPLY - self.wallet,
            "available_balance": self.available,
            "locked_balance": 0,
            "total_deposited": self.deposited,
            "total_withdrawn": self.withdrawn,
            "timelocks": self.timelocks,
            "min_withdraw_delay_seconds": self.seconds,
            "pending_withdrawals": self.pending,
            "requested_total": sum(each["amount"] for each in self.pending),
        }


def take_step(model: Model, owner: Pubkey, step: str, number: int) -> tuple[bool, Instruction]:
    """Take the step in the model; return whether it succeeds, and the instruction for it."""
    match step:
        case "lock for":
            half = (model.available + 1) // 2
            lock = build("schedule_timelock", owner, amount=half, duration_seconds=number)
            return model.lock(half, number), lock
        case "delay":
            longer = number >= model.seconds
            model.seconds = max(model.seconds, number)
            return longer, build("set_withdraw_min_delay", owner, seconds=number)
        case "release":
            return model.release(), build("release_timelocks", owner)
    return getattr(model, step)(number), build(MOVEMENTS[step], owner, amount=number)


@settings(max_examples=60, deadline=None)
@given(st.lists(steps, max_size=30))
def test_a_vault_equals_an_independent_model(todo: list[tuple[str, int]]) -> None:
    ledger, model = Ledger(), Model()
    governance, owner = ledger.wallet(), ledger.owner(usdt=SUPPLY)
    ledger.initialize_authority(governance)
    for step, number in todo:
        if step == "wait":
            model.now += number
            ledger.set_time(model.now)
            continue
        succeeds, instruction = take_step(model, owner.pubkey(), step, number)
        outcome = ledger.send(instruction, owner)
        assert (outcome.error is None) == succeeds, outcome
        state, expected = ledger.vault(owner.pubkey()), model.expected()
        assert {name: state[name] for name in expected} == expected
        assert ledger.tokens(owner.pubkey()) == model.wallet
        assert ledger.tokens(vault_address(owner.pubkey())) == SUPPLY - model.wallet
