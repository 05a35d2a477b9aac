"""TCP proxy between a replica and PostgreSQL, and the URI that leads through it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from urllib.parse import parse_qs, urlsplit

import trio

from tests.harness.tcp_proxy import TcpProxy, tcp_proxy


@dataclass(frozen=True, slots=True)
class DatabaseProxy:
    """A URI of the same database, which leads through `tcp`."""

    uri: str
    tcp: TcpProxy


@asynccontextmanager
async def database_proxy(database_url: str) -> AsyncIterator[DatabaseProxy]:
    """Serve a proxy of an embedded server, which listens on a Unix socket."""
    parts = urlsplit(database_url)
    [folder] = parse_qs(parts.query)["host"]
    connect = partial(trio.open_unix_socket, f"{folder}/.s.PGSQL.5432")
    async with tcp_proxy(connect) as tcp:
        login = parts.netloc.rpartition("@")[0]
        yield DatabaseProxy(f"{parts.scheme}://{login}@127.0.0.1:{tcp.port}{parts.path}", tcp)
