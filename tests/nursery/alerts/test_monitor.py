"""Each condition and event is one alert, however often and by however many replicas it is seen."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

import pytest
import trio
from msgspec import structs
from solders.keypair import Keypair
from trio.testing import MockClock

from cvms.checks.finding import warning
from cvms.metrics import Metrics
from cvms.nursery.alerts import monitor as monitor_module
from cvms.nursery.alerts.monitor import ALL_VAULTS_SECONDS, AlertMonitor
from cvms.nursery.alerts.rules import RESOLVE_AFTER, Bounds
from cvms.nursery.channels.hub import Hub
from cvms.nursery.channels.indexer_progress import IndexerProgress
from cvms.nursery.channels.status_board import StatusBoard
from cvms.nursery.channels.wakeups import OutboxWakeup
from cvms.nursery.ledger.outbox_messages import row_message, vault_messages
from cvms.nursery.wiring.replica_tasks import build_broadcaster
from cvms.store.alerts import alerts, lifecycle
from cvms.store.alerts.alerts import AlertRow
from cvms.store.alerts.lifecycle import AlertWebhook
from cvms.store.analytics import aggregates
from cvms.store.messaging import outbox, webhook_deliveries
from cvms.store.messaging.webhooks import endpoints
from cvms.store.postgres.database import Database, open_database
from cvms.store.projection import vault_writer
from cvms.store.reconciliation import reconciliation_log
from cvms.store.reconciliation.reconciliation_log import ReconciliationEntry
from cvms.store.submissions import in_flight, submissions
from cvms.store.submissions.in_flight import StateChange
from cvms.store.submissions.submissions import State
from cvms.store.vaults import history
from cvms.store.vaults.history import Kind
from tests.harness.resources import signers_of
from tests.nursery.world import World, address, running, until
from tests.store.examples import history_row, vault_row

BOUNDS = Bounds(
    large_amount=1_000,
    large_percent=50,
    unusual_factor=10,
    withdrawals_per_hour=3,
    dust=0,
    movements_per_minute=10,
)


@asynccontextmanager
async def monitoring(database: Database, **changes: Any) -> AsyncIterator[AlertMonitor]:
    """The monitor of one replica."""
    defaults: dict[str, Any] = {
        "database": database,
        "signers": signers_of(Keypair()),
        "hub": Hub(),
        "progress": IndexerProgress(),
        "outbox_wake": OutboxWakeup(),
        "bounds": BOUNDS,
        "low_balance": 100,
        "fee_payer_minimum": 1_000,
        "hook": AlertWebhook(),
        "board": StatusBoard(()),
        "metrics": Metrics(),
    }
    yield AlertMonitor(**(defaults | changes))


async def withdraw(database: Database, number: int, amount: int, **changes: Any) -> None:
    """Write a withdrawal to the history, as the indexer does."""
    row = history_row(kind="withdraw", amount=amount, signature=f"sig {number}", **changes)
    async with database.connection() as conn:
        cursor = await conn.execute("SELECT now()")
        [now] = await cursor.fetchone() or []
        await history.add(conn, [structs.replace(row, block_time=changes.get("block_time", now))])


async def stored(database: Database, kind: str | None = None) -> list[AlertRow]:
    """Return the alerts, oldest first."""
    async with database.connection() as conn:
        rows = await alerts.page(conn, limit=100)
    return [row for row in reversed(rows) if kind in (None, row.kind)]


async def published(database: Database) -> list[tuple[str, str, int]]:
    """Return kind, state and count of each `security_alert` message, in order."""
    async with database.connection() as conn:
        rows = await outbox.topic_after(conn, "security_alert", 0)
    return [(row.data["kind"], row.data["state"], row.data["count"]) for row in rows]


async def queued_webhooks(database: Database) -> list[str]:
    """Return the events that wait for the operators' webhook."""
    async with database.connection() as conn:
        cursor = await conn.execute(
            "SELECT event FROM webhook_deliveries WHERE signer IS NULL ORDER BY created_at"
        )
        return [event for (event,) in await cursor.fetchall()]


