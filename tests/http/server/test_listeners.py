"""The sockets that the service listens on, and the limit of open files that it respects."""

from __future__ import annotations

import resource
from collections.abc import Iterator

import pytest
from structlog.testing import capture_logs

from cvms.config.connection_settings import ListenSettings
from cvms.errors import ConfigurationError
from cvms.http.server.listeners import (
    RESERVED_FILES,
    connection_limit,
    limit_for,
    open_socket,
)
from tests.harness.service import running

MOST = 8192


@pytest.fixture
def limits() -> Iterator[tuple[int, int]]:
    """The limits of open files, which are restored after the test."""
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    yield before
    resource.setrlimit(resource.RLIMIT_NOFILE, before)


async def test_the_address_of_all_is_that_of_ipv4_too(database_url: str) -> None:
    async with running(database_url, host="::") as service:
        for host in ("127.0.0.1", "[::1]"):
            url = f"http://{host}:{service.port}"
            assert (await service.http.get(f"{url}/health")).status_code == 200


def test_workers_listen_on_the_same_addresses() -> None:
    for host in ("::", "::1", "127.0.0.1"):
        with open_socket(host, 0, setting="PORT") as opened:
            assert opened.getsockname()[0] == host
            assert (opened.family.name == "AF_INET6") == (":" in host)


async def test_a_port_that_is_taken_is_named_with_its_setting(database_url: str) -> None:
    with open_socket("127.0.0.1", 0, setting="PORT") as taken:
        port = taken.getsockname()[1]
        for name, settings in {
            "PORT": {"port": port},
            "ADMIN_PORT": {"listening": ListenSettings(admin_port=port)},
        }.items():
            with pytest.raises(ExceptionGroup) as caught:
                async with running(database_url, **settings):
                    pass
            assert caught.group_contains(ConfigurationError, match=f"^{name} holds {port} and HOST")


def test_the_limit_of_open_files_is_raised_and_said_once(limits: tuple[int, int]) -> None:
    hard = limits[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (400, hard))
    with capture_logs() as logs:
        assert connection_limit(MOST) == limit_for(hard, most=MOST)
    assert resource.getrlimit(resource.RLIMIT_NOFILE) == limits
    [line] = logs
    assert line["event"] == "connection_limit_set"
    assert (line["connections"], line["open_files"]) == (limit_for(hard, most=MOST), hard)


def test_a_limit_that_cannot_be_raised_is_respected(
    limits: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise ValueError("not allowed to raise maximum limit")

    resource.setrlimit(resource.RLIMIT_NOFILE, (1000, limits[1]))
    with monkeypatch.context() as patch:
        patch.setattr(resource, "setrlimit", refuse)
        assert connection_limit(MOST) == 1000 - RESERVED_FILES


@pytest.mark.parametrize(
    ("files", "connections"),
    [
        (1_000_000, MOST),
        (resource.RLIM_INFINITY, MOST),
        (1024, 1024 - RESERVED_FILES),
        (256, 128),
    ],
)
def test_other_files_have_a_reserve(files: int, connections: int) -> None:
    assert limit_for(files, most=MOST) == connections
