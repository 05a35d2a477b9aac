"""Events are shown once confirmed, and marked final once their own transaction is."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import takewhile

import structlog
import trio

from cvms.chain.rpc.limits import STATUSES_PER_CALL
from cvms.chain.rpc.responses import SignatureStatus
from cvms.chain.rpc.rpc_client import RpcClient
from cvms.chain.types import Commitment, Slot
from cvms.nursery.channels.status_board import StatusBoard
from cvms.nursery.indexing.finalized_recheck import FinalizedRecheck
from cvms.nursery.indexing.fork_rollback import ForkRollback
from cvms.store.index import applied_transactions, finality
from cvms.store.index.applied_transactions import AppliedTransaction
from cvms.store.postgres.database import Database

log = structlog.get_logger(__name__)

EVERY_SECONDS = 2.0


class Finalizer:
    """Asks for each transaction itself: that its slot is final does not say that its block is."""

    def __init__(
        self,
        *,
        database: Database,
        rpc: RpcClient,
        forks: ForkRollback,
        recheck: FinalizedRecheck,
        board: StatusBoard,
    ) -> None:
        self._database = database
        self._rpc = rpc
        self._forks = forks
        self._recheck = recheck
        self._board = board

    async def run(self) -> None:
        """Settle now and then until cancelled."""
        while True:
            await self.run_once()
            self._board.task_succeeded("settler")
            await trio.sleep(EVERY_SECONDS)

    async def run_once(self) -> None:
        """One round over everything that is not final and could be.

        A transaction that is in no block up to the final slot was dropped by a fork, and is taken
        back with all that followed it.
        """
        slot = await self._rpc.get_slot(Commitment.FINALIZED)
        after = -1
        while page := await self._not_final(slot, after):
            reached, dropped = await self._finalize(page, slot)
            if dropped is not None:
                if reached >= slot:  # a node that is behind is no evidence
                    log.error("event_not_final", signature=dropped.signature, slot=dropped.slot)
                    await self._forks.roll_back(seen=slot)
                break
            after = page[-1].place
        await self._recheck.run(slot)

    async def _not_final(self, slot: Slot, after: int) -> list[AppliedTransaction]:
        async with self._database.connection() as conn:
            return await applied_transactions.not_final(
                conn, up_to_slot=slot, after=after, limit=STATUSES_PER_CALL
            )

    async def _finalize(
        self, page: Sequence[AppliedTransaction], slot: Slot
    ) -> tuple[Slot, AppliedTransaction | None]:
        """Mark those that are final, up to the first of which the nodes know better: that one.

        Nothing after it is marked: what is final before it shows where their knowledge begins.
        """
        seen = await self._rpc.statuses_everywhere(
            [each.signature for each in page], min_context_slot=slot
        )
        pairs = list(zip(page, seen.statuses, strict=True))
        there = list(takewhile(lambda pair: _in_its_block(*pair), pairs))
        final = [row for row, status in there if _is_final(status)]
        async with self._database.transaction() as conn:
            await finality.mark_final(conn, final)
        return seen.slot, page[len(there)] if len(there) < len(page) else None


def _in_its_block(row: AppliedTransaction, status: SignatureStatus | None) -> bool:
    return status is not None and status.slot == row.slot


def _is_final(status: SignatureStatus | None) -> bool:
    return status is not None and status.commitment is Commitment.FINALIZED
