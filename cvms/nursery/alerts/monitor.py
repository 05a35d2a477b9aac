"""Alert monitor: evaluates the ledger and the service itself, and raises and resolves alerts.

Withdrawals and the reconciler's differences are read from a cursor in the database, so nothing is
missed while no monitor runs, and several monitors report nothing twice. Conditions are evaluated at
every run. Each rule runs in a transaction of its own under one lock, so that two replicas raise one
alert.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from functools import partial

import trio

from cvms.metrics import Metrics
from cvms.nursery.alerts.foreign_conditions import change_observation, transfers_observation
from cvms.nursery.alerts.ledger_conditions import (
    difference_observations,
    low_balance_observation,
    movements_observation,
    paused_webhook_observation,
    quarantine_observation,
    withdrawal_observations,
)
from cvms.nursery.alerts.program_conditions import (
    event_observation,
    exit_observation,
    pause_observation,
)
from cvms.nursery.alerts.rules import RESOLVE_AFTER, Bounds, is_low, recovery_bound
from cvms.nursery.alerts.service_conditions import (
    check_observations,
    component_observations,
    danger_observations,
    fee_payer_observation,
    task_observations,
    warning_observations,
)
from cvms.nursery.alerts.silence_conditions import (
    LastSnapshot,
    deaf_observation,
    silence_observations,
)
from cvms.nursery.channels.event_wakeup import woken_by
from cvms.nursery.channels.hub import Hub
from cvms.nursery.channels.indexer_progress import IndexerProgress
from cvms.nursery.channels.status_board import StatusBoard
from cvms.nursery.channels.wakeups import OutboxWakeup
from cvms.signing.signer_set import SignerSet
from cvms.store.alerts import (
    alerts,
    foreign_changes,
    lifecycle,
    program_events,
    queries,
    silence,
)
from cvms.store.alerts.alerts import Observation
from cvms.store.alerts.lifecycle import AlertWebhook
from cvms.store.analytics import aggregates
from cvms.store.messaging import leader_lease, outbox, webhook_deliveries
from cvms.store.messaging.topics import ROW_WRITTEN, Topic
from cvms.store.messaging.webhooks import endpoints
from cvms.store.postgres.database import Database
from cvms.store.postgres.driver.connection import Connection

POLL_SECONDS = 10.0
MIN_POLL_SECONDS = 1.0
"""Limits the load on a busy chain, where every event wakes the monitor."""
PAGE_SIZE = 500
"""Rows read in one transaction. Further ones follow at once, or in the next run."""
MOVEMENTS_PAGE_SIZE = 2000
"""Lines of the history that are looked at in one transaction, each with the few before it."""
ALL_VAULTS_SECONDS = 60.0
"""Between two examinations of all vaults' balances. In between, only the changed ones are."""
WARM_UP_SECONDS = 60.0
"""After a start, until every replica has reported what it observes. No alert ends before."""
ALERTED_ONCE = ("large_withdrawal", "emergency_withdrawal")
"""Kinds with one alert for each withdrawal."""
WEBHOOK_WARNING = "alert_webhook"
TOPICS = (Topic.WITHDRAW, Topic.BALANCE)
TOPICS_OF_ROWS = (Topic.BALANCE, ROW_WRITTEN)
"""Each vault's row that is written appears in one of them."""


@dataclass(frozen=True, slots=True)
class ExaminedBalances:
    """The outbox position up to which low balances were examined, and when all are due again."""

    position: int
    all_due_at: float


