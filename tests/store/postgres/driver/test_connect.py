"""From a connection string to the server: several hosts, names, TLS, silent servers."""

from __future__ import annotations

import socket
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import psycopg
import pytest
import trio
import trustme

from cvms.store.postgres.driver.connection import Connection
from cvms.store.postgres.driver.host_resolution import addresses
from cvms.store.postgres.session import open_session
from tests.store.own_server import OwnServer, execute
from tests.store.proxy import silent_server, tls_proxy


@pytest.fixture
def dead_port() -> Iterator[int]:
    """A port that no server listens on."""
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        yield bound.getsockname()[1]


async def resolve_service(host: str, *_: object, **__: object) -> list[object]:
    """The name service of these tests: `database` has a dead address and a live one."""
    known = {"database": ["127.0.0.2", "127.0.0.1"], "localhost": ["127.0.0.1"]}
    if host not in known:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
    return [
        (socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP, "", (address, 0))
        for address in known[host]
    ]


class Names(trio.abc.HostnameResolver):
    async def getaddrinfo(self, host: object, *_: object, **__: object) -> list[object]:  # type: ignore[override]
        return await resolve_service((host or b"").decode())  # type: ignore[attr-defined]

    async def getnameinfo(self, *_: object) -> tuple[str, str]:
        raise NotImplementedError


@pytest.fixture
async def names() -> AsyncIterator[None]:
    before = trio.socket.set_custom_hostname_resolver(Names())
    yield
    trio.socket.set_custom_hostname_resolver(before)


async def port_of(conninfo: str) -> int:
    connection = await Connection.connect(conninfo)
    port = connection.info.port
    connection.finish()
    return port


async def test_the_second_host_is_tried_when_the_first_refuses(
    own_server: OwnServer, dead_port: int
) -> None:
    hosts = f"host=127.0.0.1,127.0.0.1 port={dead_port},{own_server.port} user=postgres"
    assert await port_of(hosts) == own_server.port


async def test_the_second_host_is_tried_when_the_first_keeps_silent(own_server: OwnServer) -> None:
    async with silent_server() as silent:
        ports = f"{silent},{own_server.port}"
        hosts = f"host=127.0.0.1,127.0.0.1 port={ports} user=postgres connect_timeout=1"
        with trio.fail_after(3):
            assert await port_of(hosts) == own_server.port


async def test_every_address_of_a_name_is_tried(own_server: OwnServer, names: None) -> None:
    with trio.fail_after(3):
        connection = await Connection.connect(own_server.uri("database"))
    assert connection.info.host == "database"
    assert connection.info.hostaddr == "127.0.0.1"
    connection.finish()


async def test_a_host_that_does_not_resolve_leaves_the_others(
    own_server: OwnServer, names: None
) -> None:
    hosts = f"host=nowhere,localhost port={own_server.port} user=postgres"
    assert await port_of(hosts) == own_server.port


async def test_names_that_do_not_resolve_are_named(names: None) -> None:
    with pytest.raises(psycopg.OperationalError, match="nowhere"):
        await Connection.connect("host=nowhere")


async def test_a_failure_of_every_host_names_the_error_of_each(dead_port: int) -> None:
    async with silent_server() as silent:
        hosts = f"host=127.0.0.1,127.0.0.1 port={silent},{dead_port} connect_timeout=1"
        with pytest.raises(psycopg.OperationalError, match=r"did not answer in 1 s.*refused"):
            await Connection.connect(hosts)


async def test_the_session_attributes_decide_which_host_is_used(own_server: OwnServer) -> None:
    """`target_session_attrs` skips servers that cannot write."""
    execute(own_server.uri(), "ALTER SYSTEM SET default_transaction_read_only = on")
    execute(own_server.uri(), "SELECT pg_reload_conf()")
    try:
        with pytest.raises(psycopg.OperationalError, match="read-only"):
            await port_of(own_server.uri(target_session_attrs="read-write"))
        assert await port_of(own_server.uri(target_session_attrs="read-only")) == own_server.port
    finally:
        undo = "BEGIN READ WRITE; COMMIT"
        with psycopg.connect(own_server.uri(), autocommit=True) as connection:
            connection.execute(undo.encode())
            connection.execute("ALTER SYSTEM RESET default_transaction_read_only")
            connection.execute("SELECT pg_reload_conf()")


