"""An exception of a handler reaches the client as one problem, and the log in full."""

from __future__ import annotations

from collections.abc import Iterator, MutableSequence
from typing import NoReturn

import pytest
import structlog
import trio
from structlog.testing import capture_logs

from cvms.errors import ChainUnavailable, DatabaseUnavailable, NotFound
from cvms.http.framework import edge
from tests.harness.service import Service, running

Logs = MutableSequence[structlog.typing.EventDict]


def raising(service: Service, error: BaseException) -> None:
    async def handler() -> NoReturn:
        raise error

    service.app.add_url_rule("/raise", "raise", handler)


@pytest.fixture
def logs() -> Iterator[Logs]:
    with capture_logs() as captured:
        yield captured


async def test_an_internal_error_shows_only_the_id_under_which_it_is_logged(
    service: Service, logs: Logs
) -> None:
    raising(service, ValueError("postgresql://user:secret@host/db"))
    reply = await service.get("/raise")
    assert reply.status_code == 500
    assert "secret" not in reply.text
    assert "ValueError" not in reply.text
    problem = reply.json()
    assert problem["code"] == "internal_error"
    assert problem["instance"] == f"urn:cvms:request:{reply.headers['X-Request-Id']}"
    assert [str(entry["exc_info"]) for entry in logs if entry["event"] == "request_failed"] == [
        "postgresql://user:secret@host/db"
    ]


async def test_every_member_of_a_group_is_logged(service: Service, logs: Logs) -> None:
    group = ExceptionGroup("two", [NotFound("gone"), ExceptionGroup("", [RuntimeError("broken")])])
    raising(service, group)
    reply = await service.get("/raise")
    assert (reply.status_code, reply.json()["code"]) == (500, "internal_error")
    logged = {str(entry.get("exc_info")) for entry in logs}
    assert "broken" in logged


async def test_a_group_of_known_errors_is_answered_with_one_and_the_rest_are_logged(
    service: Service, logs: Logs
) -> None:
    raising(service, ExceptionGroup("two", [NotFound("gone"), ChainUnavailable("all down")]))
    reply = await service.get("/raise")
    assert (reply.status_code, reply.json()["code"]) == (404, "not_found")
    assert "all down" in {str(entry.get("exc_info")) for entry in logs}


async def test_an_outage_is_a_503_without_details_and_with_retry_after(service: Service) -> None:
    raising(service, DatabaseUnavailable("could not connect to 10.0.0.7"))
    reply = await service.get("/raise")
    assert (reply.status_code, reply.json()["code"]) == (503, "database_unavailable")
    assert reply.headers["Retry-After"] == "1"
    assert "10.0.0.7" not in reply.text


async def test_a_request_has_a_deadline(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(edge, "REQUEST_SECONDS", 0.05)
    service.app.add_url_rule("/hang", "hang", trio.sleep_forever)
    reply = await service.get("/hang")
    assert (reply.status_code, reply.json()["code"]) == (504, "deadline_exceeded")


async def test_too_many_requests_at_once_are_refused_early_and_probes_are_not(
    database_url: str,
) -> None:
    release = trio.Event()
    entered = trio.Event()

    async def hold() -> str:
        entered.set()
        await release.wait()
        return "done"

    async with running(database_url, max_in_flight=1) as service:
        service.app.add_url_rule("/hold", "hold", hold)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(service.get, "/hold")
            await entered.wait()
            reply = await service.get("/api/vault/tvl")
            assert (reply.status_code, reply.json()["code"]) == (503, "overloaded")
            assert reply.headers["Retry-After"] == "1"
            assert (await service.get("/health")).status_code == 200
            release.set()
        assert (await service.get("/api/vault/tvl")).status_code == 200


async def test_every_response_has_the_security_headers(service: Service) -> None:
    for path in ("/health", "/api/nothing", "/metrics"):
        headers = (await service.get(path)).headers
        assert headers["X-Content-Type-Options"] == "nosniff"
        assert headers["Cache-Control"] == "no-store"
        assert "Server" not in headers


async def test_a_client_that_leaves_cancels_its_request(service: Service) -> None:
    entered, ended = trio.Event(), trio.Event()

    async def hold() -> NoReturn:
        entered.set()
        try:
            await trio.sleep_forever()
        finally:
            ended.set()

    service.app.add_url_rule("/hold", "hold", hold)
    async with await trio.open_tcp_stream("127.0.0.1", service.port) as stream:
        await stream.send_all(b"GET /hold HTTP/1.1\r\nHost: x\r\n\r\n")
        await entered.wait()
    with trio.fail_after(5):
        await ended.wait()
