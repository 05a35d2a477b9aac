"""Queue of the frames to send to one client, in order; written without waiting where possible.

A frame replaces a queued frame with the same `conflation_key`: a slow client receives the newest
balance, not every balance in between.
"""

from __future__ import annotations

import os
from collections.abc import Hashable
from itertools import count


class SendQueue:
    """The frames for one socket. The caller's lock keeps `write` and `take` apart."""

    def __init__(self) -> None:
        self._frames: dict[Hashable, bytes] = {}
        self._rest = b""
        self._numbers = count()

    def __len__(self) -> int:
        """Return how many frames have not been written completely."""
        return len(self._frames) + bool(self._rest)

    def add(self, frame: bytes, *, conflation_key: Hashable | None = None) -> None:
        """Append a frame. It replaces a queued frame with the same `conflation_key`."""
        if conflation_key is None:
            self._frames[next(self._numbers)] = frame
            return
        self._frames.pop(conflation_key, None)
        self._frames[conflation_key] = frame

    def write(self, socket: int) -> None:
        """Write as much as the socket accepts without waiting. Raises OSError if it is broken."""
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
        """Remove and return frames: all, or until they have `at_least` bytes together."""
        data = bytearray(self._rest)
        self._rest = b""
        while self._frames and (at_least is None or len(data) < at_least):
            data += self._frames.pop(next(iter(self._frames)))
        return bytes(data)

    def _drop(self, sent: int) -> None:
        """Remove the first `sent` bytes, which may end within a frame."""
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
