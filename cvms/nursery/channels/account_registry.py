"""Between the task that watches accounts of the chain and the WebSocket clients that care.

Each account is kept once for all its watchers, in its newest form, and serialized once. Telling
never waits: a watcher bounds what it keeps, and of an account it keeps the newest only.
"""

from __future__ import annotations

import base64
from dataclasses import dataclass, field
from functools import cached_property
from itertools import islice
from typing import TYPE_CHECKING, Any, Protocol

import trio

from cvms.chain.rpc.limits import ACCOUNTS_PER_CALL
from cvms.errors import Overloaded
from cvms.nursery.channels.websocket_frames import json_frame

if TYPE_CHECKING:
    from solders.pubkey import Pubkey

    from cvms.chain.pubsub.account_subscription import AccountAt

KEYS = 1000
"""Accounts that one process watches: a node bounds the subscriptions of a connection too."""


class AccountFrames:
    """What watchers are told of an account: as the answer to their question, and on a change."""

    def __init__(self, account: AccountAt) -> None:
        self.account = account

    @cached_property
    def snapshot(self) -> bytes:
        key = str(self.account.key)
        return json_frame({"type": "subscribed", "pubkey": key, "snapshot": self._shown})

    @cached_property
    def change(self) -> bytes:
        return json_frame({"type": "account", "pubkey": str(self.account.key), **self._shown})

    @cached_property
    def _shown(self) -> dict[str, Any]:
        account = self.account
        return {
            "slot": account.slot,
            "lamports": account.lamports,
            "owner": str(account.owner),
            "executable": account.executable,
            "data": base64.b64encode(account.data).decode(),
            "truncated": account.truncated,
        }


class AccountWatcher(Protocol):
    """Who cares for accounts. It never makes the registry wait."""

    def on_account(self, key: Pubkey, frames: AccountFrames) -> None:
        """What it is now: on a change, and once more after it was unknown for a while."""

    def on_account_unknown(self, key: Pubkey) -> None:
        """The chain does not answer: what was told may be out of date, until the next is told."""


@dataclass(slots=True)
class _WatchedAccount:
    watchers: dict[AccountWatcher, None] = field(default_factory=dict)
    newest: AccountFrames | None = None
    fresh: bool = False
    reported_unknown: bool = False


class AccountRegistry:
    """Who watches which account. Slots of one account never go back."""

    def __init__(self, *, limit: int = KEYS) -> None:
        self._limit = limit
        self._watched: dict[Pubkey, _WatchedAccount] = {}
        self._subscribed: set[Pubkey] = set()
        self._to_fetch: dict[Pubkey, None] = {}
        self._fetch = trio.Event()
        self._away = False
        self.change = trio.Event()
        """Set once `wanted` is another; then there is a new one."""

    def __len__(self) -> int:
        return len(self._watched)

    # --- clients ---------------------------------------------------------------------------------

    def watch(self, watcher: AccountWatcher, key: Pubkey) -> None:
        """Tell the watcher of an account, at once if it is known. Raises Overloaded."""
        watched = self._watched.get(key)
        if watched is None:
            if len(self._watched) >= self._limit:
                raise Overloaded("Too many accounts are watched. Try again in a moment.")
            watched = self._watched[key] = _WatchedAccount()
            self._changed()
            if key in self._subscribed:
                self._schedule_fetch(key)
        watched.watchers[watcher] = None
        if watched.fresh and watched.newest is not None:
            watcher.on_account(key, watched.newest)
        elif self._away or watched.reported_unknown:
            watched.reported_unknown = True
            watcher.on_account_unknown(key)

    def unwatch(self, watcher: AccountWatcher, key: Pubkey) -> None:
        """Undo `watch`; unknown ones are no-ops."""
        watched = self._watched.get(key)
        if watched is None:
            return
        watched.watchers.pop(watcher, None)
        if not watched.watchers:
            del self._watched[key]
            self._to_fetch.pop(key, None)
            self._changed()

    def _changed(self) -> None:
        self.change.set()
        self.change = trio.Event()

    # --- the subscriptions at the node -----------------------------------------------------------

    @property
    def wanted(self) -> frozenset[Pubkey]:
        return frozenset(self._watched)

    def subscribed(self, key: Pubkey) -> None:
        """Its changes are heard from here on."""
        self._away = False
        self._subscribed.add(key)
        self._schedule_fetch(key)

    def unsubscribed(self, key: Pubkey) -> None:
        """It was unsubscribed from."""
        self._subscribed.discard(key)

    def updated(self, account: AccountAt) -> None:
        """Take an account that was notified or fetched; an older one than the last is dropped."""
        watched = self._watched.get(account.key)
        if watched is None or account.key not in self._subscribed:
            return
        before = watched.newest.account if watched.newest is not None else None
        if before is not None and account.slot < before.slot:
            return
        told = watched.fresh and before is not None and before.same_state(account)
        watched.newest = frames = AccountFrames(account)
        watched.fresh, watched.reported_unknown = True, False
        if not told:
            for watcher in list(watched.watchers):
                watcher.on_account(account.key, frames)

    def subscription_refused(self, key: Pubkey) -> None:
        """The node does not let us subscribe."""
        self._unknown(key)

    def lost(self) -> None:
        """Nothing is heard any more."""
        self._away = True
        self._subscribed.clear()
        self._to_fetch.clear()
        for key in list(self._watched):
            self._unknown(key)

    def _unknown(self, key: Pubkey) -> None:
        watched = self._watched.get(key)
        if watched is None or watched.reported_unknown:
            return
        watched.fresh, watched.reported_unknown = False, True
        for watcher in list(watched.watchers):
            watcher.on_account_unknown(key)

    # --- what is to be fetched -------------------------------------------------------------------

    async def to_fetch(self) -> list[Pubkey]:
        """Wait until accounts are to be fetched; takes up to 100 of them."""
        while not self._to_fetch:
            self._fetch = trio.Event()
            await self._fetch.wait()
        keys = list(islice(self._to_fetch, ACCOUNTS_PER_CALL))
        for key in keys:
            del self._to_fetch[key]
        return keys

    def not_fetched(self, keys: list[Pubkey]) -> None:
        """They could not be: have them fetched again, and say so where nothing is known."""
        for key in keys:
            if key in self._watched and key in self._subscribed:
                self._schedule_fetch(key)
                if not self._watched[key].fresh:
                    self._unknown(key)

    def fetch_all(self) -> None:
        """Have every account fetched: a node may have lost a notification, or a fork a change."""
        for key in self._watched:
            if key in self._subscribed:
                self._schedule_fetch(key)

    def _schedule_fetch(self, key: Pubkey) -> None:
        if key in self._watched:
            self._to_fetch[key] = None
            self._fetch.set()