@dataclass(slots=True, kw_only=True, eq=False)
class AlertMonitor:
    """Raises and resolves alerts. Any number of replicas may run one."""

    database: Database
    signers: SignerSet
    hub: Hub
    progress: IndexerProgress
    outbox_wake: OutboxWakeup
    bounds: Bounds
    low_balance: int
    fee_payer_minimum: int
    hook: AlertWebhook | None
    board: StatusBoard
    metrics: Metrics
    poll_seconds: float = POLL_SECONDS
    _started_at: float = field(default=0.0, init=False)
    _examined: ExaminedBalances | None = field(default=None, init=False)
    _snapshot: LastSnapshot | None = field(default=None, init=False)

    async def run(self) -> None:
        """Run once after each event, and every `poll_seconds`, until cancelled."""
        self._started_at = trio.current_time()
        while True:
            # Subscribed before the run: an event that arrives during it causes the next one.
            with woken_by(self.hub, TOPICS) as wake:
                with self.metrics.tasks.timed("monitor"):
                    await self.run_once()
                self.board.task_succeeded("monitor")
                if await wake.wait(self.poll_seconds):
                    await trio.sleep(MIN_POLL_SECONDS)

    async def run_once(self) -> None:
        """Apply every rule once."""
        while await self._in_own_transaction(self._withdrawals) == PAGE_SIZE:
            pass
        while await self._in_own_transaction(self._movements) == MOVEMENTS_PAGE_SIZE:
            pass
        while await self._in_own_transaction(self._differences) == PAGE_SIZE:
            pass
        await self._low_balances()
        for rule in (
            self._quarantined,
            self._paused_webhooks,
            self._program_events,
            self._foreign_changes,
            self._exits_and_pauses,
            self._conditions,
            self._silence,
            self._resolve_stale,
        ):
            await self._in_own_transaction(rule)
        async with self.database.connection() as conn:
            open_now = await alerts.counts(conn)
        self.metrics.alerts.show(open_now)

    async def _in_own_transaction(self, rule: Callable[[Connection], Awaitable[int]]) -> int:
        """Apply a rule in its own transaction, and return the number of rows that it read."""
        async with self.database.transaction() as conn:
            await alerts.lock(conn)
            seen = await rule(conn)
        if seen:
            self.outbox_wake.wake()
        return seen

    async def _withdrawals(self, conn: Connection) -> int:
        rows = await queries.withdrawals(conn, PAGE_SIZE)
        if rows:
            tvl = (await aggregates.holdings(conn)).total
            new = [row for row in rows if not row.old]
            seen = [
                observation
                for row in new
                for observation in withdrawal_observations(row, self.bounds, tvl=tvl)
            ]
            await self._observe(conn, await _not_yet_alerted(conn, seen))
        return len(rows)

    async def _movements(self, conn: Connection) -> int:
        bound = self.bounds.movements_per_minute
        began = await self._began(conn)
        page = await queries.movements(conn, bound, MOVEMENTS_PAGE_SIZE, began=began)
        seen = [movements_observation(row, bound) for row in page.rapid]
        await self._observe(conn, [*seen, *map(transfers_observation, page.foreign)])
        return page.examined

    async def _foreign_changes(self, conn: Connection) -> int:
        """Report what has changed without this service, once the first slot is indexed."""
        if (began := await self._began(conn)) is None:
            return 0
        rows = await foreign_changes.new_changes(conn, began, PAGE_SIZE)
        return await self._observe(conn, [change_observation(row) for row in rows])

    async def _began(self, conn: Connection) -> int | None:
        report = await leader_lease.report(conn) if self.progress.slot is None else None
        return await foreign_changes.began(conn, report.slot if report else self.progress.slot)

    async def _differences(self, conn: Connection) -> int:
        rows = await queries.differences(conn, PAGE_SIZE)
        await self._observe(conn, difference_observations(rows))
        return len(rows)

    async def _low_balances(self) -> None:
        """Examine the vaults that have changed since the last run, and now and then all."""
        now, examined = trio.current_time(), self._examined
        async with self.database.connection() as conn:
            head = await outbox.head(conn)
            owners = await self._changed_owners(conn, head)
        complete = (
            await self._in_own_transaction(partial(self._low_balances_of, owners)) < PAGE_SIZE
        )
        if not complete:
            self._examined = None
        elif owners is None or examined is None:
            self._examined = ExaminedBalances(head, now + ALL_VAULTS_SECONDS)
        else:
            self._examined = replace(examined, position=head)

    async def _changed_owners(self, conn: Connection, head: int) -> list[str] | None:
        """Return the owners of the rows written up to `head`; None if all are to be examined."""
        examined = self._examined
        if examined is None or trio.current_time() >= examined.all_due_at:
            return None
        found = await outbox.owners_after(conn, examined.position, head=head, topics=TOPICS_OF_ROWS)
        owners = [owner for owner in found if owner is not None]
        return owners if len(owners) == len(found) else None

    async def _low_balances_of(self, owners: Sequence[str] | None, conn: Connection) -> int:
        bound = self.low_balance
        ended = await queries.recovered_vaults(conn, recovery_bound(bound), owners)
        rows = await queries.low_vaults(conn, bound, PAGE_SIZE, owners)
        await self._observe(conn, [low_balance_observation(row, bound) for row in rows])
        await lifecycle.resolve(conn, ended, hook=self.hook)
        return len(rows) + len(ended)

    async def _quarantined(self, conn: Connection) -> int:
        ended = await queries.released(conn)
        rows = await queries.quarantined(conn, PAGE_SIZE)
        await self._observe(conn, [quarantine_observation(row) for row in rows])
        await lifecycle.resolve(conn, ended, hook=self.hook)
        return len(rows) + len(ended)

    async def _paused_webhooks(self, conn: Connection) -> int:
        rows = await endpoints.paused(conn, PAGE_SIZE)
        return await self._observe(conn, [paused_webhook_observation(row) for row in rows])

    async def _program_events(self, conn: Connection) -> int:
        """Report what governance and owners have announced; what has ended needs no attention."""
        ended = await program_events.ended_guard_changes(conn)
        rows = await program_events.new_events(conn, PAGE_SIZE)
        rows += await program_events.new_guard_changes(conn, PAGE_SIZE)
        await self._observe(conn, [event_observation(row) for row in rows])
        await lifecycle.resolve(conn, ended, hook=self.hook)
        return len(rows) + len(ended)

    async def _exits_and_pauses(self, conn: Connection) -> int:
        ended = await program_events.ended_exits(conn)
        exits = await program_events.new_exits(conn, PAGE_SIZE)
        seen = [exit_observation(row) for row in exits]
        if pause := await program_events.running_pause(conn):
            seen.append(pause_observation(pause))
        told = await self._observe(conn, seen)
        return told + await lifecycle.resolve(conn, ended, hook=self.hook)

    async def _conditions(self, conn: Connection) -> int:
        """Report the conditions of this process. Each replica reports its own."""
        # A faulty task is a component too, but has an alert of its own.
        components = {
            name: status
            for name, status in self.board.components.items()
            if not name.startswith("task ")
        }
        seen = component_observations(components, gap=self.progress.problem, now=datetime.now(UTC))
        last_errors = {name: task.last_error for name, task in self.board.tasks.items()}
        seen += task_observations(self.board.liveness_faults(), last_errors)
        seen += check_observations(self.board.checks.overdue())
        await self._check_webhook(conn)
        seen += warning_observations(self.board.warnings)
        seen += danger_observations(self.board.dangers)
        seen += await self._fee_payer(conn)
        return await self._observe(conn, seen)

    async def _silence(self, conn: Connection) -> int:
        """Report work that leaves no trace, and an indexer that hears nothing."""
        traces, now = await silence.traces(conn), trio.current_time()
        if self._snapshot is None or self._snapshot.at != traces.snapshot_at:
            self._snapshot = LastSnapshot(traces.snapshot_at, now)
        seen = silence_observations(traces, self._snapshot, started=self._started_at, now=now)
        rpc = self.board.components.get("rpc")
        if (reason := self.progress.hearing.problem()) and (rpc is None or rpc.ok):
            seen.append(deaf_observation(reason))
        return await self._observe(conn, seen)

    async def _check_webhook(self, conn: Connection) -> None:
        """Say elsewhere that the operators' webhook fails, since it cannot say so itself."""
        if self.hook is None:
            return
        failures = await webhook_deliveries.alert_failures(conn)
        self.metrics.alerts.webhook_failing.set(failures.count)
        if failures.count == 0:
            self.board.warnings.pop(WEBHOOK_WARNING, None)
        else:
            self.board.warnings[WEBHOOK_WARNING] = (
                f"{failures.count} messages are not delivered: {failures.error}"
            )

    async def _fee_payer(self, conn: Connection) -> list[Observation]:
        minimum = self.fee_payer_minimum
        known = {str(each.address): each.funds.lamports for each in self.signers.signers}
        were_low = await alerts.subjects(conn, "fee_payer_low")
        return [
            fee_payer_observation(address, lamports, minimum)
            for address, lamports in known.items()
            if lamports is not None and is_low(lamports, minimum, was_low=address in were_low)
        ]

    async def _resolve_stale(self, conn: Connection) -> int:
        """Resolve what no replica has observed lately, except right after a start."""
        if trio.current_time() - self._started_at < WARM_UP_SECONDS:
            return 0
        return await lifecycle.resolve_stale(conn, RESOLVE_AFTER, hook=self.hook)

    async def _observe(self, conn: Connection, seen: Sequence[Observation]) -> int:
        return await lifecycle.observe(conn, seen, hook=self.hook)


async def _not_yet_alerted(conn: Connection, seen: Sequence[Observation]) -> list[Observation]:
    """Return the new observations: after a fork, a withdrawal may land again in another block."""
    known: set[tuple[str, str]] = set()
    for kind in ALERTED_ONCE:
        subjects = [observation.subject for observation in seen if observation.kind == kind]
        if subjects:
            known |= {(kind, subject) for subject in await alerts.known(conn, kind, subjects)}
    return [
        observation for observation in seen if (observation.kind, observation.subject) not in known
    ]
