"""Frames that one client is still to be sent, in order; written without waiting where possible.

A frame with a `newest` key takes the place of an older one with the same key that is still here:
a client that lags is told the newest balance, not every balance on the way.
"""

from __future__ import annotations

import os
from collections.abc import Hashable
from itertools import count


class SendQueue:
    """The frames for one socket. `write` and `take` never mix: the caller holds a lock."""

    def __init__(self) -> None:
        self._frames: dict[Hashable, bytes] = {}
        self._rest = b""
        self._numbers = count()

    def __len__(self) -> int:
        """How many frames have not left whole."""
        return len(self._frames) + bool(self._rest)

    def add(self, frame: bytes, *, newest: Hashable | None = None) -> None:
        """Put a frame last."""
        if newest is None:
            self._frames[next(self._numbers)] = frame
            return
        self._frames.pop(newest, None)
        self._frames[newest] = frame

    def write(self, socket: int) -> None:
        """Give the socket as much as it takes at once. Raises OSError when it is broken."""
        data = self._rest + b"".join(self._frames.values())
        try:
            sent = os.write(socket, data) if data else 0
        except (BlockingIOError, InterruptedError):
            sent = 0
        if sent == len(data):
            self._frames.clear()
            self._rest = b""
        else:
            self._drop(sent)

    def take(self, at_least: int | None = None) -> bytes:
        """Frames for a write that waits: until there are `at_least` bytes, or all."""
        data = bytearray(self._rest)
        self._rest = b""
        while self._frames and (at_least is None or len(data) < at_least):
            data += self._frames.pop(next(iter(self._frames)))
        return bytes(data)

    def _drop(self, sent: int) -> None:
        """Forget the first `sent` bytes, which end within a frame or between two."""
        if sent < len(self._rest):
            self._rest = self._rest[sent:]
            return
        sent -= len(self._rest)
        self._rest = b""
        while sent:
            frame = self._frames.pop(next(iter(self._frames)))
            if sent < len(frame):
                self._rest = frame[sent:]
                return
            sent -= len(frame)
