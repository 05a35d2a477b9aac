"""What the operator pays for others: the settings, in lamports."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol, TypeVar

T = TypeVar("T")

_LAMPORTS = "a whole number of lamports, 0 or more"
_LAMPORTS_OR_OFF = "a whole number of lamports, 0 or more, or off"


@dataclass(frozen=True, slots=True)
class Sponsoring:
    """`unit_price` is in micro-lamports for each compute unit. A day is UTC's; None is no bound.

    With less than `operator_minimum` the operator pays for nobody but itself.
    """

    unit_price: int = 100_000
    transaction: int = 100_000
    owner_a_day: int | None = 50_000_000
    everybody_a_day: int | None = 5_000_000_000
    operator_minimum: int = 50_000_000


class Reader(Protocol):
    """Reads a variable: its name, how to parse it, the default, and what is expected."""

    def __call__(
        self, name: str, parse: Callable[[str], T], default: str | None, expected: str
    ) -> T: ...


def read_sponsoring(read: Reader) -> Sponsoring:
    """MAX_COMPUTE_UNIT_PRICE, MAX_FEE_LAMPORTS, SPONSOR_*, OPERATOR_MIN_LAMPORTS."""
    return Sponsoring(
        unit_price=read(
            "MAX_COMPUTE_UNIT_PRICE", _count, "100000", "a whole number of micro-lamports"
        ),
        transaction=read("MAX_FEE_LAMPORTS", _count, "100000", _LAMPORTS),
        owner_a_day=read(
            "SPONSOR_OWNER_LAMPORTS_PER_DAY", _count_or_off, "50000000", _LAMPORTS_OR_OFF
        ),
        everybody_a_day=read(
            "SPONSOR_TOTAL_LAMPORTS_PER_DAY", _count_or_off, "5000000000", _LAMPORTS_OR_OFF
        ),
        operator_minimum=read("OPERATOR_MIN_LAMPORTS", _count, "50000000", _LAMPORTS),
    )


def _count(raw: str) -> int:
    count = int(raw)
    if not 0 <= count < 2**62:
        raise ValueError
    return count


def _count_or_off(raw: str) -> int | None:
    return None if raw == "off" else _count(raw)
