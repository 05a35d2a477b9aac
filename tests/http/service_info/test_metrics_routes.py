"""/metrics shows what has happened, in the format that is asked for."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from time import perf_counter
from typing import Any

import httpx
import pytest
import trio
from prometheus_client import Metric
from prometheus_client import parser as prometheus
from prometheus_client.openmetrics import parser as openmetrics

from cvms.http.service_info import metrics_routes
from cvms.metrics import exposition
from cvms.nursery.wiring.leader_tasks import LEADER_TASKS, TIMED_TASKS
from cvms.store.analytics import event_counters
from cvms.store.projection import vault_writer
from tests.harness.installed_tools import program
from tests.harness.processes import HANG_SECONDS
from tests.harness.service import Served, Service
from tests.paths import ROOT
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


async def test_what_a_forgotten_slot_keeps_on_the_disk_is_shown(service: Service) -> None:
    create = "SELECT pg_create_physical_replication_slot('forgotten', TRUE)"
    async with service.database.connection() as conn:
        await conn.execute(create)
        await conn.execute("SELECT pg_switch_wal()")
        try:
            shown = samples(
                prometheus.text_string_to_metric_families((await service.get("/metrics")).text)
            )
        finally:
            await conn.execute("SELECT pg_drop_replication_slot('forgotten')")
    assert shown["cvms_database_slot_wal_bytes"] > 0
    assert shown["cvms_database_size_bytes"] > 1_000_000


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


async def test_others_run_while_a_scrape_is_made() -> None:
    turns = 0

    async def others() -> None:
        nonlocal turns
        while True:
            turns += 1
            await trio.lowlevel.checkpoint()

    def families() -> Iterator[int]:
        for number in range(5):
            end = perf_counter() + exposition.SLICE_SECONDS
            while perf_counter() < end:
                pass
            yield number

    async with trio.open_nursery() as nursery:
        nursery.start_soon(others)
        assert await exposition.in_slices(families()) == [*range(5)]
        nursery.cancel_scope.cancel()
    assert turns >= 4  # after each but the last, which may be the end


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


PAGE = ROOT / "docs/operations/metrics.md"
ALERTS = ROOT / "docs/alerts.md"
ROW = re.compile(r"^\| `(\w+)` \| (\w+) \|([^|]*)\|", re.MULTILINE)
LARGEST_BYTES = 200_000


async def test_a_fresh_process_has_each_known_series_and_the_page_has_each_metric(
    system: Served,
) -> None:
    text = re.sub(r'(endpoint="127.0.0.1):\d+', r"\1", (await system.get("/metrics")).text)
    exposed = dict(families(text))
    for series in STARTED.split():
        assert re.search(rf"^{re.escape(series)} \S+$", text, re.MULTILINE), series
    assert "_created" not in text
    assert len(text) < LARGEST_BYTES
    page = {name: (kind, labels) for name, kind, labels in ROW.findall(PAGE.read_text())}
    assert set(page) == set(exposed)
    for name, family in exposed.items():
        kind, labels = page[name]
        assert kind == family.type, name
        shown = {label for each in family.samples for label in each.labels} - {"le"}
        assert shown <= set(re.findall(r"`(\w+)`", labels)), name
    kinds = {each.labels["kind"] for each in exposed["cvms_alerts_open"].samples}
    assert set(re.findall(r"^\| `([a-z_]+)`", ALERTS.read_text(), re.MULTILINE)) <= kinds
    timed = {each.labels["task"] for each in exposed["cvms_task_run_duration_seconds"].samples}
    assert timed & {*LEADER_TASKS} == {*TIMED_TASKS}
    for name in ("vault_deposits_total", "total_value_locked", "vault_operations_total"):
        of_both = [sorted(map(str, _values(exposed[each]))) for each in (name, f"cvms_{name}")]
        assert of_both[0] == of_both[1]


STARTED = """
cvms_reconciliation_differences_total{field="total",healed="false"}
cvms_reconciliation_differences_total{field="tvl",healed="false"}
cvms_reconciliation_checks_total{outcome="difference"}
cvms_transaction_submissions_total{state="failed"}
cvms_transaction_submissions_under_way{state="quarantined"}
cvms_vault_operations_total{operation="withdraw",outcome="internal_error"}
vault_operations_total{operation="deposit",outcome="accepted"}
cvms_http_requests_total{method="POST",route="/api/vault/withdraw",status="5xx"}
cvms_http_request_duration_seconds_count{route="/api/vault/balance/{owner}"}
cvms_http_request_duration_seconds_count{route="unmatched"}
cvms_alerts_open{kind="part_down",severity="critical"}
cvms_websocket_frames_total{topic="deposit_event"}
cvms_websocket_closed_total{reason="slow"}
cvms_rpc_requests_total{method="getTransaction",outcome="timeout"}
cvms_rpc_endpoint_requests_total{endpoint="127.0.0.1",outcome="throttled"}
cvms_task_restarts_total{task="indexer"}
cvms_task_up{task="reconciler"}
cvms_task_run_duration_seconds_count{task="alert_webhooks"}
cvms_component_up{component="database"}
cvms_component_up{component="tasks"}
cvms_webhook_messages_total{outcome="given_up"}
cvms_webhook_endpoints{state="failing"}
cvms_database_pool_connections{state="in_use"}
cvms_database_pool_waiting
cvms_database_queries_total{outcome="timeout"}
cvms_outbox_lag_seconds
cvms_log_lines_total{level="error"}
process_open_fds
"""


def families(text: str) -> Iterator[tuple[str, Metric]]:
    """Yield the metrics by the names of docs: those of counters end in `_total`."""
    for each in prometheus.text_string_to_metric_families(text):
        yield each.name + ("_total" if each.type == "counter" else ""), each


def _values(family: Metric) -> Iterator[tuple[tuple[tuple[str, str], ...], float]]:
    for each in family.samples:
        yield tuple(sorted(each.labels.items())), each.value


async def test_requests_are_counted_by_route_and_class_of_the_status(service: Service) -> None:
    """Whichever way they come: the short one of ordinary requests, or that of all others."""
    for path in ("/health", "//health", "/api/nothing", "/api/vault/tvl", "/docs/%73tart.js"):
        await service.get(path)
    await service.http.get(f"{service.url}/health", headers={"Connection": "close"})
    await service.http.request("BREW", f"{service.url}/health")
    text = (await service.get("/metrics")).text
    for method, route, status, count in (
        ("GET", "/health", "2xx", 2),
        ("GET", "/api/vault/tvl", "2xx", 1),
        ("GET", "unmatched", "4xx", 3),
        ("other", "unmatched", "4xx", 1),
    ):
        labels = f'{{method="{method}",route="{route}",status="{status}"}}'
        assert f"cvms_http_requests_total{labels} {count}.0" in text
    assert 'cvms_http_request_duration_seconds_count{route="/health"} 2.0' in text
