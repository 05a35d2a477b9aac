"""Export of spans to a collector by OTLP over HTTP, with the SDK of OpenTelemetry.

The SDK's thread sends them in batches. What it cannot send in time is dropped: a collector that
fails costs spans, and nothing else.
"""

from __future__ import annotations

import logging
import math
import os
import platform
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from importlib.metadata import version
from typing import TYPE_CHECKING

import structlog
import trio

from cvms.traces.spans import NO_TRACES, Span, Traces

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import ReadableSpan, SpanProcessor
    from opentelemetry.sdk.trace.export import SpanExporter

log = structlog.get_logger(__name__)

QUEUE = 4096
"""Spans that wait. When it is full the oldest are dropped."""
BATCH = 512
BATCH_SECONDS = 1.0
EXPORT_SECONDS = 5.0
"""For a batch, with all attempts."""
SHUTDOWN_SECONDS = 2.0
"""For the spans that wait when the process ends."""


@asynccontextmanager
async def open_traces(endpoint: str | None) -> AsyncIterator[Traces]:
    """Export spans to a collector, given the URL that `/v1/traces` is added to, until the end of
    the block. Without a URL nothing is recorded.
    """
    if endpoint is None:
        yield NO_TRACES
        return
    processor, exporter, export = await trio.to_thread.run_sync(_start, endpoint)
    try:
        yield Traces(export)
    finally:
        with trio.move_on_after(SHUTDOWN_SECONDS, shield=True) as scope:
            await trio.to_thread.run_sync(processor.shutdown, abandon_on_cancel=True)
        if scope.cancelled_caught:
            exporter.shutdown()  # which ends the attempts of its thread


def _start(endpoint: str) -> tuple[SpanProcessor, SpanExporter, Callable[[Span], None]]:
    # Half a second of imports, which only those pay who trace.
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter  # noqa: PLC0415
    from opentelemetry.sdk.resources import Resource  # noqa: PLC0415
    from opentelemetry.sdk.trace.export import BatchSpanProcessor  # noqa: PLC0415

    # They log each failed attempt and each span that is dropped, with the URL.
    logging.getLogger("opentelemetry").setLevel(logging.CRITICAL + 1)
    exporter = OTLPSpanExporter(
        endpoint=f"{endpoint.rstrip('/')}/v1/traces", timeout=EXPORT_SECONDS
    )
    processor = BatchSpanProcessor(
        _reporting(exporter),
        max_queue_size=QUEUE,
        max_export_batch_size=BATCH,
        schedule_delay_millis=BATCH_SECONDS * 1000,
    )
    resource = Resource(
        {
            "service.name": os.environ.get("OTEL_SERVICE_NAME") or "cvms",
            "service.version": version("cvms"),
            "service.instance.id": f"{platform.node()}:{os.getpid()}",
        }
    )
    make = _span_maker(resource)
    return processor, exporter, lambda span: processor.on_end(make(span))


def _span_maker(resource: object) -> Callable[[Span], ReadableSpan]:
    """Return what makes a span of the SDK of one of ours."""
    from opentelemetry import trace  # noqa: PLC0415
    from opentelemetry.sdk.trace import ReadableSpan  # noqa: PLC0415
    from opentelemetry.sdk.util.instrumentation import InstrumentationScope  # noqa: PLC0415

    kinds = {
        "server": trace.SpanKind.SERVER,
        "client": trace.SpanKind.CLIENT,
        "producer": trace.SpanKind.PRODUCER,
        "internal": trace.SpanKind.INTERNAL,
    }
    scope = InstrumentationScope("cvms")
    sampled = trace.TraceFlags(trace.TraceFlags.SAMPLED)

    def context_of(trace_id: str, span_id: str, *, remote: bool) -> trace.SpanContext:
        return trace.SpanContext(int(trace_id, 16), int(span_id, 16), remote, sampled)

    def make(span: Span) -> ReadableSpan:
        parent, own = span.parent, span.context
        status = trace.StatusCode.ERROR if span.failed else trace.StatusCode.UNSET
        return ReadableSpan(
            name=span.name,
            context=context_of(own.trace_id, own.span_id, remote=False),
            parent=context_of(parent.trace_id, parent.span_id, remote=True) if parent else None,
            resource=resource,  # type: ignore[arg-type]
            attributes=dict(span.attributes),
            kind=kinds[span.kind],
            status=trace.Status(status),
            start_time=math.floor(span.started * 1e9),
            end_time=math.floor(span.ended * 1e9),
            instrumentation_scope=scope,
        )

    return make


def _reporting(exporter: SpanExporter) -> SpanExporter:
    """Return the exporter, which logs the first batch of an outage and the first one after it."""
    from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult  # noqa: PLC0415

    class ReportingExporter(SpanExporter):
        failing = False

        def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
            result = exporter.export(spans)
            failed = result is not SpanExportResult.SUCCESS
            if failed and not self.failing:
                log.warning("traces_not_exported", spans=len(spans), until="the collector answers")
            elif self.failing and not failed:
                log.info("traces_exported_again")
            self.failing = failed
            return result

        def shutdown(self) -> None:
            exporter.shutdown()

    return ReportingExporter()
