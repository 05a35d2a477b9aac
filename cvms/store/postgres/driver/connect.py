"""Connects to the first address of a connection string that accepts."""

from __future__ import annotations

from collections.abc import Callable

import trio
from psycopg import errors
from psycopg.abc import ConnDict, PQGenConn
from psycopg.conninfo import make_conninfo

from cvms.store.postgres.driver.event_loop import RV, run_connecting
from cvms.store.postgres.driver.host_resolution import addresses

CONNECT_SECONDS = 5.0


async def connect_first(start: Callable[[str], PQGenConn[RV]], params: ConnDict) -> RV:
    """Return a connection to the first address that accepts it.

    `start` is psycopg's connection generator. `connect_timeout` in `params` applies to resolving
    the names and to each address. Raises OperationalError with the error of every address.
    """
    seconds = _timeout(params)
    failures: list[errors.Error] = []
    for address in await _within(seconds, params):
        try:
            with trio.fail_after(seconds):
                return await run_connecting(start(make_conninfo("", **address)))
        except trio.TooSlowError:
            where = address.get("hostaddr") or address.get("host") or "the server"
            failures.append(errors.ConnectionTimeout(f"{where} did not answer in {seconds:g} s"))
        except errors.OperationalError as error:
            failures.append(error)
    if len(failures) == 1:
        raise failures[0]
    raise errors.OperationalError("; ".join(str(failure).strip() for failure in failures))


async def _within(seconds: float, params: ConnDict) -> list[ConnDict]:
    try:
        with trio.fail_after(seconds):
            return await addresses(params)
    except trio.TooSlowError:
        raise errors.ConnectionTimeout(f"names did not resolve in {seconds:g} s") from None


def _timeout(params: ConnDict) -> float:
    seconds = float(params.get("connect_timeout") or 0)
    return seconds if seconds > 0 else CONNECT_SECONDS
