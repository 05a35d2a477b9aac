"""/health, /ready, /ready/traffic and /metrics report the state of the service."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import httpx
import pytest
import trio
from prometheus_client import Metric
from prometheus_client import parser as prometheus
from prometheus_client.openmetrics import parser as openmetrics

from cvms.http.framework.admin_tokens import Role, mint
from cvms.http.service_info import probe_routes
from cvms.store.analytics import event_counters
from cvms.store.projection import vault_writer
from tests.harness.installed_tools import program
from tests.harness.processes import HANG_SECONDS
from tests.harness.service import Service, running
from tests.store.examples import vault_row

SECRET = b"s" * 32
VIEWER = Role.VIEWER


async def test_the_service_is_alive_while_nothing_else_is_ready(service: Service) -> None:
    reply = await service.get("/health")
    assert (reply.status_code, reply.json()) == (200, {"status": "ok"})


async def test_ready_names_each_part_that_is_not_ok(service: Service) -> None:
    service.board.set_component("database", ok=True, detail="answers")
    reply = await service.get("/ready")
    assert reply.status_code == 503
    assert reply.headers["Retry-After"] == "1"
    problem = reply.json()
    assert problem["code"] == "not_ready"
    assert problem["parts"]["database"]["ok"] is True
    assert problem["parts"]["rpc"]["ok"] is False
    assert "rpc" in problem["detail"]
    assert "database" not in problem["detail"]


async def test_the_service_is_ready_when_all_parts_are_ok(service: Service) -> None:
    for part in service.board.components:
        service.board.set_component(part, ok=True, detail="fine")
    reply = await service.get("/ready")
    assert reply.status_code == 200
    assert reply.json()["status"] == "ready"
    assert set(reply.json()["parts"]) == {"database", "rpc", "indexer"}


async def test_traffic_goes_on_while_reads_are_answered(service: Service) -> None:
    """The chain, the indexer and a task in a crash loop take no process out of the rotation."""
    unchecked = await service.get("/ready/traffic")
    assert (unchecked.status_code, unchecked.headers["Retry-After"]) == (503, "1")
    assert unchecked.json()["detail"] == "database: not checked"
    service.board.answers_reads = True
    for part in service.board.components:
        service.board.set_component(part, ok=False, detail="gone", trouble="disk_full")
    assert (await service.get("/ready")).status_code == 503
    reply = await service.get("/ready/traffic")
    assert (reply.status_code, reply.json()) == (200, {"status": "ready"})


async def test_no_traffic_goes_to_a_process_without_database_or_that_ends(service: Service) -> None:
    service.board.set_component("database", ok=False, detail="db.internal", trouble="refused")
    without = await service.get("/ready/traffic")
    assert (without.status_code, without.json()["code"]) == (503, "not_ready")
    assert without.json()["detail"] == "database: refused"
    service.board.answers_reads = service.board.stopping = True
    ending = await service.get("/ready/traffic")
    assert (ending.status_code, ending.json()["detail"]) == (503, "this process ends")


async def test_a_check_that_fails_is_named_and_leaves_the_service_ready(service: Service) -> None:
    for part in service.board.components:
        service.board.set_component(part, ok=True, detail="fine")
    assert (await service.get("/ready")).json()["checks"] == {}  # another replica runs them
    service.board.checks.expect({"listing": 600, "pass": 60})
    service.board.checks.completed("pass")
    service.board.checks.failed("listing", "not for you")
    reply = await service.get("/ready")
    assert reply.status_code == 200
    listing, full_pass = reply.json()["checks"]["listing"], reply.json()["checks"]["pass"]
    assert (listing["ok"], listing["detail"], listing["completed_at"]) == (
        False,
        "failed",
        None,
    )
    assert full_pass["ok"]
    assert full_pass["completed_at"] is not None
    assert (
        'reconciliation_check_age_seconds{check="pass"} 0.' in (await service.get("/metrics")).text
    )
    service.board.checks.forget()
    assert "reconciliation_check_age_seconds{" not in (await service.get("/metrics")).text


async def test_a_warning_is_shown_and_leaves_the_service_ready(service: Service) -> None:
    service.board.warnings["alert_webhook"] = "1 messages are not delivered: no reply within 10 s"
    refused = await service.get("/ready")
    for part in service.board.components:
        service.board.set_component(part, ok=True, detail="fine")
    ready = await service.get("/ready")
    assert (refused.status_code, ready.status_code) == (503, 200)
    for reply in (refused, ready):
        assert reply.json()["warnings"] == {"alert_webhook": "needs a person"}


async def test_hosts_and_reasons_are_shown_to_administrators_only(database_url: str) -> None:
    async with running(database_url, admin_jwt_secret=SECRET) as service:
        service.board.set_component(
            "database", ok=False, detail="db.internal:5432 refused", trouble="refused"
        )
        service.board.set_component("rpc", ok=True, detail="rpc.internal answers, at slot 7")
        service.board.set_component("indexer", ok=False, detail="lost tx of rpc.internal")
        service.board.checks.expect({"listing": 600})
        service.board.checks.failed("listing", "rpc.internal: plan expired")
        service.board.warnings["alert_webhook"] = "1 messages are not delivered"
        for token in (None, "forged", mint(b"x" * 32, subject="carol", role=VIEWER, seconds=60)):
            shown = await ready(service, token)
            assert "internal" not in str(shown)
            assert shown["detail"] == "database: refused, indexer: unavailable"
            assert {
                name: (each["ok"], each["kind"], each["detail"])
                for name, each in (shown["parts"] | shown["checks"]).items()
            } == {
                "database": (False, "refused", "refused"),
                "rpc": (True, "ok", "ok"),
                "indexer": (False, "unavailable", "unavailable"),
                "listing": (False, "failed", "failed"),
            }
        shown = await ready(service, mint(SECRET, subject="carol", role=VIEWER, seconds=60))
        assert shown["warnings"] == {"alert_webhook": "1 messages are not delivered"}
        assert "db.internal:5432 refused" in shown["detail"]
        assert shown["parts"]["database"]["kind"] == "refused"
        assert shown["parts"]["rpc"]["detail"] == "rpc.internal answers, at slot 7"
        assert shown["checks"]["listing"]["detail"] == "rpc.internal: plan expired"


async def ready(service: Service, token: str | None) -> Any:
    headers = {} if token is None else {"Authorization": f"Bearer {token}"}
    reply = await service.http.get(f"{service.url}/ready", headers=headers)
    assert reply.status_code == 503
    return reply.json()


async def test_administrators_need_no_database_to_see_the_details(database_url: str) -> None:
    async with running(database_url, admin_jwt_secret=SECRET) as service:
        service.board.set_component("database", ok=False, detail="db.internal refused")
        service.database.schema_ready = False
        token = mint(SECRET, subject="carol", role=VIEWER, seconds=60)
        assert "db.internal refused" in (await ready(service, token))["detail"]


async def test_counters_come_from_the_database(service: Service) -> None:
    assert "vault_deposits_total 0.0" in (await service.get("/metrics")).text
    async with service.database.transaction() as conn:
        await event_counters.add(conn, "deposit", 3, 3_000)
        await event_counters.add(conn, "withdraw", 1, 400)
    text = (await service.get("/metrics")).text
    assert "vault_deposits_total 3.0" in text
    assert "vault_withdrawals_total 1.0" in text
    assert "total_value_locked 0.0" in text
    for name in (
        "vault_operations_total",
        "transaction_submissions_total",
        "balance_query_duration_seconds",
    ):
        assert name in text


PROMETHEUS = (
    "application/openmetrics-text;version=1.0.0,application/openmetrics-text;version=0.0.1;q=0.75,"
    "text/plain;version=0.0.4;q=0.5,*/*;q=0.1"
)


async def scrape(service: Service, accept: str) -> httpx.Response:
    reply = await service.http.get(f"{service.url}/metrics", headers={"Accept": accept})
    assert (reply.status_code, reply.headers["Vary"]) == (200, "Accept")
    return reply


def samples(families: Iterable[Metric]) -> dict[str, float]:
    return {each.name: each.value for family in families for each in family.samples}


async def test_metrics_come_in_the_format_that_is_asked_for(service: Service) -> None:
    """Each is read with the parser of its format."""
    async with service.database.transaction() as conn:
        await event_counters.add(conn, "deposit", 3, 3_000)
    for accept in (PROMETHEUS, "application/openmetrics-text"):
        reply = await scrape(service, accept)
        kind = "application/openmetrics-text; version=1.0.0; charset=utf-8"
        assert reply.headers["Content-Type"].startswith(kind)
        parse: Any = openmetrics.text_string_to_metric_families  # without types
        found = samples(parse(reply.text))
        assert found["vault_deposits_total"] == 3
    for accept in ("*/*", "text/plain;version=0.0.4", "text/html"):
        reply = await scrape(service, accept)
        assert reply.headers["Content-Type"] == "text/plain; version=0.0.4; charset=utf-8"
        assert "# EOF" not in reply.text
        plain = samples(prometheus.text_string_to_metric_families(reply.text))
        assert plain["vault_deposits_total"] == 3


@pytest.mark.parametrize("version", ["abc", "1.x.0", "1..0", "9" * 5000, "2.\u00e9", "", '"1.0.0"'])
async def test_a_version_that_is_none_leads_to_the_plain_format(
    service: Service, version: str
) -> None:
    for kind in ("application/openmetrics-text", "text/plain"):
        accept = f"{kind};version={version}".encode("latin-1")
        reply = await service.http.get(f"{service.url}/metrics", headers={b"Accept": accept})
        assert (reply.status_code, reply.headers["Content-Type"]) == (
            200,
            "text/plain; version=0.0.4; charset=utf-8",
        )


async def test_promtool_finds_nothing_against_the_conventions(service: Service) -> None:
    text = (await service.get("/metrics")).text
    checked = await trio.run_process(
        [str(program("promtool")), "check", "metrics"],
        stdin=text.encode(),
        capture_stderr=True,
        check=False,
    )
    assert checked.returncode == 0, checked.stderr.decode()


async def test_the_earlier_services_metrics_are_there_from_the_start(service: Service) -> None:
    text = (await service.get("/metrics")).text
    assert "vault_locks_total 0.0" in text
    assert "vault_unlocks_total 0.0" in text
    assert "active_vaults 0.0" in text
    assert "request_duration_seconds_count 0.0" in text
    async with service.database.transaction() as conn:
        await event_counters.add(conn, "lock", 2, 700)
        await event_counters.add(conn, "unlock", 1, 700)
        await vault_writer.advance(conn, [vault_row()], final=False)
    text = (await service.get("/metrics")).text
    assert "vault_locks_total 2.0" in text
    assert "vault_unlocks_total 1.0" in text
    assert "active_vaults 1.0" in text
    assert "request_duration_seconds_count 1.0" in text  # the first scrape


async def test_the_last_counters_are_served_while_the_database_is_unavailable(
    service: Service,
) -> None:
    async with service.database.transaction() as conn:
        await event_counters.add(conn, "deposit", 3, 3_000)
    await service.get("/metrics")
    service.database.schema_ready = False  # as before the first connection
    reply = await service.get("/metrics")
    assert reply.status_code == 200
    assert "vault_deposits_total 3.0" in reply.text


async def test_of_scrapes_at_the_same_time_one_reads_the_database(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Scrapes have no rate limit, and would take every connection from the requests."""
    scrapes, answered, reads = 20, 0, 0
    nearly_all = trio.Event()
    begin = service.database.transaction

    def transaction(**options: Any) -> Any:
        nonlocal reads
        reads += 1
        return begin(**options)

    async def scrape() -> None:
        nonlocal answered
        assert (await service.get("/metrics")).status_code == 200
        answered += 1
        if answered == scrapes - 1:
            nearly_all.set()

    monkeypatch.setattr(probe_routes, "SCRAPE_SECONDS", 3600.0)
    async with trio.open_nursery() as scraping, service.database.transaction() as conn:
        await conn.execute("LOCK TABLE vaults")  # which a scrape reads
        monkeypatch.setattr(service.database, "transaction", transaction)
        for _ in range(scrapes):
            scraping.start_soon(scrape)
        with trio.fail_after(HANG_SECONDS):
            await nearly_all.wait()
        assert reads == 1
