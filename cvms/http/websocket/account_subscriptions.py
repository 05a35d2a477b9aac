"""The accounts of the chain that one WebSocket client watches."""

from __future__ import annotations

from collections.abc import Callable, Hashable

from solders.pubkey import Pubkey

from cvms.nursery.channels.account_registry import AccountFrames, AccountRegistry
from cvms.nursery.channels.websocket_frames import json_frame

Tell = Callable[[bytes, Hashable | None], None]
"""Sends a frame, at once and without waiting; one takes the place of an unsent one with its key."""


class ClientAccountSubscriptions:
    """A watcher of the registry, for one client."""

    def __init__(self, registry: AccountRegistry, tell: Tell) -> None:
        self._registry = registry
        self._tell = tell
        # Whether the client has been answered, by account.
        self._answered: dict[Pubkey, bool] = {}

    def watch(self, key: Pubkey) -> None:
        """Answer with the account as soon as it is known, and tell its changes. Raises Overloaded.

        Asked again, it answers again.
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
        """Tell nothing more of it."""
        self._answered.pop(key, None)
        self._registry.unwatch(self, key)

    def close(self) -> None:
        """The client is gone."""
        for key in list(self._answered):
            self.unwatch(key)

    def on_account(self, key: Pubkey, frames: AccountFrames) -> None:
        if self._answered.get(key, True):
            self._tell(frames.change, key)
        else:
            self._answered[key] = True
            self._tell(frames.snapshot, None)

    def on_account_unknown(self, key: Pubkey) -> None:
        detail = "The chain does not answer. The account is told as soon as it does."
        message = {"type": "stale", "pubkey": str(key), "code": "chain_unavailable"}
        self._tell(json_frame({**message, "detail": detail}), key)

    def __contains__(self, key: Pubkey) -> bool:
        return key in self._answered

    def __len__(self) -> int:
        return len(self._answered)
