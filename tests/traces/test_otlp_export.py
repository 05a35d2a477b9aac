"""Spans reach a collector; one that fails costs spans, one line of the log, and no time."""

from __future__ import annotations

import subprocess
import sys
import time

import pytest
import trio
from structlog.testing import capture_logs

from cvms.traces import otlp_export
from cvms.traces.otlp_export import QUEUE, open_traces
from cvms.traces.spans import Span
from cvms.traces.trace_context import new_trace
from tests.traces.collector import Collector

NOTHING_IMPORTED = """
import sys, trio
import cvms.nursery.run
from cvms.traces.otlp_export import open_traces

async def main():
    async with open_traces(None) as traces:
        assert not traces.enabled

trio.run(main)
assert not {each.partition(".")[0] for each in sys.modules} & {"opentelemetry", "redis"}
"""


@pytest.fixture
async def collector(nursery: trio.Nursery, monkeypatch: pytest.MonkeyPatch) -> Collector:
    monkeypatch.setattr(otlp_export, "BATCH_SECONDS", 0.02)
    return await Collector().start(nursery)


def span(name: str) -> Span:
    return Span(name=name, context=new_trace(), started=1.5, ended=2.0, attributes={"a": 1})


async def test_a_span_arrives_with_its_times_and_parent(collector: Collector) -> None:
    parent = new_trace()
    async with open_traces(collector.url + "/") as traces:
        context = parent.child()
        sent = Span(name="one", context=context, parent=parent, started=1.5, ended=2.0, failed=True)
        traces.record(sent)
    [seen] = collector.spans  # what waited was sent at the end
    assert (seen.name, seen.trace_id.hex(), seen.span_id.hex()) == (
        "one",
        parent.trace_id,
        context.span_id,
    )
    assert seen.parent_span_id.hex() == parent.span_id
    assert (seen.start_time_unix_nano, seen.end_time_unix_nano) == (1_500_000_000, 2_000_000_000)
    assert seen.status.code == seen.status.STATUS_CODE_ERROR


async def test_an_outage_of_the_collector_has_two_lines_and_no_more(collector: Collector) -> None:
    collector.status = 400
    with capture_logs() as logs:
        async with open_traces(collector.url) as traces:
            for number in range(3):
                traces.record(span(f"lost {number}"))
                await collector.until(lambda number=number: collector.batches > number)  # type: ignore[misc]
            collector.status = 200
            traces.record(span("sent"))
            await collector.until(lambda: bool(collector.spans))
    assert [each["event"] for each in logs] == ["traces_not_exported", "traces_exported_again"]
    assert [each.name for each in collector.spans] == ["sent"]


async def test_a_collector_that_never_answers_delays_nothing(
    collector: Collector, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(otlp_export, "SHUTDOWN_SECONDS", 0.2)
    collector.status = None
    began = time.monotonic()
    async with open_traces(collector.url) as traces:
        began = time.monotonic()
        for number in range(2 * QUEUE):  # the oldest are dropped
            traces.record(span(str(number)))
    assert time.monotonic() - began < 3


def test_without_a_collector_opentelemetry_is_not_imported() -> None:
    subprocess.run([sys.executable, "-c", NOTHING_IMPORTED], check=True, timeout=60)
