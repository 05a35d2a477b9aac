"""Keep the value locked in all vaults known: in the metrics, and to whoever subscribes to it."""

from __future__ import annotations

import trio

from cvms.chain.types import Commitment
from cvms.metrics import Metrics
from cvms.nursery.channels import Board, OutboxWake, TvlWake
from cvms.store import outbox, vaults
from cvms.store.database import Database
from cvms.store.outbox import OutboxMessage
from cvms.store.vaults import Tvl

LEAST_SECONDS_BETWEEN = 1.0
"""The sum reads every vault; a busy chain does not need it more often."""


class Balances:
    """Publishes `tvl_update` when the sum of the vaults has changed."""

    def __init__(
        self,
        *,
        database: Database,
        wake: TvlWake,
        outbox_wake: OutboxWake,
        interval: float,
        board: Board,
        metrics: Metrics,
    ) -> None:
        self._database = database
        self._wake = wake
        self._outbox_wake = outbox_wake
        self._interval = interval
        self._board = board
        self._metrics = metrics
        self._told: tuple[int, int] | None = None

    async def run(self) -> None:
        """Look on every wake, and every `interval` seconds, until cancelled."""
        while True:
            await self.look()
            self._board.task_succeeded("balances")
            await trio.sleep(LEAST_SECONDS_BETWEEN)
            await self._wake.wait(self._interval)

    async def look(self) -> None:
        """Read the sum, set the gauge, and tell if it is not what was told last."""
        async with self._database.transaction() as conn:
            now = await vaults.tvl(conn)
            changed = (now.total, now.vaults) != self._told
            if changed:
                await outbox.append(conn, [_message(now)])
        self._metrics.total_value_locked.set(now.total)
        if changed:
            self._told = (now.total, now.vaults)
            self._outbox_wake.wake()


def _message(tvl: Tvl) -> OutboxMessage:
    return OutboxMessage(
        topic="tvl_update",
        owner=None,
        slot=tvl.slot or 0,
        signature=None,
        commitment=Commitment.CONFIRMED,
        data={"total": tvl.total, "vaults": tvl.vaults, "slot": tvl.slot},
    )
