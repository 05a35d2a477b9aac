"""A vault's statement."""

from __future__ import annotations

from datetime import datetime
from typing import Literal

import msgspec


class Balances(msgspec.Struct, frozen=True):
    """The balances of a vault, or by how much they change."""

    total: int
    available: int
    locked: int
    timelocked: int
    yield_deposited: int

    def plus(self, change: Balances) -> Balances:
        """Return the balances after the change."""
        return Balances(
            total=self.total + change.total,
            available=self.available + change.available,
            locked=self.locked + change.locked,
            timelocked=self.timelocked + change.timelocked,
            yield_deposited=self.yield_deposited + change.yield_deposited,
        )


class StatementLine(msgspec.Struct, frozen=True):
    """A change of a vault's balances, and the balances after it.

    A line of kind `correction` says what the vault's account was found to hold, and has neither a
    time nor a signature.
    """

    slot: int
    kind: str
    amount: int
    change: Balances
    balances: Balances
    block_time: datetime | None = None
    signature: str | None = None


class BalancesAtSlot(Balances, frozen=True, kw_only=True):
    """The balances at the end of `slot`, None before the first."""

    slot: int | None


class Statement(msgspec.Struct, frozen=True):
    """The lines of the slots from `from_slot` to before `to_slot`, oldest first.

    It is `complete`, or there are `more` lines from the slot `next_from` on, or what follows
    `final_slot` is `pending`.
    """

    owner: str
    from_slot: int
    to_slot: int
    status: Literal["complete", "more", "pending"]
    opening: BalancesAtSlot
    closing: BalancesAtSlot
    lines: list[StatementLine]
    next_from: int | None = None
    final_slot: int | None = None

    @property
    def adds_up(self) -> bool:
        """Whether the opening balances and the lines make the closing ones."""
        opening = msgspec.structs.asdict(self.opening)
        del opening["slot"]
        now = Balances(**opening)
        for line in self.lines:
            now = now.plus(line.change)
            if now != line.balances:
                return False
        return msgspec.structs.replace(self.closing, **msgspec.structs.asdict(now)) == self.closing
