"""Events are shown once confirmed, and marked final once their own transaction is."""

from __future__ import annotations

import structlog
import trio

from cvms.chain.rpc import Rpc
from cvms.chain.types import Commitment
from cvms.nursery.channels import Board
from cvms.store import finality
from cvms.store.database import Database
from cvms.store.finality import Unsettled

log = structlog.get_logger(__name__)

EVERY_SECONDS = 2.0
STATUSES_PER_CALL = 256


class Settler:
    """Asks for each transaction itself: that its slot is final does not say that its block is."""

    def __init__(self, *, database: Database, rpc: Rpc, board: Board) -> None:
        self._database = database
        self._rpc = rpc
        self._board = board
        self._missing: set[str] = set()

    async def run(self) -> None:
        """Settle now and then until cancelled."""
        while True:
            await self.settle()
            self._board.task_succeeded("settler")
            await trio.sleep(EVERY_SECONDS)

    async def settle(self) -> None:
        """One round over everything that is not final and could be."""
        slot = await self._rpc.get_slot(Commitment.FINALIZED)
        after = finality.START
        while True:
            async with self._database.connection() as conn:
                page = await finality.unsettled(
                    conn, up_to_slot=slot, after=after, limit=STATUSES_PER_CALL
                )
            if not page:
                return
            await self._settle(page)
            after = page[-1]

    async def _settle(self, page: list[Unsettled]) -> None:
        statuses = await self._rpc.get_signature_statuses([each.signature for each in page])
        final = []
        for each, status in zip(page, statuses, strict=True):
            if status is not None and status.commitment is Commitment.FINALIZED:
                final.append(each.signature)
            elif each.signature not in self._missing:
                self._missing.add(each.signature)
                log.error("event_not_final", signature=each.signature, slot=each.slot)
        self._missing -= set(final)
        async with self._database.connection() as conn:
            await finality.settle(conn, final)
