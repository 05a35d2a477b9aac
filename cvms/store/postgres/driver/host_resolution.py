"""Resolves the host names of a connection string without blocking.

libpq would call getaddrinfo() itself and block every task while it waits for a name server.
"""

from __future__ import annotations

import socket
from collections.abc import Mapping
from random import SystemRandom

import trio
from psycopg import OperationalError
from psycopg._conninfo_utils import get_param, is_ip_address, split_attempts
from psycopg.abc import ConnDict, ConnParam

DEFAULT_PORT = "5432"


async def addresses(params: Mapping[str, ConnParam]) -> list[ConnDict]:
    """Return one set of parameters for each address to try, in order.

    `host=a,b port=1,2` gives the addresses of `a`, then those of `b`. `target_session_attrs`
    stays in each set, so that a server of the wrong kind is skipped; `prefer-standby` becomes a
    first attempt for standbys and a second one for any server. `load_balance_hosts=random`
    shuffles. Raises OperationalError if no name resolves.
    """
    prefer_standby = get_param(params, "target_session_attrs") == "prefer-standby"
    if prefer_standby:
        params = {key: value for key, value in params.items() if key != "target_session_attrs"}
    resolved: list[ConnDict] = []
    unresolved: list[str] = []
    for host_params in split_attempts(params):
        try:
            resolved.extend(await _resolve(host_params))
        except OSError as error:
            unresolved.append(f"{get_param(host_params, 'host')}: {error.strerror or error}")
    if not resolved:
        raise OperationalError(f"cannot resolve {'; '.join(unresolved)}")
    if get_param(params, "load_balance_hosts") == "random":
        SystemRandom().shuffle(resolved)
    if prefer_standby:
        resolved = [
            {**address, "target_session_attrs": "standby"} for address in resolved
        ] + resolved
    return resolved


async def _resolve(params: ConnDict) -> list[ConnDict]:
    host = get_param(params, "host")
    if not host or host.startswith(("/", "@")) or get_param(params, "hostaddr"):
        return [params]
    if is_ip_address(host):
        return [{**params, "hostaddr": host}]
    answers = await trio.socket.getaddrinfo(
        host,
        get_param(params, "port") or DEFAULT_PORT,
        proto=socket.IPPROTO_TCP,
        type=socket.SOCK_STREAM,
    )
    return [{**params, "hostaddr": str(sockaddr[0])} for *_, sockaddr in answers]
