"""The front end of a process, and what it is given."""

from __future__ import annotations

import time
from collections.abc import Callable

from cvms.http import create_app
from cvms.http.framework.edge import MAX_IN_FLIGHT, Edge
from cvms.http.websocket.client_session import WebSocketLimits
from cvms.nursery.wiring.resources import Resources


def build_front_end(
    resources: Resources,
    *,
    websocket_limits: WebSocketLimits | None = None,
    max_in_flight: int = MAX_IN_FLIGHT,
    wall_clock: Callable[[], float] = time.time,
) -> Edge:
    """Build the application that the HTTP server serves."""
    return create_app(
        config=resources.config,
        database=resources.database,
        queries=resources.queries,
        reader=resources.reader,
        rpc=resources.rpc,
        programs=resources.programs,
        signers=resources.signers,
        hub=resources.hub,
        accounts=resources.accounts,
        submit_wake=resources.submit_wake,
        board=resources.board,
        replies=resources.replies,
        metrics=resources.metrics,
        log=resources.log,
        traces=resources.traces,
        limiter=resources.limiter,
        yield_sources=resources.yield_sources,
        websocket_limits=websocket_limits or WebSocketLimits(),
        max_in_flight=max_in_flight,
        wall_clock=wall_clock,
    )
