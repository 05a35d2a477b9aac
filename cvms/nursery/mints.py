"""Which vaults hold our mint at each event of a batch: anybody may open a vault over another.

A vault's mint changes in two ways only. It is closed and opened anew, of which the instructions
tell the mint and the event of closing the moment; or governance changes it, which is an event.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence

from solders.pubkey import Pubkey

from cvms.chain.addresses import token_account
from cvms.chain.events import DepositEvent, Event, UpdateUsdtMintEvent, VaultClosedEvent
from cvms.chain.touched import ClosedVault, OpenedVault
from cvms.nursery.movements import event_vaults


class Mints:
    """Follows the vaults of a batch, transaction by transaction.

    `before` says whether a vault held our mint at first, where its change tells. `ours` has the
    vaults that held it at any time, whatever became of them.
    """

    def __init__(self, mint: Pubkey) -> None:
        self._mint = mint
        self._now: dict[str, bool] = {}
        self.before: dict[str, bool] = {}
        self.ours: dict[Pubkey, OpenedVault] = {}

    def follow(
        self, lives: Sequence[OpenedVault | ClosedVault], events: Sequence[Event]
    ) -> list[Mapping[str, bool]]:
        """For each event of a transaction, what is known of its vaults by then."""
        waiting: dict[Pubkey, deque[OpenedVault | ClosedVault]] = {}
        for life in lives:
            waiting.setdefault(life.vault, deque()).append(life)
        for queue in waiting.values():
            self._open(queue)
        counts = [self._pass(event, waiting) for event in events]
        for queue in waiting.values():  # logs cut short do not tell of every closing
            while queue:
                queue.popleft()
                self._open(queue)
        return counts

    def _pass(
        self, event: Event, waiting: Mapping[Pubkey, deque[OpenedVault | ClosedVault]]
    ) -> Mapping[str, bool]:
        known = {vault: self._now[vault] for vault in event_vaults(event) if vault in self._now}
        if isinstance(event, UpdateUsdtMintEvent):
            vault = str(event.vault)
            if vault not in self._now:
                self.before[vault] = event.old_mint == self._mint
            self._now[vault] = event.new_mint == self._mint
        elif isinstance(event, VaultClosedEvent) and (queue := waiting.get(event.vault)):
            queue.popleft()
            self._open(queue)
        elif isinstance(event, DepositEvent) and known.get(str(event.vault)):
            self._met(event.owner, event.vault)
        return known

    def _met(self, owner: Pubkey, vault: Pubkey) -> None:
        """Know whose vault it is even if, by the end of the batch, no account tells any more."""
        tokens = token_account(vault, self._mint)
        self.ours.setdefault(vault, OpenedVault(owner, vault, tokens, self._mint))

    def _open(self, queue: deque[OpenedVault | ClosedVault]) -> None:
        """Take the openings up to the next closing."""
        while queue and isinstance(life := queue[0], OpenedVault):
            queue.popleft()
            self._now[str(life.vault)] = life.mint == self._mint
            if life.mint == self._mint:
                self.ours[life.vault] = life
