"""A quarantined submission is settled once, on evidence, with all that waits for its outcome."""

from __future__ import annotations

from functools import partial
from typing import Any

import pytest
import trio
from psycopg.rows import dict_row
from solders.keypair import Keypair

from cvms.errors import Conflict, NotFound, SettlementContradicted
from cvms.nursery.wiring.replica_tasks import build_alert_monitor
from cvms.settlement.evidence import Outcome
from cvms.settlement.settling import NoAct, Settlement, settle
from cvms.store.alerts import lifecycle
from cvms.store.alerts.lifecycle import AlertWebhook
from cvms.store.postgres.driver.connection import Connection
from cvms.store.submissions import fee_budget
from cvms.store.submissions.fee_budget import FeeBudget
from cvms.store.submissions.submissions import State
from tests.nursery.submission.signed_withdrawals import submission
from tests.nursery.world import World
from tests.settlement.quarantined import opened, quarantined, sources

NO_LIMIT = FeeBudget(owner=None, everybody=None)


async def settled(
    world: World,
    signature: str,
    outcome: Outcome,
    *,
    force: bool = False,
    actor: str = "admin:carol",
    hook: AlertWebhook | None = None,
) -> None:
    settlement = Settlement(outcome=outcome, reason="looked it up", actor=actor, force=force)
    await settle(sources(world), signature, settlement, hook=hook)


async def rows(world: World, query: str) -> list[dict[str, Any]]:
    async with world.database.connection() as conn, conn.cursor(row_factory=dict_row) as cursor:
        await cursor.execute(query.encode())
        return await cursor.fetchall()


async def charged(world: World, signature: str) -> int:
    """Charge the fee of a submission as the operator's signature does; return what is charged."""
    row = await submission(world, signature)
    async with world.database.transaction() as conn:
        await fee_budget.charge(conn, row.message_hash, 5000, owner=row.owner, budget=NO_LIMIT)
        return await fee_budget.spent_today(conn, row.owner)


async def spent(world: World, owner: str) -> tuple[int, int]:
    async with world.database.connection() as conn:
        return await fee_budget.spent_today(conn, owner), await fee_budget.spent_today(conn)


@pytest.mark.parametrize(
    ("lands", "amount", "outcome", "charge"),
    [(True, 5, "finalized", 5000), (True, 2**40, "failed", 5000), (False, 5, "expired", 0)],
)
async def test_what_the_evidence_shows_is_recorded_and_only_what_expired_is_refunded(
    world: World, lands: bool, amount: int, outcome: Outcome, charge: int
) -> None:
    signature = await quarantined(world, await opened(world), lands=lands, amount=amount)
    assert await charged(world, signature) == 5000
    others: list[Outcome] = ["finalized", "failed", "expired"]
    others.remove(outcome)
    for other in others:
        with pytest.raises(SettlementContradicted):
            await settled(world, signature, other)
    assert (await submission(world, signature)).state is State.QUARANTINED
    assert await rows(world, "SELECT 1 FROM audit_logs") == []

    await settled(world, signature, outcome)
    row = await submission(world, signature)
    assert row.state.value == outcome
    assert (row.slot is not None) == lands
    assert (row.error is not None) == (outcome == "failed")
    if row.error:
        assert row.error["logs"], "the program's own words"
    assert await spent(world, row.owner) == (charge, charge)
    [message] = await world.outbox("transaction_update")
    assert (message.data["status"], message.owner) == (outcome, row.owner)
    [entry] = await rows(world, "SELECT actor, action, owner, details FROM audit_logs")
    assert (entry["actor"], entry["action"]) == ("admin:carol", "submission_settle")
    details = entry["details"]
    assert (details["outcome"], details["reason"]) == (outcome, "looked it up")
    assert not details["forced"]
    assert details["evidence"]["endpoints"][0]["blocks"]["count"] >= 3
    assert details["evidence"]["submission"]["state"] == "quarantined"


async def test_what_the_evidence_contradicts_needs_force_and_raises_an_alert(world: World) -> None:
    signature = await quarantined(world, await opened(world), lands=False)
    with pytest.raises(SettlementContradicted, match="no endpoint knows the transaction"):
        await settled(world, signature, "finalized")
    await settled(world, signature, "finalized", force=True)
    row = await submission(world, signature)
    assert (row.state, row.slot) == (State.FINALIZED, None)
    [entry] = await rows(world, "SELECT details FROM audit_logs")
    assert entry["details"]["forced"]
    [alert] = await rows(world, "SELECT kind, severity, subject, details FROM alerts")
    assert (alert["kind"], alert["severity"]) == ("settlement_forced", "warning")
    assert (alert["subject"], alert["details"]["actor"]) == (signature, "admin:carol")


