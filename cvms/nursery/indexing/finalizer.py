"""Finalizer: marks events as finalized once their own transactions are."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import structlog

from cvms.chain.rpc.call_params import STATUSES_PER_CALL
from cvms.chain.rpc.rpc_client import RpcClient
from cvms.chain.types import Commitment, Slot
from cvms.errors import ChainUnavailable, CvmsError, GapNotClosed, RpcError
from cvms.nursery.indexing.finalized_evidence import is_finalized
from cvms.nursery.indexing.finalized_recheck import FinalizedRecheck
from cvms.nursery.indexing.fork_rollback import ForkRollback
from cvms.store.index import applied_transactions, finality
from cvms.store.index.applied_transactions import AppliedTransaction
from cvms.store.postgres.database import Database

log = structlog.get_logger(__name__)

FINALIZE_SECONDS = 2.0


@dataclass(slots=True, kw_only=True, eq=False)
class Finalizer:
    """Marks each transaction by its own status: a finalized slot says nothing about its block."""

    database: Database
    rpc: RpcClient
    forks: ForkRollback
    recheck: FinalizedRecheck

    async def run_once(self) -> None:
        """Mark what has become final, in all slots up to the finalized one.

        A transaction in no block up to that slot was dropped by a fork. Roll back from there on.
        Rows are rechecked even if that cannot be known; then raises what the rollback raises.
        """
        slot = await self.rpc.get_slot(Commitment.FINALIZED)
        after = -1
        unproven: CvmsError | None = None
        while page := await self._not_final(slot, after):
            reached, dropped = await self._finalize(page, slot)
            if dropped is not None:
                if reached >= slot:  # a node that is behind is no evidence
                    unproven = await self._roll_back(dropped, slot)
                break
            after = page[-1].place
        await self.recheck.run(slot)
        if unproven is not None:
            raise unproven

    async def _roll_back(self, dropped: AppliedTransaction, slot: Slot) -> CvmsError | None:
        """Roll back from the transaction on; return the error if nothing proves that it has to."""
        try:
            if await self.forks.roll_back(seen=slot):
                log.error("transaction_dropped", signature=dropped.signature, slot=dropped.slot)
        except (GapNotClosed, RpcError, ChainUnavailable) as error:
            return error
        return None

    async def _not_final(self, slot: Slot, after: int) -> list[AppliedTransaction]:
        async with self.database.connection() as conn:
            return await applied_transactions.not_final(
                conn, up_to_slot=slot, after=after, limit=STATUSES_PER_CALL
            )

    async def _finalize(
        self, page: Sequence[AppliedTransaction], slot: Slot
    ) -> tuple[Slot, AppliedTransaction | None]:
        """Mark the finalized transactions before the first one that is not in its block.

        Return the slot that the statuses hold for, and that first one. Nothing after it is marked:
        the last finalized transaction has to precede it, to show how far back the nodes know.
        """
        seen = await self.rpc.statuses_everywhere(
            [each.signature for each in page], min_context_slot=slot
        )
        final: list[AppliedTransaction] = []
        dropped: AppliedTransaction | None = None
        for row, status in zip(page, seen.statuses, strict=True):
            if status is None and seen.slot >= slot and await is_finalized(self.rpc, row):
                final.append(row)  # the nodes have it, but have lost its status
            elif status is None or status.slot != row.slot:
                dropped = row
                break
            elif status.commitment is Commitment.FINALIZED:
                final.append(row)
        async with self.database.transaction() as conn:
            await finality.mark_final(conn, final)
        return seen.slot, dropped
