"""One-slot channels that tell a waiting task to look again."""

from __future__ import annotations

from typing import TYPE_CHECKING

import trio

if TYPE_CHECKING:
    pass


class Wakeup:
    """Says "look again" to one waiting task. Never waits; a second wake is the same wake."""

    def __init__(self) -> None:
        self._send, self._receive = trio.open_memory_channel[None](1)

    def wake(self) -> None:
        """Let the next (or current) `wait` return. Callable from any task, at any rate."""
        try:
            self._send.send_nowait(None)
        except trio.WouldBlock:
            return

    async def wait(self, at_most: float) -> bool:
        """Return True once woken, False after `at_most` seconds without a wake."""
        with trio.move_on_after(at_most):
            await self._receive.receive()
            return True
        return False


class SubmitWakeup(Wakeup):
    """Tells the submitter that `submissions` holds something new to send."""


class OutboxWakeup(Wakeup):
    """Tells the broadcaster that `outbox` may hold something new to publish."""


class TvlWakeup(Wakeup):
    """Tells the balances task that vaults have moved."""


class TimelockWakeup(Wakeup):
    """Tells the timelocks task that vaults hold something that falls due."""