async def test_force_is_no_mark_where_the_evidence_agrees(world: World) -> None:
    signature = await quarantined(world, await opened(world), lands=False)
    await settled(world, signature, "expired", force=True)
    [entry] = await rows(world, "SELECT details FROM audit_logs")
    assert not entry["details"]["forced"]
    assert await rows(world, "SELECT 1 FROM alerts") == []


async def test_of_many_at_once_one_settles(world: World) -> None:
    signature = await quarantined(world, await opened(world), lands=False)
    await charged(world, signature)
    done: list[str] = []
    refused: list[str] = []

    async def attempt(actor: str) -> None:
        try:
            await settled(world, signature, "expired", actor=actor)
            done.append(actor)
        except Conflict as conflict:
            refused.append(str(conflict))

    async with trio.open_nursery() as nursery:
        for number in range(6):
            nursery.start_soon(partial(attempt, f"admin:{number}"))
    assert (len(done), len(refused)) == (1, 5)
    assert all("is expired, not quarantined" in each for each in refused)
    entries = await rows(world, "SELECT actor FROM audit_logs")
    assert [each["actor"] for each in entries] == done
    assert len(await world.outbox("transaction_update")) == 1
    row = await submission(world, signature)
    assert await spent(world, row.owner) == (0, 0)


class SeenMeanwhile(NoAct):
    """The submission changes between the evidence and the settlement."""

    async def begin(self, conn: Connection) -> None:
        await conn.execute("UPDATE submissions SET slot = 7")


async def test_what_has_changed_since_the_evidence_is_not_settled(world: World) -> None:
    signature = await quarantined(world, await opened(world), lands=False)
    await build_alert_monitor(world.resources).run_once()
    settlement = Settlement(
        outcome="expired", reason="looked it up", actor="admin:carol", act=SeenMeanwhile()
    )
    with pytest.raises(Conflict, match="has changed since the evidence was gathered"):
        await settle(sources(world), signature, settlement, hook=None)
    assert (await submission(world, signature)).state is State.QUARANTINED
    assert await rows(world, "SELECT 1 FROM audit_logs") == []
    assert await rows(world, "SELECT 1 FROM alerts WHERE resolved_at IS NOT NULL") == []


async def test_only_what_is_quarantined_can_be_settled(world: World) -> None:
    owner = await opened(world)
    signature = await quarantined(world, owner, lands=True)
    for state in State:
        if state not in (State.QUARANTINED, State.BUILT):
            await world.execute("UPDATE submissions SET state = %s", state.value)
            with pytest.raises(Conflict, match=f"is {state.value}, not quarantined"):
                await settled(world, signature, "finalized", force=True)
    with pytest.raises(NotFound):
        await settled(world, str(Keypair().sign_message(b"other")), "finalized")
    assert await rows(world, "SELECT 1 FROM audit_logs") == []


async def test_the_alert_stays_until_the_submission_is_settled(world: World) -> None:
    signature = await quarantined(world, await opened(world), lands=False)
    monitor = build_alert_monitor(world.resources)
    await monitor.run_once()
    [alert] = await rows(world, "SELECT id FROM alerts WHERE kind = 'submission_quarantined'")
    async with world.database.transaction() as conn:
        row = await lifecycle.acknowledge(conn, alert["id"], by="admin:carol", hook=None)
    assert row is not None
    assert row.state == "acknowledged"
    await monitor.run_once()
    await settled(world, signature, "expired", hook=AlertWebhook())
    query = "SELECT resolved_at, count FROM alerts WHERE kind = 'submission_quarantined'"
    [alert] = await rows(world, query)
    assert alert["resolved_at"] is not None
    assert alert["count"] == 1
    await monitor.run_once()
    told = [each.data["state"] for each in await world.outbox("security_alert")]
    assert told == ["open", "acknowledged", "resolved"]


async def test_one_whose_alert_was_resolved_by_hand_is_reported_again(world: World) -> None:
    await quarantined(world, await opened(world), lands=False)
    monitor = build_alert_monitor(world.resources)
    await monitor.run_once()
    await world.execute("UPDATE alerts SET resolved_at = now()")
    await monitor.run_once()
    states = await rows(world, "SELECT resolved_at FROM alerts ORDER BY id")
    assert [each["resolved_at"] is None for each in states] == [False, True]
