"""In whatever order things are done, the books equal a ledger kept by hand; no token is lost."""

from dataclasses import dataclass, field
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from solders.keypair import Keypair

from .ledger import START, Ledger, deposit, initialize_vault_authority, vault_address, withdraw

SUPPLY = 1_000

steps = st.one_of(
    st.tuples(st.just("deposit"), st.integers(0, SUPPLY + 1)),
    st.tuples(st.just("withdraw"), st.integers(0, SUPPLY + 1)),
    st.tuples(st.just("lock for"), st.integers(0, 50)),
    st.tuples(st.just("wait"), st.integers(0, 50)),
)


@dataclass(slots=True)
class Books:
    """What the vault ought to hold."""

    wallet: int = SUPPLY
    available: int = 0
    deposited: int = 0
    withdrawn: int = 0
    now: int = START
    timelocks: list[dict[str, int]] = field(default_factory=list)

    def deposit(self, amount: int) -> bool:
        if not 0 < amount <= self.wallet:
            return False
        self.wallet -= amount
        self.available += amount
        self.deposited += amount
        return True

    def withdraw(self, amount: int) -> bool:
        matured = [lock for lock in self.timelocks if lock["unlock_time"] <= self.now]
        available = self.available + sum(lock["amount"] for lock in matured)
        if not 0 < amount <= available:
            return False
        self.timelocks = [lock for lock in self.timelocks if lock not in matured]
        self.available = available - amount
        self.wallet += amount
        self.withdrawn += amount
        return True

    def lock_for(self, seconds: int) -> None:
        """Half of what is available goes into a timelock."""
        amount = self.available // 2
        self.available -= amount
        self.timelocks.append({"amount": amount, "unlock_time": self.now + seconds})

    def expected(self) -> dict[str, Any]:
        return {
            "total_balance": SUPPLY - self.wallet,
            "available_balance": self.available,
            "locked_balance": 0,
            "total_deposited": self.deposited,
            "total_withdrawn": self.withdrawn,
            "timelocks": self.timelocks,
        }


def apply(ledger: Ledger, owner: Keypair, books: Books, step: str, number: int) -> None:
    match step:
        case "deposit":
            succeeds = books.deposit(number)
            outcome = ledger.send(deposit(owner.pubkey(), number), owner)
            assert (outcome.error is None) == succeeds, outcome
        case "withdraw":
            succeeds = books.withdraw(number)
            outcome = ledger.send(withdraw(owner.pubkey(), number), owner)
            assert (outcome.error is None) == succeeds, outcome
        case "lock for":
            books.lock_for(number)
            ledger.change_vault(
                owner.pubkey(), available_balance=books.available, timelocks=books.timelocks
            )
        case "wait":
            books.now += number
            ledger.set_time(books.now)


@settings(max_examples=40, deadline=None)
@given(st.lists(steps, max_size=30))
def test_the_books_equal_a_ledger_kept_by_hand(todo: list[tuple[str, int]]) -> None:
    ledger, books = Ledger(), Books()
    governance, owner = ledger.wallet(), ledger.owner(usdt=SUPPLY)
    ledger.must(initialize_vault_authority(governance.pubkey()), governance)
    for step, number in todo:
        apply(ledger, owner, books, step, number)
        state = ledger.vault(owner.pubkey())
        expected = books.expected()
        assert {name: state[name] for name in expected} == expected
        assert ledger.tokens(owner.pubkey()) == books.wallet
        assert ledger.tokens(vault_address(owner.pubkey())) == SUPPLY - books.wallet
