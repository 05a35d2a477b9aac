"""Long statements: what a stream holds, and how it ends."""

from __future__ import annotations

import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import httpx
import pytest
import trio
from solders.keypair import Keypair

from cvms.http.framework import rate_limits
from cvms.http.server import http_connection
from cvms.http.vaults.statements import csv_stream
from tests.harness.service import Service
from tests.http.admin.test_admin_routes import token
from tests.http.vaults.statements.arithmetic import assert_csv_adds_up, read_csv

OWNER = str(Keypair().pubkey())
MANY = 30_000
"""Lines that the sockets do not take at once: 6 MB."""
PROGRAM = "5qgA2qcz6zXYiJJkomV1LJv8UhKueyNsqeCWJd6jC9pT"

FILL = """
WITH lines AS (
    INSERT INTO transactions (
        owner, vault, kind, amount, balance_after, slot, block_time, signature, instruction_index,
        ordinal, commitment
    )
    SELECT %(owner)s, 'vault', 'deposit', 1, n, n, to_timestamp(1700000000 + n),
           repeat('s', 80) || translate(n::TEXT, '0', 'z'), 0, 0, 'finalized'
    FROM generate_series(1, %(lines)s) AS n
), points AS (
    INSERT INTO balance_history (
        owner, slot, vault, total, available, locked, timelocked, yield_deposited, block_time,
        observed
    )
    SELECT %(owner)s, n, 'vault', n, n, 0, 0, 0, to_timestamp(1700000000 + n), FALSE
    FROM generate_series(1, %(lines)s) AS n
), applied AS (
    INSERT INTO applied (slot, signature, final)
    VALUES (%(lines)s, 'last', TRUE)
)
INSERT INTO indexer_cursor (program, slot, signature, through)
VALUES (%(program)s, %(lines)s, 'last', %(lines)s)
"""

READERS = """
SELECT pid
FROM pg_stat_activity
WHERE datname = current_database()
  AND xact_start IS NOT NULL
  AND pid <> pg_backend_pid()
"""

LONG_WAY = {"Connection": "close"}
"""The ordinary way is for connections that are kept."""
WAYS = pytest.mark.parametrize("headers", [{}, LONG_WAY], ids=["ordinary", "long"])
ROUTES = pytest.mark.parametrize(
    "route",
    [f"/api/vault/statement/{OWNER}?format=csv", "/api/admin/statement/lines"],
    ids=["vault", "exchange"],
)


async def fill(service: Service, lines: int) -> None:
    async with service.database.transaction() as conn:
        params = {"owner": OWNER, "lines": lines, "program": PROGRAM}
        await conn.execute(FILL, params)


def bearer(headers: dict[str, str]) -> dict[str, str]:
    return {"Authorization": f"Bearer {token()}", **headers}


@WAYS
@ROUTES
async def test_a_long_file_is_whole_whichever_way_it_takes(
    service: Service, route: str, headers: dict[str, str]
) -> None:
    await fill(service, 4_500)
    reply = await service.http.get(service.url + route, headers=bearer(headers))
    assert reply.status_code == 200
    assert reply.headers["Transfer-Encoding"] == "chunked"
    assert "Content-Length" not in reply.headers
    assert reply.headers["X-Content-Type-Options"] == "nosniff"
    lines = read_csv(reply.text)
    if "vault" in route:
        lines = assert_csv_adds_up(reply.text)
    else:
        assert lines.pop()["kind"] == "end"
    assert [int(line["slot"]) for line in lines] == list(range(1, 4_501))
    # The connection goes on, if it may.
    assert (await service.get("/health")).status_code == 200
    assert not service.app._limits.streams


@WAYS
@ROUTES
async def test_a_file_that_cannot_be_finished_is_not_taken_for_a_whole_one(
    service: Service, route: str, headers: dict[str, str]
) -> None:
    await fill(service, MANY)
    async with service.http.stream("GET", service.url + route, headers=bearer(headers)) as reply:
        assert reply.status_code == 200
        async with service.database.connection() as conn:
            await conn.execute(
                f"SELECT pg_terminate_backend(pid) FROM ({READERS}) AS reader".encode()
            )
        with pytest.raises(httpx.RemoteProtocolError):
            await reply.aread()
    assert (await service.get("/health")).status_code == 200
    await released(service)


