"""Nothing that a running service or a command says has a part of a key or password in it."""

from __future__ import annotations

import base64
import json
import re
import secrets
import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx
import psycopg
import pytest
import trio
from psycopg import sql
from solders.keypair import Keypair

from cvms.dev.data_folder import write_private
from tests.harness.free_ports import free_port
from tests.harness.processes import Server, ServerForker, cvms, serving
from tests.scenario.context import ADMIN_JWT_SECRET, administrator_headers
from tests.store.own_server import OwnServer

pytestmark = pytest.mark.slow

SCRAM = "host all all 127.0.0.1/32 scram-sha-256\n"
FRAGMENT = 4
"""Characters of a secret in a row that must not be told."""
LETTERS, MARK = "0OIl", "~"
"""No base58, hexadecimal or base64 has the mark, nor does a sentence: what is told has no fragment
of a secret by coincidence. It is never percent-encoded.
"""


def new_secret() -> str:
    pairs = iter(lambda: "".join(map(secrets.choice, [LETTERS] * 2)) + MARK, "")
    words = ("".join(islice(pairs, 3)) for _ in range(4))
    return "{}@{}/{}%:?#{{é {}".format(*words)


@pytest.fixture
def guarded() -> Iterator[tuple[OwnServer, str]]:
    """A PostgreSQL that wants a password, and the password."""
    password = new_secret()
    with tempfile.TemporaryDirectory(prefix="cvms-own-pg-") as folder:
        server = OwnServer(Path(folder))
        server.start()
        try:
            with psycopg.connect(server.uri(), autocommit=True) as connection:
                alter = sql.SQL("ALTER USER postgres PASSWORD {}")
                connection.execute(alter.format(sql.Literal(password)))
                row = connection.execute("SHOW hba_file").fetchone()
                assert row is not None
                Path(row[0]).write_text(SCRAM)
                connection.execute("SELECT pg_reload_conf()")
            yield server, password
        finally:
            server.stop()


def assert_hidden(text: str, *hidden: str) -> None:
    assert text
    for header in re.findall("Basic ([A-Za-z0-9+/]+)", text):
        text += base64.b64decode(header[: len(header) // 4 * 4]).decode(errors="replace")
    for secret in hidden:
        for at in range(len(secret) - FRAGMENT + 1):
            fragment = secret[at : at + FRAGMENT]
            if MARK in fragment and {*LETTERS} & {*fragment}:
                assert fragment not in text, f"{fragment!r} of a secret is in {text!r}"


async def echo(stream: trio.SocketStream) -> None:
    """Refuse a request, and quote it."""
    try:
        asked = await stream.receive_some(4096)
        body = b"not allowed: " + asked
        head = f"HTTP/1.1 403 Forbidden\r\nContent-Length: {len(body)}\r\n\r\n"
        await stream.send_all(head.encode() + body)
    except trio.BrokenResourceError:
        pass


@asynccontextmanager
async def echoing() -> AsyncIterator[int]:
    """Run a server that quotes whatever it is asked, and yield its port."""
    async with trio.open_nursery() as nursery:
        (listener,) = await nursery.start(partial(trio.serve_tcp, echo, 0, host="127.0.0.1"))
        yield listener.socket.getsockname()[1]
        nursery.cancel_scope.cancel()


async def replies(server: Server, http: httpx.AsyncClient) -> list[httpx.Response]:
    """Return what the service says to strangers and to administrators."""
    owner = {"owner": str(Keypair().pubkey()), "user_pubkey": str(Keypair().pubkey())}
    asked = []
    for headers in ({}, administrator_headers()):
        ask = partial(http.request, headers=headers)
        for path in ("/ready", "/metrics", "/health", "/api/admin/tasks", "/api/vault/tvl"):
            asked.append(await ask("GET", server.url + path))
        asked.append(await ask("POST", f"{server.url}/api/auth/nonce", json=owner))
        asked.append(await ask("POST", f"{server.url}/api/vault/initialize", json=owner))
    return asked


async def parts(server: Server, http: httpx.AsyncClient) -> dict[str, str]:
    """Return the kind of trouble of each component, once the service listens."""
    while True:
        try:
            found: dict[str, Any] = (await http.get(f"{server.url}/ready")).json()["parts"]
        except httpx.TransportError:
            assert not server.ended(), server.log()
            await trio.sleep(0.05)
            continue
        return {name: part["kind"] for name, part in found.items()}


@pytest.mark.parametrize("right", [False, True], ids=["wrong password", "right password"])
async def test_a_running_service_tells_no_secret(
    right: bool, guarded: tuple[OwnServer, str], forker: ServerForker, tmp_path: Path
) -> None:
    database, password = guarded
    given = password if right else new_secret()
    key, user, redis, webhook = (new_secret() for _ in range(4))
    write_private(tmp_path / "operator.json", json.dumps(list(bytes(Keypair()))))
    async with echoing() as port, httpx.AsyncClient(timeout=30) as http:
        rpc = f"http://{quote(user, safe='')}@127.0.0.1:{port}/{quote(key, safe='')}"
        environ = {
            "PORT": str(free_port()),
            "DATABASE_URL": database.uri().replace(
                "postgres@", f"postgres:{quote(given, safe='')}@"
            ),
            "SOLANA_RPC_URL": f"{rpc},http://127.0.0.1:1/?key={quote(key, safe='')}",
            "SOLANA_WS_URL": rpc.replace("http", "ws"),
            "REDIS_URL": f"redis://:{quote(redis, safe='')}@127.0.0.1:{port}",
            "ALERT_WEBHOOK_URL": f"http://127.0.0.1:{port}/{quote(webhook, safe='')}",
            "ALERT_WEBHOOK_SECRET": "whsec_" + "c2VjcmV0" * 4,
            "WEBHOOK_PRIVATE_ADDRESSES": "on",
            "ADMIN_JWT_SECRET": ADMIN_JWT_SECRET,
            "DEPLOYER_KEYPAIR_PATH": str(tmp_path / "operator.json"),
        }
        told: list[str] = []
        async with serving(Server(forker, tmp_path, environ)) as server:
            wanted = {"database": "ok" if right else "authentication", "rpc": "unavailable"}
            wanted["indexer"] = "catching_up"
            while not wanted.items() <= (await parts(server, http)).items():
                assert not server.ended(), server.log()
                await trio.sleep(0.05)
            told += [reply.text for reply in await replies(server, http)]
            await server.stop()
        told.append((tmp_path / "server.log").read_text())
        for command in (["index", "status"], ["index", "rebuild"], ["audit", "verify"]):
            async with cvms(*command, folder=tmp_path, environ=environ) as running:
                await running.process.wait()
            told += [running.log(), " ".join(running.printed)]
    everything = "\n".join(told)
    assert_hidden(everything, password, given, key, user, redis, webhook)
    public = told[0]
    assert "127.0.0.1" not in public
    assert f"127.0.0.1:{port}" in everything  # logs and administrators do see hosts
