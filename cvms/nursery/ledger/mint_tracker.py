"""Tracker of the mint that each vault holds at each event: a vault of any mint can be opened.

A vault's mint changes in two ways only. The vault is closed and opened again: the instruction holds
the new mint, and the closing event marks the moment. Or governance changes it, which is an event.
The account is no evidence, since it may be ahead of the events.
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
    """Follows the mints of vaults, transaction by transaction, from those that are `stored`.

    `from_accounts` gives the mints of vaults that are not stored. `changed` holds the mints to be
    stored, by vault, and `tracked` the vaults that held our mint at any time.
    """

    def __init__(
        self, mint: str, stored: Iterable[VaultMint], from_accounts: Iterable[VaultMint] = ()
    ) -> None:
        self._mint = mint
        self._stored = {each.vault: each for each in stored}
        self._now = {each.vault: each for each in from_accounts} | self._stored
        self.changed: dict[str, VaultMint] = {}
        self.before: list[tuple[str, str, VaultMint | None]] = []
        """Each change: the signature, the vault, and what was stored of it before."""
        self._signature = ""
        self.tracked = {vault: each for vault, each in self._now.items() if each.ours}

    def apply(
        self,
        lifecycle: Sequence[OpenedVault | ClosedVault],
        events: Sequence[Event],
        signature: str = "",
    ) -> list[Mapping[str, str]]:
        """Apply a transaction; return for each event the vaults of our mint, with their owners.

        `lifecycle` holds the openings and closings of the same transaction, in order.
        """
        self._signature = signature
        waiting: dict[str, Lifecycle] = {}
        for step in lifecycle:
            waiting.setdefault(str(step.vault), deque()).append(step)
        for queue in waiting.values():
            self._open(queue)
        owners = [self._apply_event(event, waiting) for event in events]
        for queue in waiting.values():  # truncated logs may lack the event of a closing
            while queue:
                queue.popleft()
                self._open(queue)
        return owners

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
        """Apply the openings up to the next closing."""
        while queue and isinstance(opened := queue[0], OpenedVault):
            queue.popleft()
            ours = str(opened.mint) == self._mint
            self._set(VaultMint(str(opened.vault), str(opened.owner), ours))

    def _set(self, mint: VaultMint) -> None:
        self.before.append((self._signature, mint.vault, self._stored.get(mint.vault)))
        self._stored[mint.vault] = mint
        self._now[mint.vault] = self.changed[mint.vault] = mint
        if mint.ours:
            self.tracked[mint.vault] = mint
