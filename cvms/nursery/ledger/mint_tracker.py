"""Which vaults hold our mint at each event: anybody may open a vault over another.

A vault's mint changes in two ways only. It is closed and opened anew, of which the instructions
tell the mint and the event of closing the moment; or governance changes it, which is an event. The
account does not tell: it may be ahead of the events.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

from cvms.chain.program.events.events import Event, UpdateUsdtMintEvent, VaultClosedEvent
from cvms.chain.program.events.touched_vaults import ClosedVault, OpenedVault
from cvms.nursery.ledger.entries import event_vaults
from cvms.store.index.vault_mints import VaultMint

Lifecycle = deque[OpenedVault | ClosedVault]


class MintTracker:
    """Follows the vaults from what is `known` of them, transaction by transaction.

    `changed` is what became known since; `ours` the vaults that held our mint at any time. `told`
    is known by their accounts, and nowhere written.
    """

    def __init__(
        self, mint: str, known: Iterable[VaultMint], told: Iterable[VaultMint] = ()
    ) -> None:
        self._mint = mint
        self._written = {each.vault: each for each in known}
        self._now = {each.vault: each for each in told} | self._written
        self.changed: dict[str, VaultMint] = {}
        self.before: list[tuple[str, str, VaultMint | None]] = []
        """Each change: the transaction, the vault, and what was written of it before."""
        self._signature = ""
        self.tracked = {vault: each for vault, each in self._now.items() if each.ours}

    def apply(
        self,
        lives: Sequence[OpenedVault | ClosedVault],
        events: Sequence[Event],
        signature: str = "",
    ) -> list[Mapping[str, str]]:
        """For each event of a transaction, those of its vaults that count then, with their owners.

        `lives` are the openings and closings of the same transaction, in their order.
        """
        self._signature = signature
        waiting: dict[str, Lifecycle] = {}
        for life in lives:
            waiting.setdefault(str(life.vault), deque()).append(life)
        for queue in waiting.values():
            self._open(queue)
        counting = [self._apply_event(event, waiting) for event in events]
        for queue in waiting.values():  # logs cut short do not tell of every closing
            while queue:
                queue.popleft()
                self._open(queue)
        return counting

    def _apply_event(self, event: Event, waiting: Mapping[str, Lifecycle]) -> Mapping[str, str]:
        now = [self._now[vault] for vault in event_vaults(event) if vault in self._now]
        if isinstance(event, UpdateUsdtMintEvent):
            for each in now:
                self._set(replace(each, ours=str(event.new_mint) == self._mint))
        elif isinstance(event, VaultClosedEvent) and (queue := waiting.get(str(event.vault))):
            queue.popleft()
            self._open(queue)
        return {each.vault: each.owner for each in now if each.ours}

    def _open(self, queue: Lifecycle) -> None:
        """Take the openings up to the next closing."""
        while queue and isinstance(life := queue[0], OpenedVault):
            queue.popleft()
            ours = str(life.mint) == self._mint
            self._set(VaultMint(str(life.vault), str(life.owner), ours))

    def _set(self, held: VaultMint) -> None:
        self.before.append((self._signature, held.vault, self._written.get(held.vault)))
        self._written[held.vault] = held
        self._now[held.vault] = self.changed[held.vault] = held
        if held.ours:
            self.tracked[held.vault] = held
