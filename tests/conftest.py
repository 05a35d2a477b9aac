"""What every test may ask for: a database, a local chain and a Redis of its own."""

from __future__ import annotations

import gc
import tempfile
from collections.abc import AsyncIterator, Generator, Iterator
from pathlib import Path
from typing import Any

import pytest
import structlog
import trio
import trustme
from hypothesis import HealthCheck, settings
from structlog.dev import ConsoleRenderer, plain_traceback

from cvms.localnet import Timing
from cvms.store.postgres.database import Database, open_database
from tests.harness.localnet import FAST, Localnet, start_localnet
from tests.harness.processes import ServerForker, server_forker
from tests.harness.resources import prepare
from tests.postgres_server import BLANK, new_database, set_to_noon
from tests.postgres_server import postgres_server as postgres_server_for_tests
from tests.redis_server import RedisServer

# No example of hypothesis fails because the machine is busy.
settings.register_profile(
    "any_machine", deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("any_machine")

SLOW_SECONDS = 10
"""How long a slow test takes, unless its mark says it: `slow(seconds=...)`."""
SHARE_BEFORE_END = 0.9
"""Of the quick tests, which are begun before the last slow one."""


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Generator[None, object, object]:
    """Keep the garbage collector from the modules and the thousands of tests, which all stay.

    Else each process passes through them again and again: a twentieth of what the tests compute.
    """
    gc.disable()
    try:
        return (yield)
    finally:
        gc.enable()
        gc.collect()
        gc.freeze()


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Let the processes of xdist wait and compute at once, and none be left with a long test.

    Slow tests mostly wait and quick ones compute: spread the slow ones, the longest first.
    """
    if not hasattr(config, "workerinput"):
        return
    marks = [(item, item.get_closest_marker("slow")) for item in items]
    slow = [(item, mark.kwargs.get("seconds", SLOW_SECONDS)) for item, mark in marks if mark]
    slow.sort(key=lambda each: each[1], reverse=True)
    quick = [item for item, mark in marks if not mark]
    between = int(SHARE_BEFORE_END * len(quick)) // max(len(slow), 1)
    items.clear()
    for number, (item, _) in enumerate(slow):
        items += [item, *quick[number * between : (number + 1) * between]]
    items += quick[len(slow) * between :]


@pytest.fixture(autouse=True)
def logging_as_it_was(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A command that is run in a test configures logging for its process; others see none of it."""
    configure, before = structlog.configure, structlog.get_config()

    def for_this_test(**settings: Any) -> None:
        configure(**settings | {"cache_logger_on_first_use": False})

    monkeypatch.setattr(structlog, "configure", for_this_test)
    yield
    configure(**before)


@pytest.fixture(scope="session", autouse=True)
def plain_tracebacks() -> None:
    """Show a logged exception as Python does: as rich does, with all locals, takes 150 ms."""
    ConsoleRenderer.get_active().exception_formatter = plain_traceback


@pytest.fixture(scope="session", autouse=True)
def short_list_of_authorities(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """No test trusts the public authorities, and reading their list takes 20 ms for each client."""
    with pytest.MonkeyPatch.context() as patch:
        file = tmp_path_factory.mktemp("authorities") / "none.pem"
        trustme.CA().cert_pem.write_to_path(str(file))
        patch.setenv("SSL_CERT_FILE", str(file))
        yield


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[str]:
    """The URI of an embedded PostgreSQL, one for each test process; gone afterwards."""
    with postgres_server_for_tests() as uri:
        yield uri


@pytest.fixture
def empty_database_url(postgres_server: str) -> Iterator[str]:
    """The URI of a fresh database without the schema, dropped afterwards."""
    with new_database(postgres_server, BLANK) as uri:
        yield uri


@pytest.fixture
def database_url(postgres_server: str) -> Iterator[str]:
    """The URI of a fresh database with the schema and without a row, dropped afterwards."""
    with new_database(postgres_server) as uri:
        yield uri


@pytest.fixture
def database_at_noon(database_url: str) -> None:
    """Move the database's clock to noon: no test of one day may end in the next."""
    set_to_noon(database_url)


@pytest.fixture
async def database(database_url: str) -> AsyncIterator[Database]:
    """A fresh database with the schema, open."""
    async with open_database(database_url) as database:
        await prepare(database)
        yield database


@pytest.fixture
def timing() -> Timing:
    """The slots of the local chain: fast, unless a folder's tests override it."""
    return FAST


@pytest.fixture
async def localnet(nursery: trio.Nursery, timing: Timing) -> Localnet:
    """An in-memory local chain with the program, the mint and a funded operator."""
    return await start_localnet(nursery, timing)


@pytest.fixture(scope="session")
def forker() -> Iterator[ServerForker]:
    """The process that servers are forked from: they start without importing everything again."""
    with server_forker() as started:
        yield started


@pytest.fixture
def redis_server() -> Iterator[RedisServer]:
    with tempfile.TemporaryDirectory(prefix="cvms-redis-") as folder:
        server = RedisServer(Path(folder))
        yield server
        server.client.close()
        server.kill()
