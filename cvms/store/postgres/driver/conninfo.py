"""Checks of connection strings of PostgreSQL, without a connection, that quote nothing of them.

libpq's own errors quote what they cannot read, which may be a part of the password.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from difflib import get_close_matches
from ipaddress import ip_address

import psycopg
from psycopg import pq
from psycopg.conninfo import conninfo_to_dict

from cvms.errors import BadValue
from cvms.secret_urls import (
    after_scheme,
    check_encoding,
    check_port,
    check_user,
    is_host,
    split_host,
)

SCHEMES = ("postgresql", "postgres")
_INTEGERS = frozenset(
    {
        "connect_timeout",
        "keepalives",
        "keepalives_idle",
        "keepalives_interval",
        "keepalives_count",
        "tcp_user_timeout",
    }
)
_NOWHERE = "/nonexistent"
"""A folder for a Unix socket: libpq checks the other parameters, and then does not connect."""
_BAD_PARAMETER = re.compile(r"invalid \"?([a-z_]+)\"? |definition of (service) |(service) file ")


def check_conninfo(conninfo: str) -> None:
    """Check a URL, or `name=value` parameters, as libpq understands them. Raises BadValue."""
    if not conninfo.isprintable():
        raise BadValue("it has characters that cannot be printed")
    if conninfo.startswith(tuple(f"{scheme}://" for scheme in SCHEMES)):
        _check_url(after_scheme(conninfo, *SCHEMES))
    elif "=" not in conninfo or "://" in conninfo.partition("=")[0]:
        raise BadValue(f"its scheme is not {' or '.join(SCHEMES)}")
    try:
        params = conninfo_to_dict(conninfo)
    except psycopg.Error:
        raise BadValue(
            "it has a parameter that libpq does not know, or a value that has to be quoted"
        ) from None
    _check_hosts(params)
    for name in _INTEGERS & params.keys():
        if not re.fullmatch(r"-?[0-9]{1,9}", str(params[name])):
            raise BadValue(f"its parameter {name} is not a whole number")
    _check_with_libpq(params)


def check_one_host(url: str) -> None:
    """Raise BadValue unless `url` is a URL that names one server at most."""
    if "://" not in url.partition("=")[0]:
        raise BadValue(f"its scheme is not {' or '.join(SCHEMES)}")
    params = conninfo_to_dict(url)
    if any("," in str(params.get(name, "")) for name in ("host", "hostaddr", "port")):
        raise BadValue("it names several hosts")


def server_name(conninfo: str) -> str:
    """Return the host and port that a connection string names, as they may be shown."""
    params = conninfo_to_dict(conninfo)
    host = params.get("host") or params.get("hostaddr") or "localhost"
    return f"{host}:{params.get('port') or 5432}"


def _check_url(rest: str) -> None:
    # As libpq reads it: a user ends at the first @, unless there is a / before.
    with_user = re.match(r"[^@/]*@", rest)
    at = with_user.end() if with_user else 0
    check_user(rest[:at])
    hosts, path, query = re.fullmatch(  # type: ignore[union-attr]
        r"([^/?]*)([^?]*)(.*)", rest[at:], re.DOTALL
    ).groups()
    if "@" in hosts:
        raise BadValue("its user or password has an @ that is not percent-encoded")
    if "@" in f"{path}{query}" or "/" in path[1:]:
        raise BadValue("behind the host it has an @ or / that is not percent-encoded")
    check_encoding("host", hosts)
    for address in hosts.split(","):
        _, port = split_host(address)
        if port:
            check_port(port)
    check_encoding("database", path)
    known = [each.keyword.decode() for each in pq.Conninfo.get_defaults()]
    for place, parameter in enumerate(query[1:].split("&") if query[1:] else (), start=1):
        _check_parameter(place, parameter, known)


def _check_parameter(place: int, parameter: str, known: list[str]) -> None:
    name, _, value = parameter.partition("=")
    if parameter.count("=") != 1:
        raise BadValue(f"its parameter {place} is not of the form name=value")
    check_encoding(f"parameter {name}" if name in known else f"parameter {place}", value)
    if name not in {*known, "ssl"}:
        # What looks like a name may be the rest of a value, so only the known name is shown.
        similar = get_close_matches(name, known, n=1)
        meant = f", which resembles {similar[0]}" if similar else ""
        raise BadValue(f"libpq does not know its parameter {place}{meant}")


def _check_hosts(params: Mapping[str, object]) -> None:
    hosts, addresses, ports = (
        str(params[name]).split(",") if params.get(name) else []
        for name in ("host", "hostaddr", "port")
    )
    for host in hosts:
        if host and not host.startswith(("/", "@")) and not is_host(host):
            raise BadValue("its host is not a name or an address")
    for address in filter(None, addresses):
        try:
            ip_address(address)
        except ValueError:
            raise BadValue("its hostaddr is not an address") from None
    for port in filter(None, ports):
        check_port(port)
    count = len(hosts or addresses)
    if hosts and addresses and len(addresses) != count:
        raise BadValue("it has not as many addresses as hosts")
    if len(ports) > 1 and len(ports) != max(count, 1):
        raise BadValue("it has not as many ports as hosts")


def _check_with_libpq(params: Mapping[str, object]) -> None:
    """Let libpq check the values that it knows, such as those of `sslmode`."""
    offline = {
        name: value for name, value in params.items() if name not in {"host", "hostaddr", "port"}
    }
    text = psycopg.conninfo.make_conninfo("", **offline, host=_NOWHERE)  # type: ignore[arg-type]
    connection = pq.PGconn.connect_start(text.encode())
    refused = _BAD_PARAMETER.search(connection.error_message.decode(errors="replace"))
    connection.finish()
    if refused:
        name = next(filter(None, refused.groups()))
        raise BadValue(f"its parameter {name} has a value that libpq does not know")
