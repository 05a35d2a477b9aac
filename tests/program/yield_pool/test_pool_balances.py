"""After any sequence of steps, a pool equals an independent model and holds its deposits."""

from dataclasses import dataclass, field

from hypothesis import given, settings
from hypothesis import strategies as st
from solders.keypair import Keypair

from tests.program.harness.ledger import START, Ledger, Outcome
from tests.program.harness.pools import (
    PER_TOKEN_UNIT,
    Pools,
    claim,
    deposit,
    fund_reserve,
    refused,
    set_rate,
    with_yield_pool,
    withdraw,
)

WEALTH = 2**61
START_RATE, START_PRINCIPAL, START_RESERVE = 1_234, 10**12 + 7, 10**11
YEAR = 365 * 24 * 60 * 60

savers = st.sampled_from([0, 1])
amounts = st.integers(0, START_PRINCIPAL + 1) | st.integers(0, 9) | st.just(WEALTH + 1)
steps = st.one_of(
    st.tuples(st.sampled_from(["deposit", "withdraw"]), savers, amounts),
    st.tuples(st.just("claim"), savers, st.integers(-3, 1)),
    st.tuples(st.just("fund"), savers, st.integers(0, START_RESERVE)),
    st.tuples(st.just("rate"), savers, st.integers(0, 10_000)),
    st.tuples(st.just("wait"), savers, st.integers(-YEAR, YEAR) | st.integers(0, 50 * YEAR)),
)


@dataclass(slots=True)
class Account:
    """One saver. `earned` is in units of principal, basis point and second."""

    wallet: int = WEALTH
    principal: int = START_PRINCIPAL
    earned: int = 0


@dataclass(slots=True)
class Model:
    """A model without an index: every saver is credited whenever the pool is touched."""

    rate: int = START_RATE
    now: int = START
    seen: int = START
    reserve: int = START_RESERVE
    savers: list[Account] = field(default_factory=lambda: [Account(), Account()])

    def touch(self) -> None:
        for saver in self.savers:
            saver.earned += saver.principal * self.rate * max(0, self.now - self.seen)
        self.seen = max(self.seen, self.now)

    def claimable(self, saver: Account) -> int:
        due = saver.earned + saver.principal * self.rate * max(0, self.now - self.seen)
        return due // PER_TOKEN_UNIT

    def why_not(self, step: str, saver: Account, amount: int) -> str | None:
        """Return the error of a refused step, which changes nothing, or None."""
        reasons = {
            "InvalidAmount": amount == 0,
            "too poor": step in {"deposit", "fund"} and amount > saver.wallet,
            "InsufficientPrincipal": step == "withdraw" and amount > saver.principal,
            "InsufficientInterest": step == "claim" and amount > self.claimable(saver),
            "InsufficientReserve": step == "claim" and amount > self.reserve,
        }
        return next((reason for reason, applies in reasons.items() if applies), None)

    def move(self, step: str, saver: Account, amount: int) -> None:
        if step == "fund":
            self.reserve += amount
            saver.wallet -= amount
            return
        self.touch()
        match step:
            case "deposit":
                saver.wallet -= amount
                saver.principal += amount
            case "withdraw":
                saver.wallet += amount
                saver.principal -= amount
            case "claim":
                saver.wallet += amount
                saver.earned -= amount * PER_TOKEN_UNIT
                self.reserve -= amount


ACTS = {"deposit": deposit, "withdraw": withdraw, "claim": claim, "fund": fund_reserve}


def assert_outcome(outcome: Outcome, refusal: str | None) -> None:
    if refusal == "too poor":
        assert outcome.error == 1  # TokenError::InsufficientFunds
    elif refusal:
        refused(outcome, refusal)
    else:
        assert outcome.error is None, outcome


def apply(pools: Pools, model: Model, keys: list[Keypair], step: tuple[str, int, int]) -> None:
    name, at, number = step
    match name:
        case "wait":
            model.now += number
            pools.ledger.set_time(model.now)
        case "rate":
            model.touch()
            model.rate = number
            given = set_rate(pools.admin.pubkey(), pools.pool, number)
            pools.ledger.must(given, pools.admin)
        case _:
            saver = model.savers[at]
            if name == "claim":  # relative to what could be claimed, or a part of it
                claimable = model.claimable(saver)
                number = claimable + number if number >= 0 else claimable // (1 - number)
            refusal = model.why_not(name, saver, number)
            if refusal is None:
                model.move(name, saver, number)
            given = ACTS[name](keys[at].pubkey(), pools.pool, number)
            assert_outcome(pools.ledger.send(given, keys[at]), refusal)


def assert_agree(pools: Pools, model: Model, keys: list[Keypair]) -> None:
    state = pools.state()
    assert state["rate_bps"] == model.rate
    assert state["last_accrued_at"] == model.seen
    assert state["total_principal"] == sum(saver.principal for saver in model.savers)
    assert pools.deposits() == state["total_principal"]
    assert pools.reserve() == model.reserve
    for saver, key in zip(model.savers, keys, strict=True):
        position = pools.position(key.pubkey())
        growth = state["index"] - position["index"]
        assert position["principal"] == saver.principal
        assert position["accrued"] + position["principal"] * growth == saver.earned
        assert pools.ledger.tokens(key.pubkey()) == saver.wallet


@settings(max_examples=60, deadline=None)
@given(st.lists(steps, max_size=40))
def test_a_pool_equals_an_independent_model(todo: list[tuple[str, int, int]]) -> None:
    pools, model = with_yield_pool(Ledger(), rate_bps=START_RATE), Model()
    pools.fund(START_RESERVE)
    keys = [pools.saver(usdt=WEALTH, deposited=START_PRINCIPAL) for _ in model.savers]
    for step in todo:
        apply(pools, model, keys, step)
        assert_agree(pools, model, keys)
