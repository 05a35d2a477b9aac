"""One deposit is one trace, whichever replica does a part of it."""

from __future__ import annotations

import trio
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from cvms.config.connection_settings import TraceSettings
from tests.harness.localnet import Localnet
from tests.harness.service import frame, running, subscribe, whole_service
from tests.http.wallets import USDT, deposit, funded, initialize, land, submit
from tests.traces.collector import Collector
from tests.websockets import opened

NAMES = ("POST /api/vault/deposit", "POST /api/transactions", "transaction", "index_events")


async def test_a_deposit_is_one_trace_from_the_request_to_the_frame(
    database_url: str, localnet: Localnet, nursery: trio.Nursery
) -> None:
    collector = await Collector().start(nursery)
    settings = localnet.settings | {"tracing": TraceSettings(endpoint=collector.url)}
    async with (
        whole_service(database_url, **settings) as leader,
        running(database_url, **settings) as front,
        opened(leader.url.replace("http", "ws") + "/ws") as socket,
    ):
        await subscribe(socket, "deposit_event")
        wallet = await funded(front)
        await land(front, wallet, await initialize(front, wallet))
        reply = await deposit(front, wallet, 5 * USDT)
        signature = (await submit(front, wallet, reply)).json()["signature"]
        while (message := await frame(socket))["type"] != "event":
            pass
        assert message["signature"] == signature
        await collector.until(lambda: "websocket_frame" in names(deposit_trace(collector)))
        await collector.until(lambda: set(NAMES) <= names(deposit_trace(collector)))
    trace = {span.name: span for span in deposit_trace(collector)}
    request = trace["POST /api/vault/deposit"]
    assert request.parent_span_id == b""
    assert trace["POST /api/transactions"].parent_span_id == request.span_id
    assert trace["transaction"].parent_span_id == request.span_id
    assert trace["index_events"].parent_span_id == trace["transaction"].span_id
    assert trace["websocket_frame"].parent_span_id == trace["index_events"].span_id
    for name in ("POST /api/transactions", "transaction", "index_events", "websocket_frame"):
        assert attributes(trace[name])["cvms.signature"] == signature


def names(trace: list[Span]) -> set[str]:
    return {span.name for span in trace}


def attributes(span: Span) -> dict[str, str]:
    return {each.key: each.value.string_value for each in span.attributes}


def deposit_trace(collector: Collector) -> list[Span]:
    """Return the spans of the trace that begins with the request for the deposit."""
    roots = [each for each in collector.spans if each.name == "POST /api/vault/deposit"]
    return [each for each in collector.spans if roots and each.trace_id == roots[0].trace_id]
