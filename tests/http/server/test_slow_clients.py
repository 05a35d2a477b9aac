"""A client that sends slowly takes nothing but its own connection, and not for long."""

from __future__ import annotations

import socket
import struct
from collections.abc import Mapping, Sequence
from typing import Any

import pytest
import trio
import trio.testing
from structlog.testing import capture_logs

from cvms.config.connection_settings import ListenSettings
from cvms.http.framework.request import Request
from cvms.http.framework.response import Response
from cvms.http.server import connection_pool, http_connection
from tests.harness.service import Service, running
from tests.http.server.raw_requests import HEALTH, SLOW, answers, ask, connected, refusals

HEAD = b"GET /health HTTP/1.1\r\nHost: x\r\n"
BIG = b"GET /big HTTP/1.1\r\nHost: x\r\n\r\n"


async def big(request: Request, variables: object) -> Response:
    return Response(b"x" * 20_000_000)


async def test_a_request_whose_body_does_not_arrive_takes_no_place(database_url: str) -> None:
    async with (
        running(database_url, max_in_flight=1) as service,
        connected(service) as one,
        connected(service) as other,
    ):
        for stream in (one, other):
            await stream.send_all(SLOW)
        assert (await service.get("/api/vault/tvl")).status_code == 200


@pytest.mark.parametrize("part", [SLOW, SLOW[:-1], HEAD, b"G"])
async def test_a_request_that_does_not_arrive_is_a_408_and_the_last(
    service: Service, monkeypatch: pytest.MonkeyPatch, part: bytes
) -> None:
    monkeypatch.setattr(http_connection, "RECEIVE_SECONDS", 0.1)
    async with connected(service) as stream:
        assert b" 200 " in await ask(stream)
        received = await answers(stream, part)
    assert received.startswith(b"HTTP/1.1 408 ")
    assert b"connection: close" in received.lower()
    assert await refusals(service, "slow") == 1


async def test_a_body_has_time_in_proportion_to_what_has_arrived(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(http_connection, "RECEIVE_SECONDS", 0.1)
    monkeypatch.setattr(http_connection, "RECEIVE_RATE", 1000)
    async with connected(service) as steady, connected(service) as slow:
        await steady.send_all(SLOW + b" " * 59_998)
        assert (await answers(slow, SLOW)).startswith(b"HTTP/1.1 408 ")
        assert (await ask(steady, b"}")).startswith(b"HTTP/1.1 400 ")


async def test_an_idle_connection_outlives_what_a_request_may_take(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(http_connection, "RECEIVE_SECONDS", 0.1)
    async with connected(service) as used, connected(service) as new, connected(service) as slow:
        assert b" 200 " in await ask(used)
        assert (await answers(slow, HEAD)).startswith(b"HTTP/1.1 408 ")
        assert b" 200 " in await ask(used)
        assert b" 200 " in await ask(new)


async def test_an_idle_connection_is_closed_after_the_time_that_is_set(database_url: str) -> None:
    assert ListenSettings().keep_alive == 75
    async with running(database_url, listening=ListenSettings(keep_alive=0.1)) as service:
        for first in (HEALTH, b""):
            async with connected(service) as stream:
                received = await answers(stream, first)
                assert received.count(b"HTTP/1.1 ") == (first != b"")


async def test_the_longest_of_too_many_incomplete_bodies_is_given_up(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connection_pool, "MAX_BUFFERED", 100_000)
    part = SLOW + b" " * 39_999
    async with (
        connected(service) as first,
        connected(service) as second,
        connected(service) as third,
    ):
        with capture_logs() as logs:
            for stream in (first, second, third):
                await stream.send_all(part)
                await service.get("/health")  # after which the service has read that part
            assert await answers(first, b"") == b""
        assert not faults(logs)
        for stream in (second, third):
            assert (await ask(stream, b" " * 20_000)).startswith(b"HTTP/1.1 400 ")
        assert await refusals(service, "evicted") == 1


async def test_a_body_that_is_too_much_by_itself_is_given_up(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connection_pool, "MAX_BUFFERED", 0)
    with capture_logs() as logs:
        for _ in range(2):
            async with connected(service) as stream:
                assert await answers(stream, SLOW) == b""
    assert not faults(logs)


async def test_what_is_buffered_is_forgotten_with_the_connection(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connection_pool, "MAX_BUFFERED", 100_000)
    part = SLOW + b" " * 39_999
    for _ in range(3):
        async with connected(service) as left, connected(service) as completed:
            await left.send_all(part)
            assert b" 400 " in await ask(completed, part + b" " * 20_000)
    assert await refusals(service, "evicted") == 0


async def test_a_request_that_is_arriving_at_the_shutdown_is_answered(service: Service) -> None:
    async with connected(service) as stream:
        await stream.send_all(SLOW)
        await service.get("/health")
        service.shutdown.set()
        await trio.testing.wait_all_tasks_blocked()
        assert (await ask(stream, b" " * 59_999)).startswith(b"HTTP/1.1 400 ")
    with trio.fail_after(2):
        await service.stopped.wait()


async def test_a_client_that_does_not_read_its_answer_is_given_up(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(http_connection, "WRITE_SECONDS", 0)
    service.app.add("GET", "/big", big)
    with capture_logs() as logs:
        for _ in range(2):
            async with connected(service) as stream:
                assert 0 < len(await answers(stream, BIG)) < 20_000_000
    assert not faults(logs)


async def test_a_client_that_leaves_during_its_answer_is_no_fault(service: Service) -> None:
    service.app.add("GET", "/big", big)
    with capture_logs() as logs:
        for _ in range(2):
            async with connected(service) as stream:
                assert (await ask(stream, BIG)).startswith(b"HTTP/1.1 200 ")
                reset = struct.pack("ii", 1, 0)
                stream.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, reset)
        service.shutdown.set()
        await service.stopped.wait()
    assert not faults(logs)


def faults(logs: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """Return the lines of errors that nobody expects."""
    return [line for line in logs if "exc_info" in line]