@WAYS
@ROUTES
async def test_a_client_that_does_not_read_is_left(
    service: Service, route: str, headers: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(http_connection, "WRITE_SECONDS", 0.2)
    await fill(service, MANY)
    async with unread(service.url + route, headers):
        await released(service)


@WAYS
@ROUTES
async def test_a_client_that_reads_slowly_gets_a_part(
    service: Service, route: str, headers: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(csv_stream, "STREAM_SECONDS", 0.0)
    await fill(service, 4_500)
    with pytest.raises(httpx.RemoteProtocolError):
        await service.http.get(service.url + route, headers=bearer(headers))
    await released(service)


@ROUTES
async def test_an_address_reads_so_many_files_at_a_time(service: Service, route: str) -> None:
    await fill(service, MANY)
    url = service.url + route
    async with unread(url) as one, unread(url) as two:
        assert (one.status_code, two.status_code) == (200, 200)
        refused = await service.http.get(service.url + route, headers=bearer({}))
        assert (refused.status_code, refused.json()["code"]) == (429, "rate_limited")
        assert refused.headers["Retry-After"]
        page = await service.get(f"/api/vault/statement/{OWNER}")
        assert page.status_code == 200
    await released(service)
    async with unread(url) as three:
        assert three.status_code == 200


async def test_the_service_sends_so_many_files_at_a_time(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rate_limits, "MAX_STREAMS", 1)
    await fill(service, MANY)
    path = f"{service.url}/api/vault/statement/{OWNER}?format=csv"
    async with unread(path):
        refused = await service.http.get(path)
        assert (refused.status_code, refused.json()["code"]) == (503, "overloaded")
    await released(service)


@ROUTES
async def test_the_head_of_a_file_holds_nothing(service: Service, route: str) -> None:
    await fill(service, 10)
    reply = await service.http.head(service.url + route, headers=bearer({}))
    assert (reply.status_code, reply.content) == (200, b"")
    assert reply.headers["Content-Type"].startswith("text/csv")
    assert not service.app._limits.streams


async def test_lines_that_are_written_meanwhile_are_in_the_next_file(service: Service) -> None:
    await fill(service, MANY)
    path = f"{service.url}/api/vault/statement/{OWNER}?format=csv"
    async with service.http.stream("GET", path) as reply:
        async with service.database.transaction() as conn:
            await conn.execute("DELETE FROM transactions WHERE slot > 30000")
            await conn.execute("DELETE FROM balance_history WHERE slot > 30000")
        text = (await reply.aread()).decode()
    assert len(assert_csv_adds_up(text)) == MANY
    again = await service.http.get(path)
    assert len(assert_csv_adds_up(again.text)) == 30_000


async def test_an_unknown_vault_is_a_problem_and_no_file(service: Service) -> None:
    path = f"/api/vault/statement/{OWNER}"
    for query in ("", "?format=csv"):
        reply = await service.get(path + query)
        assert (reply.status_code, reply.json()["code"]) == (404, "vault_not_found")
    assert not service.app._limits.streams


@asynccontextmanager
async def unread(url: str, headers: dict[str, str] | None = None) -> AsyncIterator[httpx.Response]:
    """Yield a reply of which the client has read the head, and has little place for more."""
    small = [(socket.SOL_SOCKET, socket.SO_RCVBUF, 8192)]
    transport = httpx.AsyncHTTPTransport(socket_options=small)
    async with (
        httpx.AsyncClient(transport=transport, timeout=30) as http,
        http.stream("GET", url, headers=bearer(headers or {})) as reply,
    ):
        yield reply


async def released(service: Service) -> None:
    """Wait until nothing is streamed, and no transaction is left."""
    with trio.fail_after(8):
        while service.app._limits.streams:  # noqa: ASYNC110
            await trio.sleep(0.01)
