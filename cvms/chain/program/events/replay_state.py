"""What vaults hold, followed through a transaction's instructions."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from solders.pubkey import Pubkey

from cvms.chain.program.accounts import TimelockEntry
from cvms.chain.program.events import events as chain
from cvms.chain.program.events.events import Event, TransactionType
from cvms.chain.program.events.log_parser import LoggedEvent
from cvms.errors import NotRebuilt


@dataclass(frozen=True, slots=True)
class ReplayedVault:
    """Whose a vault is and what it holds; `amounts` are None where that is not known.

    `amounts`: total, available, locked, yield_deposited.
    """

    owner: Pubkey
    amounts: tuple[int, int, int, int] | None
    timelocks: tuple[TimelockEntry, ...] = ()

    def moved(
        self, total: int = 0, available: int = 0, locked: int = 0, earning: int = 0
    ) -> ReplayedVault:
        if self.amounts is None:
            return self
        held = self.amounts
        now = (held[0] + total, held[1] + available, held[2] + locked, held[3] + earning)
        return replace(self, amounts=now)

    @property
    def total(self) -> int | None:
        return self.amounts and self.amounts[0]

    @property
    def available(self) -> int | None:
        return self.amounts and self.amounts[1]

    @property
    def locked(self) -> int | None:
        return self.amounts and self.amounts[2]

    @property
    def earning(self) -> int | None:
        return self.amounts and self.amounts[3]


class Replay:
    """Follows the vaults from instruction to instruction.

    `now` is the clock that the program saw, if the node tells: a block's time is its bank's.
    """

    def __init__(
        self, now: int | None, before: Mapping[Pubkey, ReplayedVault], logged: Sequence[LoggedEvent]
    ) -> None:
        self.now = now
        self.logged = {(each.instruction_index, each.ordinal): each for each in logged}
        self.next = (0, 0)
        """The identity of the next event."""
        self._held = dict(before)

    def holder(self, vault: Pubkey) -> ReplayedVault:
        if vault not in self._held:
            raise NotRebuilt(f"nothing is known of the vault {vault}")
        return self._held[vault]

    def move(self, vault: Pubkey, **change: int) -> ReplayedVault:
        self._held[vault] = self.holder(vault).moved(**change)
        return self._held[vault]

    def put(self, vault: Pubkey, held: ReplayedVault) -> None:
        self._held[vault] = held

    def recorded(self, vault: Pubkey, kind: TransactionType, amount: int) -> Event:
        owner = self.holder(vault).owner
        return made(
            chain.TransactionEvent,
            vault=vault,
            owner=owner,
            transaction_type=kind,
            amount=amount,
            timestamp=self.now,
        )

    def release_matured(self, vault: Pubkey) -> Iterator[Event]:
        held = self.holder(vault)
        told = self.logged.get(self.next)
        due = self._due(held) if told is None else None
        if told is not None and isinstance(told.event, chain.TimelocksReleasedEvent):
            due = self._due(held)
            total, left = told.event.released_total, told.event.remaining_timelocks
        elif due:
            total, left = sum(each.amount for each in due), len(held.timelocks) - len(due)
        else:
            return
        rest = tuple(each for each in held.timelocks if each not in (due or ()))
        self.put(vault, replace(held.moved(available=total), timelocks=rest))
        yield made(
            chain.TimelocksReleasedEvent,
            vault=vault,
            owner=held.owner,
            released_total=total,
            remaining_timelocks=left,
        )

    def _due(self, held: ReplayedVault) -> tuple[TimelockEntry, ...]:
        if not held.timelocks:
            return ()
        if self.now is None:
            raise NotRebuilt("without the block's time, nothing tells what was released")
        return tuple(each for each in held.timelocks if each.unlock_time <= self.now)


def made(kind: type[Event], **fields: Any) -> Event:
    """An event, of which some fields may be None: what nothing tells."""
    return kind(**fields)
