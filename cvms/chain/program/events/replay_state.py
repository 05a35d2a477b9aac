"""State of the vaults during the replay of a transaction's instructions."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from solders.pubkey import Pubkey

from cvms.chain.program.accounts import TimelockEntry
from cvms.chain.program.events import events as chain
from cvms.chain.program.events.events import Event, TransactionType
from cvms.chain.program.events.log_parser import LoggedEvent
from cvms.chain.program.guard_changes import GuardChange
from cvms.chain.rpc.responses import RawInstruction
from cvms.errors import NotRebuilt

Accounts = Mapping[str, Pubkey]
"""The accounts of an instruction, by their names in the IDL."""
Handler = Callable[["Replay", Accounts, bytes], Iterator[Event]]
"""Yields the events of an instruction, given its accounts and arguments."""


@dataclass(frozen=True, slots=True)
class ReplayedVault:
    """A vault's owner, balances, timelocks and minimum delay.

    `amounts` are total, available, locked and yield_deposited; None when they are unknown.
    """

    owner: Pubkey
    amounts: tuple[int, int, int, int] | None
    timelocks: tuple[TimelockEntry, ...] = ()
    min_delay: int = 0

    def moved(
        self, total: int = 0, available: int = 0, locked: int = 0, earning: int = 0
    ) -> ReplayedVault:
        """Return the vault with its balances changed by these amounts."""
        if self.amounts is None:
            return self
        old = self.amounts
        new = (old[0] + total, old[1] + available, old[2] + locked, old[3] + earning)
        return replace(self, amounts=new)

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
    """Tracks the vaults and the requested changes of guards from instruction to instruction.

    `now` is the time that the program saw: the block's time, None when the node does not return it.
    """

    def __init__(
        self,
        program: Pubkey,
        now: int | None,
        before: Mapping[Pubkey, ReplayedVault],
        requested: Mapping[Pubkey, GuardChange],
        logged: Sequence[LoggedEvent],
    ) -> None:
        self.program = program
        self.now = now
        self.requested = dict(requested)
        """The requested changes, by the addresses of their accounts."""
        self.logged = {(each.instruction_index, each.ordinal): each for each in logged}
        self.next = (0, 0)
        """Identity of the next event: its instruction index and ordinal."""
        self.top_level: Pubkey | None = None
        """The program of the current top-level instruction."""
        self.remaining: Sequence[Pubkey] = ()
        """The accounts of the current instruction after those that the IDL names."""
        self.following: RawInstruction | None = None
        """What was executed next: a call of the current instruction, or another instruction."""
        self._vaults = dict(before)

    def state(self, vault: Pubkey) -> ReplayedVault:
        """Return the vault's state. Raises NotRebuilt when it is unknown."""
        if vault not in self._vaults:
            raise NotRebuilt(f"the state of vault {vault} is unknown")
        return self._vaults[vault]

    def move(self, vault: Pubkey, **change: int) -> ReplayedVault:
        """Change the vault's balances and return its new state; see ReplayedVault.moved."""
        self._vaults[vault] = self.state(vault).moved(**change)
        return self._vaults[vault]

    def put(self, vault: Pubkey, state: ReplayedVault) -> None:
        """Replace the vault's state."""
        self._vaults[vault] = state

    def moment(self, seconds: int) -> int | None:
        """Return the time in so many seconds, None when the block's time is unknown."""
        return None if self.now is None else self.now + seconds

    def transaction_event(self, vault: Pubkey, kind: TransactionType, amount: int) -> Event:
        """Return the TransactionEvent that follows most events."""
        owner = self.state(vault).owner
        return new_event(
            chain.TransactionEvent,
            vault=vault,
            owner=owner,
            transaction_type=kind,
            amount=amount,
            timestamp=self.now,
        )

    def release_matured(self, vault: Pubkey) -> Iterator[Event]:
        """Release the vault's mature timelocks, and return the event if there are any."""
        state = self.state(vault)
        logged = self.logged.get(self.next)
        due = self._due(state) if logged is None else None
        if logged is not None and isinstance(logged.event, chain.TimelocksReleasedEvent):
            due = self._due(state)
            total, left = logged.event.released_total, logged.event.remaining_timelocks
        elif due:
            total, left = sum(each.amount for each in due), len(state.timelocks) - len(due)
        else:
            return
        rest = tuple(each for each in state.timelocks if each not in (due or ()))
        self.put(vault, replace(state.moved(available=total), timelocks=rest))
        yield new_event(
            chain.TimelocksReleasedEvent,
            vault=vault,
            owner=state.owner,
            released_total=total,
            remaining_timelocks=left,
        )

    def _due(self, state: ReplayedVault) -> tuple[TimelockEntry, ...]:
        if not state.timelocks:
            return ()
        if self.now is None:
            raise NotRebuilt("the released timelocks are unknown without the block's time")
        return tuple(each for each in state.timelocks if each.unlock_time <= self.now)


def new_event(kind: type[Event], **fields: Any) -> Event:
    """Return an event. Its unknown fields are None, whatever their type."""
    return kind(**fields)
