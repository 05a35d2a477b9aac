"""Tell owners what falls due in their vaults, and give matured timelocks back on chain.

Each notice is marked in the transaction that writes it to the outbox, and each release is written
down before it is sent, like everything that is submitted: what is in memory here may be lost.
"""

from __future__ import annotations

from collections.abc import Mapping
from operator import attrgetter
from typing import Any

import trio

from cvms.chain.rpc.rpc_client import RpcClient
from cvms.chain.transactions.chain_clock import ChainTime, chain_now
from cvms.chain.types import Commitment
from cvms.nursery.channels.indexer_progress import IndexerProgress
from cvms.nursery.channels.status_board import StatusBoard
from cvms.nursery.channels.wakeups import OutboxWakeup, TimelockWakeup
from cvms.nursery.scheduled.timelock_releases import TimelockReleaser
from cvms.store.messaging import outbox
from cvms.store.messaging.outbox import OutboxMessage
from cvms.store.postgres.database import Database
from cvms.store.vaults import maturities
from cvms.store.vaults.maturities import Maturity

BATCH_SIZE = 500
"""Told in one transaction: whoever else has something to tell waits meanwhile."""
MIN_POLL_SECONDS = 0.4
"""Between looks: about a slot, and the chain's clock moves once a slot."""
BUSY_POLL_SECONDS = 1.0
"""Between looks while timelocks are matured, and for the indexer to have caught up."""
POLL_SECONDS = 30.0
"""The chain's clock may run ahead of ours: look at least this often."""


class TimelockScheduler:
    """Sleeps until the next thing falls due by the chain's clock, or the indexer has seen more."""

    def __init__(
        self,
        *,
        database: Database,
        rpc: RpcClient,
        progress: IndexerProgress,
        notice_seconds: int,
        releases: TimelockReleaser | None,
        wake: TimelockWakeup,
        outbox_wake: OutboxWakeup,
        board: StatusBoard,
    ) -> None:
        self._database = database
        self._rpc = rpc
        self._progress = progress
        self._notice = notice_seconds
        self._releases = releases
        self._wake = wake
        self._outbox_wake = outbox_wake
        self._board = board

    async def run(self) -> None:
        """Look whenever something may be due, until cancelled."""
        while True:
            seconds = await self.run_once()
            self._board.task_succeeded("timelocks")
            await trio.sleep(MIN_POLL_SECONDS)
            await self._wake.wait(seconds)

    async def run_once(self) -> float:
        """Do all that is due by the chain's clock; returns in how many seconds to look again."""
        if self._progress.slot is None:
            return BUSY_POLL_SECONDS  # rows from before a long stop would tell of what is long gone
        now = await chain_now(self._rpc)
        await self._notify(now)
        if self._releases is not None and await self._releases.run_once(now.seconds):
            return BUSY_POLL_SECONDS
        async with self._database.connection() as conn:
            due = await maturities.next_notice(conn, notice=self._notice)
        return POLL_SECONDS if due is None else min(POLL_SECONDS, max(0, due - now.seconds))

    async def _notify(self, now: ChainTime) -> None:
        """Mark and write down, both or neither, all that owners are to know by now."""
        told = BATCH_SIZE
        while told == BATCH_SIZE:
            told = await self._notify_batch(now)
            if told:
                self._outbox_wake.wake()

    async def _notify_batch(self, now: ChainTime) -> int:
        async with self._database.transaction() as conn:
            soon = await maturities.claim_due_soon(
                conn, now=now.seconds, notice=self._notice, limit=BATCH_SIZE
            )
            due = await maturities.claim_due(conn, now=now.seconds, limit=BATCH_SIZE)
            notices = [_notice(each, DUE_SOON_NOTICES, now) for each in _in_order(soon)]
            notices += [_notice(each, DUE_NOTICES, now) for each in _in_order(due)]
            await outbox.append(conn, notices)
        return max(len(soon), len(due))


DUE_SOON_NOTICES = {"timelock": "due_soon"}
DUE_NOTICES = {"timelock": "available", "withdrawal": "withdrawal_available"}


def _in_order(notices: list[Maturity]) -> list[Maturity]:
    return sorted(notices, key=attrgetter("due_at", "owner"))


def _notice(maturity: Maturity, kinds: Mapping[str, str], now: ChainTime) -> OutboxMessage:
    data: dict[str, Any] = {
        "owner": maturity.owner,
        "vault": maturity.vault,
        "kind": kinds[maturity.kind],
        "amount": maturity.amount,
        "due_at": maturity.due_at,
        "remaining_seconds": max(0, maturity.due_at - now.seconds),
    }
    return OutboxMessage(
        topic="timelock_event",
        owner=maturity.owner,
        slot=now.slot,
        signature=None,
        commitment=Commitment.CONFIRMED,
        data=data,
    )
