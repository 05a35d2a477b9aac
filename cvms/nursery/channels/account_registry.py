"""Registry of on-chain accounts that WebSocket clients watch.

It connects the task that subscribes to accounts at a node with the clients. Each account is stored
once, as its newest state, and serialized once for all its watchers. Notifying a watcher never
waits: a watcher keeps only the newest state of each account.
"""

from __future__ import annotations

import base64
from dataclasses import dataclass, field
from functools import cached_property
from itertools import islice
from typing import TYPE_CHECKING, Any, Protocol

import trio

from cvms.chain.rpc.call_params import ACCOUNTS_PER_CALL
from cvms.errors import Overloaded
from cvms.nursery.channels.websocket_frames import json_frame

if TYPE_CHECKING:
    from solders.pubkey import Pubkey

    from cvms.chain.pubsub.account_subscription import AccountAt

MAX_ACCOUNTS = 1000
"""Accounts that one process may watch: nodes limit the subscriptions of a connection as well."""


class AccountFrames:
    """WebSocket frames of one account state: the reply to `subscribe`, and the change event."""

    def __init__(self, account: AccountAt) -> None:
        self.account = account

    @cached_property
    def snapshot(self) -> bytes:
        key = str(self.account.key)
        return json_frame({"type": "subscribed", "pubkey": key, "snapshot": self._fields})

    @cached_property
    def change(self) -> bytes:
        return json_frame({"type": "account", "pubkey": str(self.account.key), **self._fields})

    @cached_property
    def _fields(self) -> dict[str, Any]:
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
    """A client that watches accounts. Its methods must not block."""

    def on_account(self, key: Pubkey, frames: AccountFrames) -> None:
        """Receive the current state: after each change, and when known again after a loss."""

    def on_account_unknown(self, key: Pubkey) -> None:
        """Note that the last state may be out of date, until the next `on_account`."""


@dataclass(slots=True)
class _WatchedAccount:
    watchers: dict[AccountWatcher, None] = field(default_factory=dict)
    newest: AccountFrames | None = None
    fresh: bool = False
    reported_unknown: bool = False


class AccountRegistry:
    """Clients by the accounts they watch. The slot of an account's state never decreases."""

    def __init__(self, *, limit: int = MAX_ACCOUNTS) -> None:
        self._limit = limit
        self._watched: dict[Pubkey, _WatchedAccount] = {}
        self._subscribed: set[Pubkey] = set()
        self._to_fetch: dict[Pubkey, None] = {}
        self._fetch = trio.Event()
        self._disconnected = False
        self.change = trio.Event()
        """Set when `wanted` changes, and then replaced by a new event."""

    def __len__(self) -> int:
        return len(self._watched)

    # --- clients ---------------------------------------------------------------------------------

    def watch(self, watcher: AccountWatcher, key: Pubkey) -> None:
        """Start notifying `watcher` of an account, at once if its state is known.

        Raises Overloaded when MAX_ACCOUNTS others are watched already.
        """
        watched = self._watched.get(key)
        if watched is None:
            if len(self._watched) >= self._limit:
                raise Overloaded("Too many accounts are watched. Try again in a moment.")
            watched = self._watched[key] = _WatchedAccount()
            self._changed()
            self._schedule_fetch(key)
        watched.watchers[watcher] = None
        if watched.fresh and watched.newest is not None:
            watcher.on_account(key, watched.newest)
        elif self._disconnected or watched.reported_unknown:
            watched.reported_unknown = True
            watcher.on_account_unknown(key)

    def unwatch(self, watcher: AccountWatcher, key: Pubkey) -> None:
        """Undo `watch`. Do nothing if the watcher does not watch the account."""
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

    # --- subscriptions at the node ---------------------------------------------------------------

    @property
    def wanted(self) -> frozenset[Pubkey]:
        """The accounts that clients watch, and that should be subscribed to."""
        return frozenset(self._watched)

    def subscribed(self, key: Pubkey) -> None:
        """Record that the node notifies of an account from now on, and schedule its first fetch."""
        self._disconnected = False
        self._subscribed.add(key)
        self._schedule_fetch(key)

    def unsubscribed(self, key: Pubkey) -> None:
        """Record that the node no longer notifies of an account."""
        self._subscribed.discard(key)

    def updated(self, account: AccountAt) -> None:
        """Accept a notified or fetched state. One older than the last is dropped."""
        watched = self._watched.get(account.key)
        if watched is None or account.key not in self._subscribed:
            return
        before = watched.newest.account if watched.newest is not None else None
        if before is not None and account.slot < before.slot:
            return
        unchanged = watched.fresh and before is not None and before.same_state(account)
        watched.newest = frames = AccountFrames(account)
        watched.fresh, watched.reported_unknown = True, False
        if not unchanged:
            for watcher in list(watched.watchers):
                watcher.on_account(account.key, frames)

    def subscription_refused(self, key: Pubkey) -> None:
        """Record that the node refused a subscription: the account's state is unknown."""
        self._set_unknown(key)

    def lost(self) -> None:
        """Record that the connection was lost: the state of every account is unknown."""
        self._disconnected = True
        self._subscribed.clear()
        self._to_fetch.clear()
        for key in list(self._watched):
            self._set_unknown(key)

    def _set_unknown(self, key: Pubkey) -> None:
        watched = self._watched.get(key)
        if watched is None or watched.reported_unknown:
            return
        watched.fresh, watched.reported_unknown = False, True
        for watcher in list(watched.watchers):
            watcher.on_account_unknown(key)

    # --- fetching --------------------------------------------------------------------------------

    async def next_to_fetch(self) -> list[Pubkey]:
        """Wait until accounts are due to be fetched, and take up to ACCOUNTS_PER_CALL of them."""
        while not self._to_fetch:
            self._fetch = trio.Event()
            await self._fetch.wait()
        keys = list(islice(self._to_fetch, ACCOUNTS_PER_CALL))
        for key in keys:
            del self._to_fetch[key]
        return keys

    def fetch_failed(self, keys: list[Pubkey]) -> None:
        """Schedule the accounts again, and report those without a current state as unknown."""
        for key in keys:
            if key in self._watched and key in self._subscribed:
                self._schedule_fetch(key)
                if not self._watched[key].fresh:
                    self._set_unknown(key)

    def fetch_all(self) -> None:
        """Schedule every account: a node may lose a notification, and a fork may undo a change."""
        for key in self._watched:
            self._schedule_fetch(key)

    def _schedule_fetch(self, key: Pubkey) -> None:
        if key in self._watched and key in self._subscribed:
            self._to_fetch[key] = None
            self._fetch.set()
