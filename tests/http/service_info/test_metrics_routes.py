"""/metrics shows what has happened, in the format that is asked for."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import httpx
import pytest
import trio
from prometheus_client import Metric
from prometheus_client import parser as prometheus
from prometheus_client.openmetrics import parser as openmetrics

from cvms.http.service_info import metrics_routes
from cvms.store.analytics import event_counters
from cvms.store.projection import vault_writer
from tests.harness.installed_tools import program
from tests.harness.processes import HANG_SECONDS
from tests.harness.service import Service
from tests.store.examples import vault_row


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
    assert "cvms_vault_locks_total 0.0" in text
    assert "cvms_vault_unlocks_total 0.0" in text
    assert "cvms_active_vaults 0.0" in text
    async with service.database.transaction() as conn:
        await event_counters.add(conn, "lock", 2, 700)
        await event_counters.add(conn, "unlock", 1, 700)
        await vault_writer.advance(conn, [vault_row()], final=False)
    text = (await service.get("/metrics")).text
    assert "cvms_vault_locks_total 2.0" in text
    assert "cvms_vault_unlocks_total 1.0" in text
    assert "cvms_active_vaults 1.0" in text
    assert 'cvms_http_request_duration_seconds_count{route="/metrics"} 1.0' in text


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

    monkeypatch.setattr(metrics_routes, "SCRAPE_SECONDS", 3600.0)
    async with trio.open_nursery() as scraping, service.database.transaction() as conn:
        await conn.execute("LOCK TABLE vaults")  # which a scrape reads
        monkeypatch.setattr(service.database, "transaction", transaction)
        for _ in range(scrapes):
            scraping.start_soon(scrape)
        with trio.fail_after(HANG_SECONDS):
            await nearly_all.wait()
        assert reads == 1
