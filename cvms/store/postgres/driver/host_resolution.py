"""The addresses that a connection string leads to, with names resolved without blocking.

libpq would call getaddrinfo() itself and stop every task while it waits for a name server.
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
    """One set of parameters for each address to try, in order.

    `host=a,b port=1,2` gives the addresses of `a`, then those of `b`. `target_session_attrs`
    stays in each set, so that a server of the wrong kind is passed over; `prefer-standby` becomes
    a round for standbys and one for any server. `load_balance_hosts=random` shuffles.
    Raises OperationalError when no name resolves.
    """
    prefer_standby = get_param(params, "target_session_attrs") == "prefer-standby"
    if prefer_standby:
        params = {key: value for key, value in params.items() if key != "target_session_attrs"}
    found: list[ConnDict] = []
    unresolved: list[str] = []
    for host_params in split_attempts(params):
        try:
            found.extend(await _resolve(host_params))
        except OSError as error:
            unresolved.append(f"{get_param(host_params, 'host')}: {error.strerror or error}")
    if not found:
        raise OperationalError(f"cannot resolve {'; '.join(unresolved)}")
    if get_param(params, "load_balance_hosts") == "random":
        SystemRandom().shuffle(found)
    if prefer_standby:
        found = [{**one, "target_session_attrs": "standby"} for one in found] + found
    return found


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
