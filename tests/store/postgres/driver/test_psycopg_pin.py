"""The trio connection replaces parts of psycopg that psycopg may change in any release."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import psycopg
import pytest
from psycopg import AsyncConnection, AsyncTransaction, _conninfo_utils, generators, pq

PINNED = "3.3.9"

# What we override or call, as it was when we wrote it.
SIGNATURES: list[tuple[Callable[..., Any], list[str]]] = [
    (AsyncConnection.wait, ["self", "gen", "interval", "timeout"]),
    (AsyncConnection.cancel_safe, ["self", "timeout"]),
    (AsyncConnection._try_cancel, ["self", "timeout"]),
    (AsyncConnection.transaction, ["self", "savepoint_name", "force_rollback"]),
    (AsyncConnection.__init__, ["self", "pgconn", "row_factory"]),
    (AsyncConnection._connect_gen, ["conninfo"]),
    (AsyncConnection._cancel_gen, ["self"]),
    (AsyncConnection._should_cancel, ["self"]),
    (AsyncTransaction.__aexit__, ["self", "exc_type", "exc_val", "exc_tb"]),
    (AsyncTransaction.__init__, ["self", "connection", "savepoint_name", "force_rollback"]),
    (generators.notifies, ["pgconn"]),
    (_conninfo_utils.split_attempts, ["params"]),
    (_conninfo_utils.get_param, ["params", "name"]),
    (_conninfo_utils.is_ip_address, ["s"]),
]


def test_psycopg_is_the_release_that_the_trio_connection_was_written_for() -> None:
    assert psycopg.__version__ == PINNED


@pytest.mark.parametrize(
    ("function", "parameters"), SIGNATURES, ids=[f.__qualname__ for f, _ in SIGNATURES]
)
def test_the_replaced_parts_still_have_their_parameters(
    function: Callable[..., Any], parameters: list[str]
) -> None:
    assert list(inspect.signature(function).parameters) == parameters


def test_libpq_can_cancel_without_blocking() -> None:
    assert pq.version() >= 17_00_00


def test_asyncio_is_used_only_where_it_is_replaced() -> None:
    """Another method that uses asyncio would fail under trio only when it is called."""
    replaced = {"connect", "wait", "cancel_safe"}
    uses = {
        name
        for name, method in vars(AsyncConnection).items()
        if inspect.iscoroutinefunction(method) or isinstance(method, classmethod)
        if any(word in inspect.getsource(method) for word in ("asyncio.", "waiting.", "ALock"))
    }
    assert uses <= replaced


def test_a_connection_still_keeps_the_state_that_we_read() -> None:
    source = inspect.getsource(psycopg._connection_base.BaseConnection.__init__)
    for attribute in ("_num_transactions", "_autocommit", "_adapters", "_closed", "_pipeline"):
        assert f"self.{attribute}" in source
    assert "self.lock = ALock()" in inspect.getsource(AsyncConnection.__init__)
