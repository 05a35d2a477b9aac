"""Look at the books and at the service itself, and raise and resolve alerts.

Withdrawals and the reconciler's findings are read as they come, from where the database says that
somebody has looked up to: nothing is missed while no monitor runs, and nothing is told twice by
several. What is so or not so is looked at now and then. Each rule is a transaction of its own under
one lock, so that two replicas raise one alert.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime

import trio
from solders.pubkey import Pubkey

from cvms.metrics import Metrics
from cvms.nursery.alerts.ledger_conditions import (
    difference_observations,
    low_balance_observation,
    quarantine_observation,
    withdrawal_observations,
)
from cvms.nursery.alerts.rules import RESOLVE_AFTER, Bounds, is_low, recovery_bound
from cvms.nursery.alerts.service_conditions import (
    component_observations,
    fee_payer_observation,
    task_observations,
)
from cvms.nursery.channels.hub import Hub, OutboxFrame
from cvms.nursery.channels.indexer_progress import IndexerProgress
from cvms.nursery.channels.status_board import OperatorFunds, StatusBoard
from cvms.nursery.channels.wakeups import OutboxWakeup, Wakeup
from cvms.store.alerts import alerts, lifecycle, queries
from cvms.store.alerts.alerts import Observation
from cvms.store.alerts.lifecycle import AlertWebhook
from cvms.store.analytics import aggregates
from cvms.store.postgres.database import Database
from cvms.store.postgres.driver.connection import Connection

POLL_SECONDS = 10.0
MIN_POLL_SECONDS = 1.0
"""A busy chain does not need a look at every event."""
FEE_PAYER_SECONDS = 30.0
PAGE_SIZE = 500
"""Rows of one transaction. What is beyond them follows at once, or at the next look."""
WARM_UP_SECONDS = 60.0
"""Until then whoever still sees something has said so: no alert ends before."""
ALERTED_ONCE = ("large_withdrawal", "emergency_withdrawal")
EVENTS = ("withdraw_event", "vault_balance_update")


class AlertMonitor:
    """Raises what is to be looked at. Any number of replicas may run one."""

    def __init__(
        self,
        *,
        database: Database,
        operator: Pubkey,
        funds: OperatorFunds,
        hub: Hub,
        progress: IndexerProgress,
        outbox_wake: OutboxWakeup,
        bounds: Bounds,
        low_balance: int,
        fee_payer_minimum: int,
        hook: AlertWebhook | None,
        board: StatusBoard,
        metrics: Metrics,
        poll_seconds: float = POLL_SECONDS,
    ) -> None:
        self._database = database
        self._operator = operator
        self._funds = funds
        self._hub = hub
        self._progress = progress
        self._outbox_wake = outbox_wake
        self._bounds = bounds
        self._low_balance = low_balance
        self._fee_payer_minimum = fee_payer_minimum
        self._hook = hook
        self._board = board
        self._metrics = metrics
        self._poll_seconds = poll_seconds
        self._started_at = 0.0

    async def run(self) -> None:
        """Look on every event and now and then, until cancelled."""
        self._started_at = trio.current_time()
        while True:
            # Heard before it is looked: what comes in between is a reason for the next look.
            with self._listening() as moved:
                await self.run_once()
                self._board.task_succeeded("monitor")
                if await moved.wait(self._poll_seconds):
                    await trio.sleep(MIN_POLL_SECONDS)

    @contextmanager
    def _listening(self) -> Iterator[Wakeup]:
        """Woken, within the block, by every event of a vault, whichever replica applied it."""
        moved = _EventWakeup()
        self._hub.register(moved)
        for topic in EVENTS:
            self._hub.subscribe(moved, topic)
        try:
            yield moved
        finally:
            self._hub.unregister(moved)

    async def run_once(self) -> None:
        """Apply every rule once."""
        while await self._in_own_transaction(self._withdrawals) == PAGE_SIZE:
            pass
        while await self._in_own_transaction(self._differences) == PAGE_SIZE:
            pass
        for rule in (self._low_balances, self._quarantined, self._conditions, self._resolve_stale):
            await self._in_own_transaction(rule)
        async with self._database.connection() as conn:
            open_now = await alerts.counts(conn)
        self._metrics.alerts_open.clear()
        for (kind, severity), count in open_now.items():
            self._metrics.alerts_open.labels(kind=kind, severity=severity).set(count)

    async def _in_own_transaction(self, rule: Callable[[Connection], Awaitable[int]]) -> int:
        """One rule in one transaction; returns what the rule says, how many rows it has seen."""
        async with self._database.transaction() as conn:
            await alerts.lock(conn)
            seen = await rule(conn)
        if seen:
            self._outbox_wake.wake()
        return seen

    async def _withdrawals(self, conn: Connection) -> int:
        rows = await queries.withdrawals(conn, PAGE_SIZE)
        if rows:
            tvl = (await aggregates.holdings(conn)).total
            new = [row for row in rows if not row.old]
            found = [
                each for row in new for each in withdrawal_observations(row, self._bounds, tvl=tvl)
            ]
            await self._observe(conn, await _not_yet_alerted(conn, found))
        return len(rows)

    async def _differences(self, conn: Connection) -> int:
        rows = await queries.differences(conn, PAGE_SIZE)
        await self._observe(conn, difference_observations(rows))
        return len(rows)

    async def _low_balances(self, conn: Connection) -> int:
        bound = self._low_balance
        over = await queries.recovered_vaults(conn, recovery_bound(bound))
        rows = await queries.low_vaults(conn, bound, PAGE_SIZE)
        await self._observe(conn, [low_balance_observation(row, bound) for row in rows])
        await lifecycle.resolve(conn, over, hook=self._hook)
        return len(rows) + len(over)

    async def _quarantined(self, conn: Connection) -> int:
        over = await queries.released(conn)
        rows = await queries.quarantined(conn, PAGE_SIZE)
        await self._observe(conn, [quarantine_observation(row) for row in rows])
        await lifecycle.resolve(conn, over, hook=self._hook)
        return len(rows) + len(over)

    async def _conditions(self, conn: Connection) -> int:
        """What this process sees; each replica says for itself what is still so."""
        tasks = self._board.tasks
        # A task that is not well is a part that is not ready, too, and has an alert of its own.
        parts = {k: part for k, part in self._board.components.items() if not k.startswith("task ")}
        seen = component_observations(parts, gap=self._progress.problem, now=datetime.now(UTC))
        last_errors = {name: task.last_error for name, task in tasks.items()}
        seen += task_observations(self._board.liveness_faults(), last_errors)
        seen += await self._fee_payer(conn)
        return await self._observe(conn, seen)

    async def _fee_payer(self, conn: Connection) -> list[Observation]:
        held, minimum, address = self._funds.lamports, self._fee_payer_minimum, str(self._operator)
        if held is None:
            return []
        already = address in await alerts.subjects(conn, "fee_payer_low")
        low = is_low(held, minimum, was_low=already)
        return [fee_payer_observation(address, held, minimum)] if low else []

    async def _resolve_stale(self, conn: Connection) -> int:
        """Resolve what nobody has seen for a while; not right after a time when nobody looked."""
        if trio.current_time() - self._started_at < WARM_UP_SECONDS:
            return 0
        return await lifecycle.resolve_stale(conn, RESOLVE_AFTER, hook=self._hook)

    async def _observe(self, conn: Connection, seen: Sequence[Observation]) -> int:
        return await lifecycle.observe(conn, seen, hook=self._hook)


class _EventWakeup(Wakeup):
    """A subscriber to whom it only matters that there was something."""

    def offer(self, frame: OutboxFrame) -> None:
        self.wake()

    def flush(self) -> None:
        return

    def drop_slow(self) -> None:
        self.wake()


async def _not_yet_alerted(conn: Connection, found: Sequence[Observation]) -> list[Observation]:
    """Those that are new: after a fork the same withdrawal comes in another block."""
    told: set[tuple[str, str]] = set()
    for kind in ALERTED_ONCE:
        subjects = [each.subject for each in found if each.kind == kind]
        if subjects:
            told |= {(kind, subject) for subject in await alerts.known(conn, kind, subjects)}
    return [each for each in found if (each.kind, each.subject) not in told]
