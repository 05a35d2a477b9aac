"""The subscriptions of one WebSocket client to accounts on chain."""

from __future__ import annotations

from collections.abc import Callable, Hashable

from solders.pubkey import Pubkey

from cvms.nursery.channels.account_registry import AccountFrames, AccountRegistry
from cvms.nursery.channels.websocket_frames import json_frame

Send = Callable[[bytes, Hashable | None], None]
"""Queues a frame without waiting. It replaces an unsent frame with the same key."""


class ClientAccountSubscriptions:
    """Watches accounts in the registry for one client."""

    def __init__(self, registry: AccountRegistry, send: Send) -> None:
        self._registry = registry
        self._send = send
        # For each account, whether the client has received the snapshot.
        self._answered: dict[Pubkey, bool] = {}

    def watch(self, key: Pubkey) -> None:
        """Send a snapshot of the account as soon as it is known, and then its changes.

        A repeated call sends a new snapshot. Raises Overloaded.
        """
        before = self._answered.get(key)
        self._answered[key] = False
        try:
            self._registry.watch(self, key)
        except BaseException:
            assert before is None
            del self._answered[key]
            raise

    def unwatch(self, key: Pubkey) -> None:
        """Send no more frames about the account."""
        self._answered.pop(key, None)
        self._registry.unwatch(self, key)

    def close(self) -> None:
        """Stop watching all accounts, since the client is gone."""
        for key in list(self._answered):
            self.unwatch(key)

    def on_account(self, key: Pubkey, frames: AccountFrames) -> None:
        if self._answered.get(key, True):
            self._send(frames.change, key)
        else:
            self._answered[key] = True
            self._send(frames.snapshot, None)

    def on_account_unknown(self, key: Pubkey) -> None:
        detail = "The chain does not answer. The account is sent again as soon as it does."
        message = {"type": "stale", "pubkey": str(key), "code": "chain_unavailable"}
        self._send(json_frame({**message, "detail": detail}), key)

    def __contains__(self, key: Pubkey) -> bool:
        return key in self._answered

    def __len__(self) -> int:
        return len(self._answered)
