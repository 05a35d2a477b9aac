"""One-slot channels that wake a waiting task."""

from __future__ import annotations

import trio


class Wakeup:
    """Wakes one waiting task. Waking never waits, and pending wake-ups merge into one."""

    def __init__(self) -> None:
        self._send, self._receive = trio.open_memory_channel[None](1)

    def wake(self) -> None:
        """Make the current or the next `wait` return."""
        try:
            self._send.send_nowait(None)
        except trio.WouldBlock:
            return

    async def wait(self, max_seconds: float) -> bool:
        """Wait for a wake-up. Return False if none came within `max_seconds`."""
        with trio.move_on_after(max_seconds):
            await self._receive.receive()
            return True
        return False


class SubmitWakeup(Wakeup):
    """Tells the submitter that `submissions` holds something new to send."""


class OutboxWakeup(Wakeup):
    """Tells the broadcaster that `outbox` may hold something new to publish."""


class TvlWakeup(Wakeup):
    """Tells the totals publisher that balances of vaults have changed."""


class TimelockWakeup(Wakeup):
    """Tells the timelock scheduler that a vault holds something new that falls due."""
