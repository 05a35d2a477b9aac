"""The overview shows the state of the service and its processes."""

from __future__ import annotations

import pytest

from cvms.chain.rpc.transport.endpoint_pool import FAILURES_BEFORE_DOWN
from cvms.errors import ChainUnavailable
from cvms.nursery.ledger.vault_rows import CLOSED
from cvms.nursery.scheduled.retention import INSTANCE_AGE
from cvms.nursery.supervision.instance_heartbeat import InstanceHeartbeat, instance_name
from cvms.store.alerts.alerts import Severity
from cvms.store.messaging import instances, leader_lease
from tests.harness.service import Service
from tests.http.admin.console.asking import shown
from tests.http.admin.console.test_vault_search_routes import EMPTY, store
from tests.http.admin.test_alert_routes import observe

PATH = "/api/admin/overview"


async def test_the_overview_has_the_totals_and_the_state_of_the_process(console: Service) -> None:
    await store(console, "a", "b")
    await store(console, "c", state=CLOSED, **EMPTY)
    await observe(console, "part_down", 1)
    await observe(console, "part_down", 2, severity=Severity.CRITICAL)
    console.board.set_component("database", ok=True, detail="answers")
    console.board.warnings["webhook"] = "it fails"
    await console.rpc.probe()
    found = await shown(console, PATH)
    assert (found["total_value_locked"], found["active_vaults"]) == (2000, 2)
    assert found["alerts"] == {"critical": 1, "warning": 1, "info": 0}
    assert found["components"]["database"].items() >= {"status": "ok", "kind": "ok"}.items()
    assert found["components"]["indexer"]["status"] == "failing"
    assert found["warnings"] == {"webhook": "it fails"}
    assert set(found["submissions"]) == {"pending", "submitted", "confirmed", "quarantined"}
    [endpoint] = found["endpoints"]
    assert (endpoint["state"], endpoint["slot"]) == ("up", found["chain_slot"])
    assert found["operator"]["address"] == str(console.operator.pubkey())
    assert (found["slot"], found["lag_seconds"]) == (None, None)  # nothing indexes here
    assert found["version"]


async def test_an_endpoint_that_fails_is_not_shown_as_up_before_it_is_down(office: Service) -> None:
    """While no node answers, the part `rpc` and the endpoints say the same."""
    seen = []
    for _ in range(FAILURES_BEFORE_DOWN):
        with pytest.raises(ChainUnavailable):
            await office.rpc.probe()
        [endpoint] = (await shown(office, PATH))["endpoints"]
        seen.append((endpoint["state"], endpoint["failures"], endpoint["up"]))
    assert seen == [("failing", 1, True), ("failing", 2, True), ("down", 3, False)]
    assert endpoint["failures_before_down"] == FAILURES_BEFORE_DOWN


async def test_a_process_is_shown_until_its_heartbeat_is_a_minute_old(office: Service) -> None:
    heartbeat = InstanceHeartbeat(database=office.database, board=office.board)
    await heartbeat.run_once()
    [alone] = (await shown(office, PATH))["instances"]
    assert (alone["instance"], alone["leader"], alone["ready"]) == (instance_name(), False, False)
    async with office.database.transaction() as conn:
        await leader_lease.take(conn, instance_name(), lease=60)
        await conn.execute(
            "INSERT INTO instances (instance, host, version, ready, started_at, seen_at)"
            "VALUES ('b:1', 'b', '1', TRUE, now(), now() - INTERVAL '59 s'),"
            "('c:1', 'c', '1', TRUE, now(), now() - INTERVAL '61 s'),"
            "('d:1', 'd', '1', TRUE, now(), now() - INTERVAL '25 h')"
        )
        await leader_lease.renew(conn, 1, lease=60, slot=90, problem=None)
    await heartbeat.run_once()
    found = await shown(office, PATH)
    assert found["slot"] == 90
    assert [(each["host"], each["leader"]) for each in found["instances"]] == [
        (alone["host"], True),
        ("b", False),
    ]
    async with office.database.transaction() as conn:
        await conn.execute("DELETE FROM instances WHERE host = 'b'")
    async with office.database.transaction() as conn:
        assert await instances.prune(conn, INSTANCE_AGE) == 1