async def test_a_standby_is_preferred_but_any_server_is_accepted(own_server: OwnServer) -> None:
    uri = own_server.uri(target_session_attrs="prefer-standby")
    assert await port_of(uri) == own_server.port


async def test_hosts_keep_their_order_and_their_ports() -> None:
    found = await addresses({"host": "127.0.0.1,127.0.0.2", "port": "1,2"})
    assert [(one["hostaddr"], one["port"]) for one in found] == [
        ("127.0.0.1", "1"),
        ("127.0.0.2", "2"),
    ]


async def test_a_silent_server_costs_the_connect_timeout_and_no_more() -> None:
    async with silent_server() as silent:
        with trio.fail_after(2), pytest.raises(psycopg.OperationalError, match="answer in 0"):
            await open_session(
                f"host=127.0.0.1 port={silent}", connect_timeout=0.5, query_timeout=1
            )


async def test_connecting_can_be_cancelled() -> None:
    async with silent_server() as silent:
        with trio.fail_after(1), trio.move_on_after(0.1) as scope:
            await open_session(f"host=127.0.0.1 port={silent}", connect_timeout=9, query_timeout=1)
        assert scope.cancelled_caught


@pytest.fixture
def authority(tmp_path: Path) -> tuple[trustme.CA, str]:
    """A certificate authority and the file of its certificate."""
    authority = trustme.CA()
    authority.cert_pem.write_to_path(tmp_path / "authority.pem")
    return authority, str(tmp_path / "authority.pem")


async def test_tls_is_used_and_the_name_checked(
    own_server: OwnServer, authority: tuple[trustme.CA, str]
) -> None:
    ca, root = authority
    async with tls_proxy(own_server.port, ca, "localhost") as port:
        conninfo = (
            f"host=localhost port={port} user=postgres sslmode=verify-full sslrootcert={root}"
        )
        async with await Connection.connect(conninfo) as connection:
            assert connection.pgconn.ssl_in_use
            large = await connection.execute("SELECT repeat('x', 1000000)")
            assert len((await large.fetchone() or ("",))[0]) == 1_000_000


async def test_a_query_is_cancelled_over_tls_too(
    own_server: OwnServer, authority: tuple[trustme.CA, str]
) -> None:
    ca, root = authority
    async with tls_proxy(own_server.port, ca, "localhost") as port:
        conninfo = (
            f"host=localhost port={port} user=postgres sslmode=verify-full sslrootcert={root}"
        )
        async with await Connection.connect(conninfo, autocommit=True) as connection:
            with trio.fail_after(5), trio.move_on_after(0.1):
                await connection.execute("SELECT pg_sleep(60)")
            assert connection.reusable


async def test_a_certificate_for_another_name_is_refused(
    own_server: OwnServer, authority: tuple[trustme.CA, str]
) -> None:
    ca, root = authority
    async with tls_proxy(own_server.port, ca, "elsewhere.example") as port:
        with pytest.raises(psycopg.OperationalError, match="localhost"):
            await Connection.connect(
                f"host=localhost port={port} user=postgres sslmode=verify-full sslrootcert={root}"
            )


async def test_a_certificate_of_an_unknown_authority_is_refused(
    own_server: OwnServer, authority: tuple[trustme.CA, str]
) -> None:
    _, root = authority
    async with tls_proxy(own_server.port, trustme.CA(), "localhost") as port:
        with pytest.raises(psycopg.OperationalError, match="certificate verify failed"):
            await Connection.connect(
                f"host=localhost port={port} user=postgres sslmode=verify-full sslrootcert={root}"
            )
