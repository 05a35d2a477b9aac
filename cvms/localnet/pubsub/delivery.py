"""Hands notifications to clients: all, at once and in order, unless the node's faults say else."""

from __future__ import annotations

from typing import Protocol

from cvms.localnet.node.faults import Faults


class Client(Protocol):
    """Takes frames for one connection at once; it never makes the chain wait."""

    def push(self, frame: str, *, delay: float = 0.0) -> None: ...
    def cut(self) -> None: ...


class Delivery:
    """Every notification to every client of a node goes through here."""

    def __init__(self, faults: Faults) -> None:
        self._faults = faults
        self._held_back: dict[Client, str] = {}

    def hand(self, client: Client, kind: str, frame: str) -> None:
        faults = self._faults.notifications
        if faults.on and (not faults.kinds or kind in faults.kinds):
            self._mishandle(client, frame)
        else:
            self._push(client, frame)

    def forget(self, client: Client) -> None:
        self._held_back.pop(client, None)

    def _mishandle(self, client: Client, frame: str) -> None:
        happens, faults = self._faults.happens, self._faults.notifications
        if happens(faults.drop):
            return
        if happens(faults.duplicate):
            self._push(client, frame)
        if client not in self._held_back and happens(faults.swap):
            self._held_back[client] = frame
        else:
            self._push(client, frame)

    def _push(self, client: Client, frame: str) -> None:
        delay = self._faults.notifications.delay
        client.push(frame, delay=delay)
        if self._held_back and (earlier := self._held_back.pop(client, None)) is not None:
            client.push(earlier, delay=delay)
