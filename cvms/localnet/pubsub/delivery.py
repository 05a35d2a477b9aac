"""Delivery of notifications: complete and in order, unless a fault of the node is on."""

from __future__ import annotations

from typing import Protocol

from cvms.localnet.node.faults import NodeFaults


class FrameSink(Protocol):
    """Receives the frames of one connection, without blocking."""

    def push(self, frame: str, *, delay: float = 0.0) -> None: ...
    def cut(self) -> None: ...


class NotificationDelivery:
    """Delivers the notifications of a node to its clients."""

    def __init__(self, faults: NodeFaults) -> None:
        self._faults = faults
        self._held_back: dict[FrameSink, str] = {}

    def deliver(self, client: FrameSink, kind: str, frame: str) -> None:
        faults = self._faults.notifications
        if faults.on and (not faults.kinds or kind in faults.kinds):
            self._deliver_with_faults(client, frame)
        else:
            self._push(client, frame)

    def forget(self, client: FrameSink) -> None:
        self._held_back.pop(client, None)

    def _deliver_with_faults(self, client: FrameSink, frame: str) -> None:
        happens, faults = self._faults.happens, self._faults.notifications
        if happens(faults.drop):
            return
        if happens(faults.duplicate):
            self._push(client, frame)
        if client not in self._held_back and happens(faults.swap):
            self._held_back[client] = frame
        else:
            self._push(client, frame)

    def _push(self, client: FrameSink, frame: str) -> None:
        delay = self._faults.notifications.delay
        client.push(frame, delay=delay)
        if self._held_back and (earlier := self._held_back.pop(client, None)) is not None:
            client.push(earlier, delay=delay)
