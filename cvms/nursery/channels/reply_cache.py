"""Replies of this process that are ready to be sent, each until what it shows has changed.

The broadcaster reads the outbox, in order, and drops what a message is about before it hands the
message to any client. It also proves, several times a second, that it has read everything up to
some moment. Without a recent proof nothing is answered from here. So a reply is never older than
what a client of this process has heard, and never older than `PROOF_SECONDS` for anybody.
"""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from sys import getsizeof
from typing import NewType

import trio

PROOF_SECONDS = 1.0
"""How long a proof is good for: how late a change that another replica announced may show here."""
CHANGES_KEPT = 16_384
"""Changes that a read in progress is held against: two seconds' worth at 8,000 a second."""
ENTRY_BYTES = 300
"""What an entry takes beside its texts. A test measures it."""

Ticket = NewType("Ticket", int)
"""The number of the last change before a read began."""


@dataclass(frozen=True, slots=True)
class CachedReply:
    """A body of JSON with its validator, as of `slot`.

    `indexed_slot` is the one up to which everything was indexed when it was read, if that is known.
    """

    body: bytes
    etag: str
    slot: int
    indexed_slot: int | None = None

    def answers(self, min_slot: int | None) -> bool:
        """Return whether it is true for the slot that a client requires."""
        return min_slot is None or max(self.slot, self.indexed_slot or 0) >= min_slot


class ReplyCache:
    """Replies by key, which is an owner.

    It holds at most `max_bytes` of them, of which the oldest go first, and none for longer than
    `max_age` seconds, so that a change that nobody announced shows too. With 0 bytes it is off.
    """

    def __init__(
        self, *, max_bytes: int, max_age: float, clock: Callable[[], float] = trio.current_time
    ) -> None:
        self._max_bytes = max_bytes
        self._max_age = max_age
        self._clock = clock
        self._entries: OrderedDict[str, tuple[CachedReply, float]] = OrderedDict()
        self._bytes = 0
        self._following = False
        self._valid_until = -math.inf
        self._required = 0
        self._position = 0
        # A change is a number; keys map to their last one, the oldest first.
        self._changes = 0
        self._changed: OrderedDict[str, int] = OrderedDict()
        self._forgotten_up_to = 0

    def __len__(self) -> int:
        return len(self._entries)

    @property
    def size(self) -> int:
        """The bytes that all replies take."""
        return self._bytes

    # --- readers -------------------------------------------------------------------------------

    def get(self, key: str) -> CachedReply | None:
        """Return the reply for the key, None if there is none that is certainly current."""
        entry = self._entries.get(key)
        if entry is None:
            return None
        reply, expires = entry
        now = self._clock()
        return reply if now < self._valid_until and now < expires else None

    def begin(self) -> Ticket:
        """Return the ticket of a read that begins now, on the server that is written to."""
        return Ticket(self._changes)

    def keep(self, key: str, ticket: Ticket, reply: CachedReply) -> None:
        """Keep the reply to a read, unless something may have changed since its ticket.

        A reply that differs from the one that is kept shows that one of them is old, before the
        message about it has come: neither is kept, nor one that is read already.
        """
        kept = self._entries.get(key)
        late = ticket < max(self._changed.get(key, 0), self._forgotten_up_to)
        if late or (kept is not None and kept[0].etag != reply.etag):
            self.forget(key)
            return
        self._drop(key)
        self._entries[key] = reply, self._clock() + self._max_age
        self._bytes += size_of(key, reply)
        while self._bytes > self._max_bytes:
            self.forget(next(iter(self._entries)))

    def require(self, position: int) -> None:
        """Answer nothing until the outbox is read up to `position`: a client has heard of it."""
        if self._position < position:
            self._required = max(self._required, position)
            self._valid_until = -math.inf

    # --- the broadcaster -----------------------------------------------------------------------

    @contextmanager
    def followed(self) -> Iterator[None]:
        """Keep replies during the block, in which the outbox is followed without a gap."""
        self.clear()
        self._following = True
        try:
            yield
        finally:
            self._following = False
            self.clear()

    def forget(self, *keys: str) -> None:
        """Drop the replies for these keys, and refuse those that are being read."""
        for key in keys:
            self._drop(key)
            self._changes += 1
            self._changed[key] = self._changes
            self._changed.move_to_end(key)
        while len(self._changed) > CHANGES_KEPT:
            _, self._forgotten_up_to = self._changed.popitem(last=False)

    def clear(self) -> None:
        """Drop every reply, refuse all that are being read, and wait for the next proof."""
        self._entries.clear()
        self._changed.clear()
        self._bytes = 0
        self._changes += 1
        self._forgotten_up_to = self._changes
        self._position = self._required = 0
        self._valid_until = -math.inf

    def prove(self, position: int, at: float) -> None:
        """Note that the outbox ended at `position` at the time `at`, and all of it is followed."""
        self._position = position
        if self._following and position >= self._required:
            self._valid_until = at + PROOF_SECONDS

    def _drop(self, key: str) -> None:
        entry = self._entries.pop(key, None)
        if entry is not None:
            self._bytes -= size_of(key, entry[0])


def size_of(key: str, reply: CachedReply) -> int:
    """Return the bytes of memory that a reply takes."""
    return getsizeof(key) + getsizeof(reply.body) + getsizeof(reply.etag) + ENTRY_BYTES