async def age_alerts(database: Database, seconds: float) -> None:
    """Make all alerts older."""
    async with database.connection() as conn:
        await conn.execute(
            "UPDATE alerts SET last_seen_at = last_seen_at - make_interval(secs => %s)", [seconds]
        )


async def move(
    database: Database,
    owner: str,
    kinds: Sequence[str],
    *,
    at: datetime | None = None,
    slot: int = 100,
) -> None:
    """Write movements of one owner to the history, one a second, up to now or another time."""
    until = at or datetime.now(UTC)
    async with database.connection() as conn:
        rows = [
            history_row(
                owner=owner,
                kind=kind,
                amount=1,
                signature=f"{owner} {slot} {place}",
                block_time=until - timedelta(seconds=len(kinds) - place),
                slot=slot + place,
            )
            for place, kind in enumerate(kinds)
        ]
        await history.add(conn, rows)


EVERYTHING = [*Kind][:10]


async def test_more_than_ten_movements_of_any_kind_in_a_minute_raise_an_alert(
    database: Database,
) -> None:
    async with monitoring(database) as monitor:
        await move(database, "calm", EVERYTHING)
        await monitor.run_once()
        assert await stored(database, "rapid_movements") == []
        await move(database, "calm", ["deposit"], slot=200)
        await move(database, "busy", [*EVERYTHING, "lock", "unlock"])
        await monitor.run_once()
        one, other = sorted(await stored(database, "rapid_movements"), key=lambda row: row.subject)
        assert (one.subject, one.details["lines"], one.severity) == ("busy", 2, "warning")
        assert (other.subject, other.owner, other.details["lines"]) == ("calm", "calm", 1)
        await monitor.run_once()
        assert [row.count for row in await stored(database, "rapid_movements")] == [1, 1]
        await age_alerts(database, 599)
        await monitor.run_once()
        assert [row.state for row in await stored(database, "rapid_movements")] == ["open"] * 2
        await age_alerts(database, 2)
        monitor._started_at = -1e9
        await monitor.run_once()
        assert {row.state for row in await stored(database, "rapid_movements")} == {"resolved"}


async def test_slow_and_old_movements_raise_no_alert(database: Database) -> None:
    long_ago = datetime.now(UTC) - timedelta(days=8)
    async with monitoring(database) as monitor:
        await move(database, "old", EVERYTHING * 3, at=long_ago)
        for minute in range(3):
            at = datetime.now(UTC) - timedelta(minutes=5 - minute)
            await move(database, "slow", EVERYTHING, at=at, slot=1_000 * (minute + 1))
        await monitor.run_once()
        assert await stored(database, "rapid_movements") == []


