"""Notices to owners about what falls due in their vaults, and releases of matured timelocks.

Each notice is marked as sent in the transaction that writes it to the outbox, and each release is
recorded before it is sent, as every submission is. So this task's memory may be lost at any time.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from operator import attrgetter
from typing import Any

import trio

from cvms.chain.program.accounts import VALID_SECONDS
from cvms.chain.rpc.rpc_client import RpcClient
from cvms.chain.transactions.chain_clock import ChainTime, chain_now
from cvms.chain.types import Commitment
from cvms.nursery.channels.indexer_progress import IndexerProgress
from cvms.nursery.channels.status_board import StatusBoard
from cvms.nursery.channels.wakeups import OutboxWakeup, TimelockWakeup
from cvms.nursery.scheduled.timelock_releases import TimelockReleaser
from cvms.store.messaging import outbox
from cvms.store.messaging.outbox import OutboxMessage
from cvms.store.messaging.topics import Topic
from cvms.store.postgres.database import Database
from cvms.store.vaults import maturities
from cvms.store.vaults.maturities import Maturity

BATCH_SIZE = 500
"""Notices in one transaction, which blocks every other writer of the outbox."""
MIN_POLL_SECONDS = 0.4
"""About a slot: the chain's clock advances once a slot."""
BUSY_POLL_SECONDS = 1.0
"""While matured timelocks remain, and while the indexer catches up."""
POLL_SECONDS = 30.0
"""Upper bound of the wait for the next due time: the chain's clock may run ahead of ours."""


@dataclass(slots=True, kw_only=True, eq=False)
class TimelockScheduler:
    """Sends notices and releases as they fall due by the chain's clock."""

    database: Database
    rpc: RpcClient
    progress: IndexerProgress
    notice_seconds: int
    releases: TimelockReleaser | None
    wake: TimelockWakeup
    outbox_wake: OutboxWakeup
    board: StatusBoard

    async def run(self) -> None:
        """Run whenever something may be due, until cancelled."""
        while True:
            seconds = await self.run_once()
            self.board.task_succeeded("timelocks")
            await trio.sleep(MIN_POLL_SECONDS)
            await self.wake.wait(seconds)

    async def run_once(self) -> float:
        """Do all that is due, and return the seconds until the next run."""
        if self.progress.slot is None:
            return BUSY_POLL_SECONDS  # after a long stop, rows are out of date until indexed
        now = await chain_now(self.rpc)
        await self._notify(now)
        if self.releases is not None and await self.releases.run_once(now.seconds):
            return BUSY_POLL_SECONDS
        async with self.database.connection() as conn:
            due = await maturities.next_notice(conn, notice=self.notice_seconds)
        return POLL_SECONDS if due is None else min(POLL_SECONDS, max(0, due - now.seconds))

    async def _notify(self, now: ChainTime) -> None:
        """Mark and write all notices that are due."""
        sent = BATCH_SIZE
        while sent == BATCH_SIZE:
            sent = await self._notify_batch(now)
            if sent:
                self.outbox_wake.wake()

    async def _notify_batch(self, now: ChainTime) -> int:
        async with self.database.transaction() as conn:
            soon = await maturities.claim_due_soon(
                conn, now=now.seconds, notice=self.notice_seconds, limit=BATCH_SIZE
            )
            due = await maturities.claim_due(conn, now=now.seconds, limit=BATCH_SIZE)
            notices = [_notice(maturity, DUE_SOON_NOTICES, now) for maturity in _in_order(soon)]
            notices += [
                _notice(maturity, DUE_NOTICES, now)
                for maturity in _in_order(due)
                if not _has_expired(maturity, now)
            ]
            await outbox.append(conn, notices)
        return max(len(soon), len(due))


DUE_SOON_NOTICES = {"timelock": "due_soon"}
DUE_NOTICES = {"timelock": "available", "withdrawal": "withdrawal_available"}


def _in_order(maturities: list[Maturity]) -> list[Maturity]:
    return sorted(maturities, key=attrgetter("due_at", "owner"))


def _has_expired(maturity: Maturity, now: ChainTime) -> bool:
    return maturity.kind == "withdrawal" and maturity.due_at + VALID_SECONDS < now.seconds


def _notice(maturity: Maturity, kinds: Mapping[str, str], now: ChainTime) -> OutboxMessage:
    data: dict[str, Any] = {
        "owner": maturity.owner,
        "vault": maturity.vault,
        "kind": kinds[maturity.kind],
        "amount": maturity.amount,
        "due_at": maturity.due_at,
        "remaining_seconds": max(0, maturity.due_at - now.seconds),
    }
    if maturity.kind == "withdrawal":
        data["expires_at"] = maturity.due_at + VALID_SECONDS
    return OutboxMessage(
        topic=Topic.TIMELOCK,
        owner=maturity.owner,
        slot=now.slot,
        signature=None,
        commitment=Commitment.CONFIRMED,
        data=data,
    )
