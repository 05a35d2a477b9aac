"""Events are shown once confirmed, and marked final once their own transaction is."""

from __future__ import annotations

from collections.abc import Sequence

import structlog
import trio

from cvms.chain.rpc import Rpc
from cvms.chain.types import Commitment, Slot
from cvms.nursery.channels import Board
from cvms.nursery.forks import Forks
from cvms.nursery.second_look import SecondLook
from cvms.store import applied, finality
from cvms.store import cursor as cursors
from cvms.store.applied import Applied
from cvms.store.database import Database

log = structlog.get_logger(__name__)

EVERY_SECONDS = 2.0
STATUSES_PER_CALL = 256


class Settler:
    """Asks for each transaction itself: that its slot is final does not say that its block is."""

    def __init__(
        self, *, database: Database, rpc: Rpc, forks: Forks, second_look: SecondLook, board: Board
    ) -> None:
        self._database = database
        self._rpc = rpc
        self._forks = forks
        self._second_look = second_look
        self._board = board

    async def run(self) -> None:
        """Settle now and then until cancelled."""
        while True:
            await self.settle()
            self._board.task_succeeded("settler")
            await trio.sleep(EVERY_SECONDS)

    async def settle(self) -> None:
        """One round over everything that is not final and could be.

        A transaction that is in no block up to the final slot was dropped by a fork, and is taken
        back with all that followed it.
        """
        slot = await self._rpc.get_slot(Commitment.FINALIZED)
        after = -1
        dropped: list[Applied] = []
        while page := await self._unsettled(slot, after):
            dropped += await self._settle(page, slot)
            after = page[-1].place
        if dropped:
            log.error("event_not_final", signature=dropped[0].signature, slot=dropped[0].slot)
            await self._forks.take_back(seen=slot)
        await self._second_look.look(slot)

    async def _unsettled(self, slot: Slot, after: int) -> list[Applied]:
        async with self._database.connection() as conn:
            return await applied.unsettled(
                conn, up_to_slot=slot, after=after, limit=STATUSES_PER_CALL
            )

    async def _settle(self, page: Sequence[Applied], slot: Slot) -> list[Applied]:
        """Mark those that are final; return those of which a node knows better."""
        seen = await self._rpc.statuses_everywhere(
            [each.signature for each in page], min_context_slot=slot
        )
        final, dropped = [], []
        for each, status in zip(page, seen.statuses, strict=True):
            if status is None or status.slot != each.slot:
                dropped.append(each)
            elif status.commitment is Commitment.FINALIZED:
                final.append(each)
        async with self._database.transaction() as conn:
            await cursors.lock(conn)  # a fork may be taking the same rows back
            await finality.settle(conn, final)
        return dropped if seen.slot >= slot else []  # a node that is behind is no evidence