async def test_movements_are_examined_once_and_page_by_page(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(monitor_module, "MOVEMENTS_PAGE_SIZE", 4)
    async with monitoring(database) as monitor, monitoring(database) as other:
        await move(database, "busy", [*EVERYTHING, "lock", "unlock"])
        for each in (monitor, other):
            await each.run_once()
        [alert] = await stored(database, "rapid_movements")
        assert alert.count == 1


async def test_an_owner_who_goes_on_is_reported_once_a_minute(database: Database) -> None:
    async with monitoring(database) as monitor:
        for slot, seconds, count in ((100, 0, 1), (200, 55, 1), (300, 6, 2), (400, 0, 2)):
            await age_alerts(database, seconds)
            await move(database, "busy", [*EVERYTHING, "lock"], slot=slot)
            await monitor.run_once()
            [alert] = await stored(database, "rapid_movements")
            assert alert.count == count, slot


async def test_the_rule_of_movements_can_be_disabled(database: Database) -> None:
    bounds = replace(BOUNDS, movements_per_minute=0)
    async with monitoring(database, bounds=bounds) as monitor:
        await move(database, "busy", EVERYTHING * 2)
        await monitor.run_once()
        assert await stored(database, "rapid_movements") == []


async def test_an_error_that_postgresql_cannot_store_stops_no_rule(database: Database) -> None:
    board = StatusBoard(())
    board.warnings["audit_trail"] = "a node said \0 and \ud800"
    async with monitoring(database, board=board) as monitor:
        await monitor.run_once()
    [alert] = await stored(database, "audit_trail")
    assert alert.details == {"detail": "a node said \ufffd and \ufffd"}
    assert alert.summary == "audit_trail: a node said \ufffd and \ufffd"


# --- the webhook ---------------------------------------------------------------------------------


def failing(monitor: AlertMonitor) -> float | None:
    return monitor.metrics.registry.get_sample_value("cvms_alert_webhook_failing")


async def test_a_webhook_that_fails_is_named_by_metric_board_and_alert(database: Database) -> None:
    async with database.connection() as conn, monitoring(database) as monitor:
        await webhook_deliveries.add_alert(conn, event="alert.raised", body="{}")
        error, now = "replied with status 500", timedelta(0)
        for _ in range(3):
            await monitor.run_once()
            assert (failing(monitor), monitor.board.warnings) == (0, {})
            [taken] = await webhook_deliveries.take_alerts(conn, limit=9, lease=now)
            await webhook_deliveries.try_again(conn, taken, delay=now, error=error)
        later = partial(webhook_deliveries.try_again, delay=timedelta(hours=1))
        for fail in (later, webhook_deliveries.give_up):
            await fail(conn, taken, error=error)
            await monitor.run_once()
            assert failing(monitor) == 1
            assert monitor.board.warnings == {
                "alert_webhook": "1 messages are not delivered: replied with status 500"
            }
        [alert] = await stored(database, "alert_webhook")
        assert (alert.severity, alert.state, alert.count) == ("critical", "open", 1)
        assert len(await queued_webhooks(database)) == 2

        await webhook_deliveries.delivered(conn, taken.id)
        await monitor.run_once()
        assert (failing(monitor), monitor.board.warnings) == (0, {})


# --- withdrawals ---------------------------------------------------------------------------------


async def test_a_large_withdrawal_is_one_alert_by_two_replicas_and_across_restarts(
    database: Database, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cvms.nursery.alerts.monitor.PAGE_SIZE", 2)
    await set_balance(database, 99, 1)
    for number in range(5):
        await withdraw(database, number, 1_000 + number, owner=f"owner {number}")
    async with open_database(database_url) as other_database:
        await other_database.prepare()
        async with monitoring(database) as one, monitoring(other_database) as other:
            with trio.fail_after(10):
                async with trio.open_nursery() as nursery:
                    for _ in range(4):
                        nursery.start_soon(one.run_once)
                        nursery.start_soon(other.run_once)
    rows = await stored(database, "large_withdrawal")
    assert [row.details["amount"] for row in rows] == [1_000, 1_001, 1_002, 1_003, 1_004]
    assert {row.count for row in await stored(database)} == {1}
    assert (
        len(await published(database)) == len(await stored(database)) == 6
    )  # including a low balance
    assert await queued_webhooks(database) == ["alert.raised"] * 6

    await withdraw(database, 9, 5_000)  # while no monitor runs
    async with monitoring(database) as restarted:
        await restarted.run_once()
        await restarted.run_once()
    assert len(await stored(database, "large_withdrawal")) == 6
    assert len(await published(database)) == 7


async def test_killed_in_the_middle_nothing_is_lost(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    await withdraw(database, 1, 2_000)

    async def killed(*_: object, **__: object) -> int:
        raise RuntimeError("killed")

    with monkeypatch.context() as patched:
        patched.setattr(lifecycle, "observe", killed)
        async with monitoring(database) as monitor:
            with pytest.raises(RuntimeError, match="killed"):
                await monitor.run_once()
    assert await stored(database) == []
    async with monitoring(database) as monitor:
        await monitor.run_once()
    assert [row.kind for row in await stored(database)] == ["large_withdrawal"]


async def test_a_withdrawal_that_a_fork_moves_to_another_block_is_one_alert(
    database: Database,
) -> None:
    await withdraw(database, 1, 2_000, slot=100)
    async with monitoring(database) as monitor:
        await monitor.run_once()
        async with database.connection() as conn:
            await conn.execute("DELETE FROM transactions")
        await withdraw(database, 1, 2_000, slot=104)
        await monitor.run_once()
    [row] = await stored(database)
    assert (row.count, row.details["slot"]) == (1, 100)
    assert len(await published(database)) == 1


async def test_unusual_behaviour_of_an_owner_is_one_alert_with_a_count(database: Database) -> None:
    for number in range(6):
        await withdraw(database, number, 10)
    await withdraw(database, 7, 900, owner="another")
    async with monitoring(database, bounds=replace(BOUNDS, large_percent=0)) as monitor:
        await monitor.run_once()
        [rapid] = await stored(database)
        assert (rapid.kind, rapid.subject, rapid.count) == ("rapid_withdrawals", "owner", 3)
        await withdraw(database, 8, 101)
        await monitor.run_once()
        [rapid, unusual] = await stored(database)
        assert (unusual.kind, unusual.subject) == ("unusual_withdrawal", "owner")
        assert unusual.details["median"] == 10
        assert rapid.count == 4
    assert await queued_webhooks(database) == [
        "alert.raised",
        "alert.raised",
    ]  # not one for each withdrawal


async def test_old_withdrawals_raise_no_alert(database: Database) -> None:
    """Because a new database reads the whole history of the program."""
    await withdraw(database, 1, 2_000, block_time=history_row().block_time)
    async with database.connection() as conn:
        await conn.execute("UPDATE transactions SET block_time = now() - INTERVAL '8 days'")
    async with monitoring(database) as monitor:
        await monitor.run_once()
    assert await stored(database) == []


async def test_a_share_of_all_that_vaults_hold_is_large(database: Database) -> None:
    async with database.transaction() as conn:
        rest = {"available": 400, "locked": 0, "timelocked": 0, "yield_deposited": 0}
        await vault_writer.advance(conn, [vault_row(total=400, **rest)])
        assert (await aggregates.holdings(conn)).total == 400
    await withdraw(database, 1, 399)
    await withdraw(database, 2, 400)
    async with monitoring(database) as monitor:
        await monitor.run_once()
    [row] = await stored(database)
    assert (row.details["tvl_before"], row.details["percent"]) == (800, 50)


# --- balances ------------------------------------------------------------------------------------


NOTHING_ELSE = {"locked": 0, "timelocked": 0, "yield_deposited": 0}


async def set_balance(database: Database, total: int, slot: int, *, locked: int = 0) -> None:
    rest = {"locked": locked, "timelocked": 0, "yield_deposited": 0}
    row = vault_row(total=total, available=total - locked, slot=slot, **rest)
    async with database.transaction() as conn:
        await outbox.append(conn, vault_messages(await vault_writer.advance(conn, [row])))


async def test_between_two_examinations_of_all_only_changed_vaults_are(
    database: Database, mock_clock: MockClock
) -> None:
    async with monitoring(database) as monitor:
        await monitor.run_once()
        low = vault_row(owner="unseen", vault="unseen", total=1, available=1, **NOTHING_ELSE)
        async with database.transaction() as conn:
            await vault_writer.advance(conn, [low])  # by hand: no message says so
        await set_balance(database, 99, 1)
        await monitor.run_once()
        assert [row.subject for row in await stored(database)] == ["owner"]
        mock_clock.jump(ALL_VAULTS_SECONDS)
        await monitor.run_once()
        assert [row.subject for row in await stored(database)] == ["owner", "unseen"]


async def test_any_written_row_is_examined_if_the_message_names_none(database: Database) -> None:
    async with monitoring(database) as monitor:
        await monitor.run_once()
        low = vault_row(total=1, available=1, **NOTHING_ELSE)
        async with database.transaction() as conn:
            await vault_writer.advance(conn, [low])
            await outbox.append(conn, [row_message(None, slot=1)])
        await monitor.run_once()
        assert [row.subject for row in await stored(database)] == ["owner"]


async def test_a_low_vault_is_one_alert_and_does_not_flap(database: Database) -> None:
    async with monitoring(database) as monitor:
        for slot, total in enumerate((100, 99, 98, 119, 99, 101), 1):
            await set_balance(database, total, slot)
            await monitor.run_once()
        assert await published(database) == [("low_balance", "open", 1)]
        [row] = await stored(database)
        assert (row.subject, row.owner, row.severity) == ("owner", "owner", "info")
        await set_balance(database, 99, 8, locked=50)  # worse
        await monitor.run_once()
        await set_balance(database, 120, 9)
        await monitor.run_once()
        await monitor.run_once()
    [row] = await stored(database)
    assert (row.severity, row.state) == ("warning", "resolved")
    assert [state for _, state, _ in await published(database)] == ["open", "open", "resolved"]
    assert await queued_webhooks(database) == ["alert.raised", "alert.raised", "alert.resolved"]


async def test_a_vault_without_a_deposit_is_not_low(database: Database) -> None:
    empty = {"total": 0, "available": 0, "locked": 0, "timelocked": 0, "yield_deposited": 0}
    async with database.transaction() as conn:
        await vault_writer.advance(conn, [vault_row(total_deposited=0, **empty)])
    async with monitoring(database) as monitor:
        await monitor.run_once()
        assert await stored(database) == []
        await set_balance(database, 0, 101)  # emptied
        await monitor.run_once()
        assert [row.kind for row in await stored(database)] == ["low_balance"]


# --- differences and submissions -----------------------------------------------------------------


def difference(**changes: Any) -> ReconciliationEntry:
    entry = ReconciliationEntry(
        vault="vault",
        owner="owner",
        field="total",
        expected=10,
        actual=9,
        difference=1,
        chain_slot=7,
        row_slot=6,
        healed=True,
        cause="row_differs",
    )
    return replace(entry, **changes)


async def test_differences_stay_open_until_acknowledged_unless_healed(
    database: Database,
) -> None:
    async with database.connection() as conn:
        await reconciliation_log.log(conn, difference())
        await reconciliation_log.log(conn, difference(field="available"))
        await reconciliation_log.log(conn, difference(owner="other", healed=False))
    async with monitoring(database) as monitor:
        monitor._started_at = -1e9  # it has been running for long
        await monitor.run_once()
        await monitor.run_once()
        healed, differ = await stored(database)
        assert (healed.kind, healed.severity, healed.count) == ("books_healed", "warning", 1)
        assert set(healed.details["differences"]) == {"total", "available"}
        assert (differ.kind, differ.severity, differ.subject) == (
            "books_differ",
            "critical",
            "other",
        )
        await age_alerts(database, 3 * 24 * 3600)
        await monitor.run_once()
    assert [row.state for row in await stored(database)] == ["resolved", "open"]


async def test_a_difference_that_is_committed_late_is_not_missed(
    database: Database, database_url: str
) -> None:
    """Of two replicas that write at once, the later id may be committed first."""
    async with open_database(database_url) as other, monitoring(database) as monitor:
        await other.prepare()
        async with trio.open_nursery() as nursery, other.transaction() as conn:
            await reconciliation_log.log(conn, difference(owner="slow"))
            async with database.connection() as quick:
                await reconciliation_log.log(quick, difference(owner="quick"))
            nursery.start_soon(monitor.run_once)
            await until(partial(_waits_for_lock, database))
    await monitor.run_once()
    assert {row.subject for row in await stored(database)} == {"slow", "quick"}


async def _waits_for_lock(database: Database) -> bool:
    async with database.connection() as conn:
        cursor = await conn.execute(
            "SELECT 1 FROM pg_locks WHERE NOT granted AND mode = 'ShareLock'"
        )
        return await cursor.fetchone() is not None


async def test_a_quarantined_transaction_stays_unresolved_until_it_is_settled(
    database: Database,
) -> None:
    async with database.transaction() as conn:
        await submissions.record_signed(
            conn,
            message_hash=bytes(32),
            kind="withdraw",
            owner="owner",
            message=b"m",
            signature="signature",
            wire=b"w",
            last_valid_block_height=1,
            since_slot=1,
            amount=5,
        )
        [submission] = await in_flight.read(conn)
        await in_flight.apply_changes(conn, [StateChange(submission, State.QUARANTINED)])
    async with monitoring(database) as monitor:
        await monitor.run_once()
        await monitor.run_once()
        [row] = await stored(database)
        assert (row.kind, row.severity, row.count) == ("submission_quarantined", "critical", 1)
        async with database.transaction() as conn:
            await lifecycle.acknowledge(conn, row.id, by="admin:carol", hook=None)
        await monitor.run_once()
        [row] = await stored(database)
        assert (row.state, row.acknowledged_by) == ("acknowledged", "admin:carol")
        async with database.transaction() as conn:
            await conn.execute("UPDATE submissions SET state = 'expired'")
        await monitor.run_once()
    [row] = await stored(database)
    assert (row.state, row.acknowledged_by) == ("resolved", "admin:carol")


async def test_a_webhook_that_is_paused_is_reported_until_it_is_activated(
    database: Database,
) -> None:
    async with database.transaction() as conn:
        common: dict[str, Any] = {"topics": ["deposit_event"], "created_by": "x"}
        own = await endpoints.add(conn, owner="owner", url="https://a.example/secret", **common)
        all_vaults = await endpoints.add(conn, owner=None, url="https://b.example/", **common)
        for each in (own, all_vaults):
            await endpoints.set_state(conn, each.id, "paused", endpoints.FAILING)
    async with monitoring(database) as monitor:
        await monitor.run_once()
        rows = {row.subject: row for row in await stored(database)}
        assert {row.kind for row in rows.values()} == {"webhook_paused"}
        assert rows[own.id].severity == "info"
        assert (rows[all_vaults.id].severity, rows[all_vaults.id].owner) == ("warning", None)
        assert "secret" not in str(rows)
        async with database.transaction() as conn:
            for each in (own, all_vaults):
                await endpoints.set_state(conn, each.id, "active")
            await conn.execute("UPDATE alerts SET last_seen_at = now() - INTERVAL '61 seconds'")
            await lifecycle.resolve_stale(conn, RESOLVE_AFTER, hook=None)
    assert {row.state for row in await stored(database)} == {"resolved"}


# --- the service itself --------------------------------------------------------------------------


async def test_each_of_the_operators_keys_has_an_alert_of_its_own(database: Database) -> None:
    signers = signers_of(Keypair(), Keypair(), Keypair())
    for signer, lamports in zip(signers.signers, (999, 1_000, 10), strict=True):
        signer.funds.lamports = lamports
    async with monitoring(database, signers=signers) as monitor:
        await monitor.run_once()
    first, _, third = map(str, signers.addresses)
    assert {row.subject for row in await stored(database)} == {first, third}


async def test_a_danger_that_the_checks_found_is_reported_until_it_is_mended(
    database: Database,
) -> None:
    limits = warning("transfer_limits", "off", "set them", kind="transfer_limits_off")
    code = warning("program_hash", "7", "ask", subject="collateral_vault", kind="program_differs")
    async with monitoring(database) as monitor:
        monitor.board.dangers = (limits, code)
        await monitor.run_once()
        rows = {row.kind: row for row in await stored(database)}
        assert {kind: (row.subject, row.severity) for kind, row in rows.items()} == {
            "transfer_limits_off": ("transfer_limits_off", "warning"),
            "program_differs": ("collateral_vault", "critical"),
        }
        assert rows["transfer_limits_off"].summary == "off; set them"
        monitor.board.dangers = (code,)
        monitor._started_at = -1e9
        await age_alerts(database, 61)
        await monitor.run_once()
    states = {row.kind: row.state for row in await stored(database)}
    assert states == {"transfer_limits_off": "resolved", "program_differs": "open"}


async def test_a_condition_stays_open_while_any_replica_observes_it(database: Database) -> None:
    async with monitoring(database) as one, monitoring(database) as other:
        key = Keypair()
        one.signers, other.signers = signers_of(key), signers_of(key)
        funds = one.signers.preferred.funds
        funds.lamports = 300
        one._started_at = other._started_at = -1e9
        await one.run_once()
        await other.run_once()  # does not observe it
        [row] = await stored(database)
        assert (row.kind, row.severity, row.state) == ("fee_payer_low", "warning", "open")
        funds.lamports = 100
        await one.run_once()
        await age_alerts(database, 59)
        funds.lamports = 1_199  # below the recovery bound
        await other.run_once()
        await one.run_once()
        await other.run_once()
        [row] = await stored(database)
        assert (row.severity, row.state, row.count) == ("critical", "open", 2)
        funds.lamports = 1_200
        await age_alerts(database, 61)
        other._started_at = trio.current_time()  # has just started
        await other.run_once()
        assert [row.state for row in await stored(database)] == ["open"]
        await one.run_once()
    assert [row.state for row in await stored(database)] == ["resolved"]
    assert await queued_webhooks(database) == ["alert.raised", "alert.raised", "alert.resolved"]


async def test_a_crash_loop_is_an_alert_that_names_the_task(database: Database) -> None:
    board = StatusBoard(())
    async with monitoring(database, board=board) as monitor:
        for number in range(5):
            assert await stored(database) == []
            await monitor.run_once()
            board.set_task_state("settler", "running")
            board.set_task_state("settler", "backoff", error=f"ValueError: {number}")
        await monitor.run_once()
    [row] = await stored(database)
    assert (row.kind, row.subject, row.severity) == ("task_crash_loop", "settler", "critical")
    assert row.details["last_error"] == "ValueError: 4"


async def test_open_alerts_are_counted_by_kind_and_severity(database: Database) -> None:
    async with monitoring(database) as monitor:
        await set_balance(database, 5, 1)
        await monitor.run_once()

        def count() -> float | None:
            labels = {"kind": "low_balance", "severity": "info"}
            return monitor.metrics.registry.get_sample_value("cvms_alerts_open", labels)

        assert count() == 1
        await set_balance(database, 500, 2)
        await monitor.run_once()
        assert count() == 0


async def test_a_webhook_gets_only_what_is_severe_enough(database: Database) -> None:
    async with monitoring(database, hook=AlertWebhook(alerts.Severity.WARNING)) as monitor:
        await set_balance(database, 5, 1)
        await withdraw(database, 1, 2_000)
        await monitor.run_once()
    async with database.connection() as conn:
        cursor = await conn.execute("SELECT body FROM webhook_deliveries")
        [(body,)] = await cursor.fetchall()
    assert '"kind":"large_withdrawal"' in body
    async with monitoring(database, hook=None) as monitor:
        await withdraw(database, 2, 2_000)
        await monitor.run_once()
    assert len(await queued_webhooks(database)) == 1


# --- from the chain ------------------------------------------------------------------------------


async def test_a_withdrawal_on_chain_is_an_alert_at_once_without_a_timer(world: World) -> None:
    owner = await world.owner(10_000)
    await world.act(owner, world.deposit(owner, 9_000))
    broadcaster = build_broadcaster(world.resources)
    changes: dict[str, Any] = {
        "signers": world.resources.signers,
        "hub": world.resources.hub,
        "progress": world.progress,
        "outbox_wake": world.resources.outbox_wake,
        "board": world.board,
        "metrics": world.metrics,
        "poll_seconds": 3600,
    }
    async with monitoring(world.database, **changes) as monitor:
        await world.indexer().catch_up()
        async with running(broadcaster.run, monitor.run):
            await until(partial(_has_run, world))
            await world.act(owner, world.withdraw(owner, 5_000))
            await world.indexer().catch_up()
            await until(partial(stored, world.database, "large_withdrawal"))
    [row] = await stored(world.database)
    assert (row.owner, row.details["amount"]) == (address(owner), 5_000)


async def _has_run(world: World) -> bool:
    return "monitor" in world.board.tasks and world.resources.hub.position is not None
