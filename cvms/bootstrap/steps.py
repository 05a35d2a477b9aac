"""Steps of a deployment: what exists, what will be done, and what it costs."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass, field

from cvms.chain.transactions.sponsorship_policy import LAMPORTS_PER_SIGNATURE, MICRO

Report = Callable[[str], None]
"""Prints a line of progress."""

LAMPORTS_PER_SOL = 1_000_000_000
UNITS_OF_A_TRANSACTION = 5_000
"""Compute units of an instruction of the loader with its budget, for estimates."""


@dataclass(frozen=True, slots=True)
class Cost:
    """Lamports: `rent` stays in accounts, `fees` are gone, `lent` comes back in a later step."""

    rent: int = 0
    fees: int = 0
    lent: int = 0

    def __add__(self, other: Cost) -> Cost:
        return Cost(self.rent + other.rent, self.fees + other.fees, self.lent + other.lent)

    @property
    def total(self) -> int:
        """The sum, which is needed to start."""
        return self.rent + self.fees + self.lent


@dataclass(frozen=True, slots=True)
class Step:
    """A thing that must exist: its `state`, and the `actions` that make it so, if any is needed.

    `waits_for` says what somebody else must do, since their key is not here. `before` asks what
    only a person can answer before any step is done, and raises StepFailed if that ends it all.
    """

    title: str
    state: str
    actions: tuple[str, ...] = ()
    cost: Cost = Cost()
    run: Callable[[], Awaitable[None]] | None = field(default=None, repr=False)
    waits_for: str = ""
    before: Callable[[], None] | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class Prices:
    """The cost of a transaction: its signatures, and the price of its compute units."""

    unit_price: int

    def fees(self, *, transactions: int = 1, signatures: int = 1) -> int:
        priority = -(-UNITS_OF_A_TRANSACTION * self.unit_price // MICRO)
        return transactions * (signatures * LAMPORTS_PER_SIGNATURE + priority)


def total_cost(steps: Iterable[Step]) -> Cost:
    return sum((step.cost for step in steps), Cost())


def sol(lamports: int) -> str:
    return f"{lamports / LAMPORTS_PER_SOL:.9f} SOL"


def describe(steps: Sequence[Step]) -> list[str]:
    """Return the lines that show the steps and their cost."""
    lines = []
    width = max(len(step.title) for step in steps)
    indent = " " * (width + 4)
    for step in steps:
        mark = "*" if step.actions else "-"
        cost = f"  [{sol(step.cost.total)}]" if step.cost.total else ""
        lines.append(f"{mark} {step.title:<{width}}  {step.state}{cost}")
        lines += [f"{indent}-> {action}" for action in step.actions]
        lines += [f"{indent}{line}" for line in step.waits_for.splitlines()]
    return lines


def describe_cost(steps: Sequence[Step]) -> str:
    cost = total_cost(steps)
    shown = f"Cost {sol(cost.total)}: rent {sol(cost.rent)}, fees about {sol(cost.fees)}"
    return f"{shown}, lent {sol(cost.lent)}, which comes back" if cost.lent else shown


def ask_first(steps: Sequence[Step]) -> None:
    """Ask what steps need to know before any is done. Raises StepFailed."""
    for step in steps:
        if step.before is not None:
            step.before()


async def run_steps(steps: Sequence[Step], report: Report) -> None:
    """Do what is to be done, in order. Raises StepFailed."""
    due = [step for step in steps if step.actions]
    for number, step in enumerate(due, start=1):
        report(f"[{number}/{len(due)}] {step.title}")
        if step.run is not None:
            await step.run()
