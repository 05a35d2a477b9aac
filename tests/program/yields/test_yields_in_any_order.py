"""After any sequence of yield moves, with and without calls, no token is lost or created."""

from dataclasses import dataclass, field
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from solders.instruction import Instruction
from solders.keypair import Keypair

from tests.program.harness.instructions import build
from tests.program.harness.ledger import (
    START,
    VAULT_IDL,
    YIELD_IDL,
    Ledger,
    deposit,
    vault_address,
    withdraw,
)
from tests.program.harness.pools import PER_TOKEN_UNIT
from tests.program.harness.venues import YEAR, Venue, move, open_venue

Step = tuple[str, int, int]

SUPPLY = 1_000
RESERVE = 300
RATE_BPS = 10_000
# Only these errors of the pool come up that the vault program does not have.
CODES = {
    entry["name"]: code for idl in (YIELD_IDL, VAULT_IDL) for code, entry in idl.errors.items()
}

KINDS = (
    "deposit",
    "withdraw",
    "timelock",
    "lend",
    "lend without call",
    "return",
    "return without call",
    "compound",
    "compound without call",
)
MORE = st.sampled_from((0, 0, 0, 1))
steps = st.one_of(
    # A percentage of what is there, and sometimes one unit more.
    st.tuples(st.sampled_from(KINDS), st.sampled_from((60, 25, 100, 0)), MORE),
    st.tuples(st.just("wait"), st.integers(1, 100), st.just(0)),
)

START_WITH: list[Step] = [("deposit", 80, 0), ("lend", 50, 0), ("lend without call", 25, 0)]


@dataclass(slots=True)
class Model:
    """An independent model. Every method returns the expected error, or None."""

    wallet: int = SUPPLY
    available: int = 0
    timelocked: int = 0
    kept: int = 0
    lent: int = 0
    earned: int = 0  # compounded interest, which stays in the total
    owed: int = 0  # by the pool, in fractions of a unit
    reserve: int = RESERVE
    now: int = field(default=START)

    @property
    def total(self) -> int:
        return SUPPLY - self.wallet + self.earned

    def pot(self, step: str) -> int:
        """Return the balance that a step takes from."""
        return {
            "deposit": self.wallet,
            "return": self.lent,
            "return without call": self.kept,
            "compound": self.owed // PER_TOKEN_UNIT,
            "compound without call": 1,
            "wait": YEAR,
        }.get(step, self.available)

    def deposit(self, amount: int) -> str | None:
        if amount == 0:
            return "InvalidAmount"
        if amount > self.wallet:
            return "token program: insufficient funds"
        self.wallet -= amount
        self.available += amount
        return None

    def withdraw(self, amount: int) -> str | None:
        return self._take(amount, "wallet")

    def timelock(self, amount: int) -> str | None:
        return self._take(amount, "timelocked")

    def lend(self, amount: int) -> str | None:
        return self._take(amount, "lent")

    def lend_without_call(self, amount: int) -> str | None:
        return self._take(amount, "kept")

    def _take(self, amount: int, to: str) -> str | None:
        if amount == 0:
            return "InvalidAmount"
        if amount > self.available:
            return "InsufficientFunds"
        self.available -= amount
        setattr(self, to, getattr(self, to) + amount)
        return None

    def return_(self, amount: int) -> str | None:
        return self._give_back(amount, "lent", "InsufficientYieldBalance")

    def return_without_call(self, amount: int) -> str | None:
        return self._give_back(amount, "kept", "InvariantViolation")

    def _give_back(self, amount: int, origin: str, error: str) -> str | None:
        if amount == 0:
            return "InvalidAmount"
        if amount > self.lent + self.kept:
            return "InsufficientYieldBalance"
        if amount > getattr(self, origin):
            return error
        setattr(self, origin, getattr(self, origin) - amount)
        self.available += amount
        return None

    def compound(self, amount: int) -> str | None:
        if amount == 0:
            return "InvalidAmount"
        if amount * PER_TOKEN_UNIT > self.owed:
            return "InsufficientInterest"
        if amount > self.reserve:
            return "InsufficientReserve"
        self.owed -= amount * PER_TOKEN_UNIT
        self.reserve -= amount
        self.earned += amount
        self.lent += amount
        return None

    def compound_without_call(self, amount: int) -> str | None:
        return "InsufficientYieldBalance" if amount else "InvalidAmount"

    def wait(self, seconds: int) -> None:
        self.now += seconds
        self.owed += self.lent * RATE_BPS * seconds

    def expected(self) -> dict[str, Any]:
        return {
            "total_balance": self.total,
            "available_balance": self.available,
            "locked_balance": 0,
            "yield_deposited_balance": self.lent + self.kept,
            "yield_accrued_balance": 0,
            "yield_kept": self.kept,
        }


def order(step: str, amount: int, owner: Keypair, venue: Venue) -> Instruction:
    key = owner.pubkey()
    names = {"lend": "yield_deposit", "return": "yield_withdraw", "compound": "compound_yield"}
    match step.split(" without "):
        case ["deposit"]:
            return deposit(key, amount)
        case ["withdraw"]:
            return withdraw(key, amount)
        case ["timelock"]:
            return build("schedule_timelock", key, amount=amount, duration_seconds=1_000 * YEAR)
        case [verb, "call"]:
            return move(names[verb], key, amount, program=venue.program)
        case [verb]:
            return venue.move(names[verb], key, amount)
    raise AssertionError(step)


def apply(ledger: Ledger, owner: Keypair, venue: Venue, model: Model, step: Step) -> None:
    kind, percent, more = step
    amount = model.pot(kind) * percent // 100 + more
    if kind == "wait":
        model.wait(amount)
        ledger.set_time(model.now)
        return
    due = getattr(model, {"return": "return_"}.get(kind, kind.replace(" ", "_")))(amount)
    outcome = ledger.send(order(kind, amount, owner, venue), owner)
    code = 1 if due == "token program: insufficient funds" else due and CODES[due]
    assert outcome.error == code, (step, amount, due, outcome)


@settings(max_examples=40, deadline=None)
@given(st.lists(steps, min_size=10, max_size=50))
def test_balances_and_tokens_equal_an_independent_model(todo: list[Step]) -> None:
    ledger, model = Ledger(), Model()
    governance, owner = ledger.wallet(), ledger.owner(usdt=SUPPLY)
    ledger.initialize_authority(governance)
    venue = open_venue(ledger, governance, rate_bps=RATE_BPS)
    venue.fund(RESERVE)
    venue.enter(owner)
    for step in [*START_WITH, *todo]:
        apply(ledger, owner, venue, model, step)
        state = ledger.vault(owner.pubkey())
        expected = model.expected()
        assert {name: state[name] for name in expected} == expected
        working = state["yield_deposited_balance"]
        timelocked = sum(entry["amount"] for entry in state["timelocks"])
        assert state["total_balance"] == state["available_balance"] + timelocked + working
        tokens = ledger.tokens(vault_address(owner.pubkey()))
        assert tokens >= state["total_balance"] - working
        assert tokens == model.available + model.timelocked + model.kept
        assert (ledger.tokens(venue.pool), ledger.tokens_at(venue.reserve)) == (
            model.lent,
            model.reserve,
        )
        assert ledger.tokens(owner.pubkey()) == model.wallet
