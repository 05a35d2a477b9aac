"""Parsers of settings. Each returns the value of a variable's text, or raises ValueError."""

from __future__ import annotations

import base64
import json
import os
import re
import stat
from collections.abc import Callable
from contextlib import suppress
from ipaddress import IPv4Network, IPv6Network
from pathlib import Path
from typing import TypeVar
from urllib.parse import urlsplit

from solders.keypair import Keypair

from cvms.errors import BadValue
from cvms.secret_urls import after_scheme, check_encoding, check_url, check_user
from cvms.store.postgres.driver.conninfo import check_conninfo, check_one_host
from cvms.store.redis.rate_limiter import Rate

T = TypeVar("T")
Network = IPv4Network | IPv6Network
MAX_SECONDS = 10**9


def _text(is_valid: Callable[[str], object]) -> Callable[[str], str]:
    def parse(raw: str) -> str:
        if not is_valid(raw):
            raise ValueError
        return raw

    return parse


def integer(minimum: int = 0, maximum: int = 2**63 - 1) -> Callable[[str], int]:
    def parse(raw: str) -> int:
        with suppress(ValueError):
            if minimum <= (number := int(raw)) <= maximum:
                return number
        raise BadValue(f"not a whole number from {minimum} to {maximum}")

    return parse


def one_of(*choices: str) -> Callable[[str], str]:
    return _text(lambda raw: raw in choices)


def matching(pattern: str) -> Callable[[str], str]:
    return _text(re.compile(pattern).fullmatch)


def optional(parse: Callable[[str], T]) -> Callable[[str], T | None]:
    """Return a parser that takes an empty text for None."""
    return lambda raw: parse(raw) if raw else None


def unless_off(parse: Callable[[str], T]) -> Callable[[str], T | None]:
    """Return a parser that takes `off` for None."""
    return lambda raw: None if raw == "off" else parse(raw)


def comma_separated(parse: Callable[[str], T]) -> Callable[[str], tuple[T, ...]]:
    """Return a parser of a list that may be empty."""
    return lambda raw: tuple(parse(item.strip()) for item in raw.split(",") if item.strip())


def seconds(raw: str) -> float:
    with suppress(ValueError):
        if 0 < (duration := float(raw)) < MAX_SECONDS:
            return duration
    raise BadValue(f"not a number of seconds above 0 and below {MAX_SECONDS}")


def rate(raw: str) -> Rate:
    requests, slash, duration = raw.partition("/")
    if not slash:
        raise BadValue("it has no /")
    return Rate(integer(1, 10**6)(requests), seconds(duration))


def origin(raw: str) -> str:
    """Return an origin as browsers send it. Of this machine, its port may be `*`."""
    if raw in {f"http://{host}:*" for host in ("localhost", "127.0.0.1", "[::1]")}:
        return raw
    parts = urlsplit(raw)
    if parts.scheme not in {"http", "https"} or raw != f"{parts.scheme}://{parts.netloc}":
        raise ValueError
    if "*" in raw:
        raise ValueError
    return raw


def switch(raw: str) -> bool:
    return one_of("on", "off")(raw) == "on"


def auto_or_off(raw: str) -> bool:
    return one_of("auto", "off")(raw) == "auto"


def urls(*schemes: str) -> Callable[[str], tuple[str, ...]]:
    """Return a parser of one URL or more."""

    def parse(raw: str) -> tuple[str, ...]:
        parsed = comma_separated(str)(raw)
        for place, url in enumerate(parsed, start=1):
            try:
                check_url(url, *schemes)
            except BadValue as error:
                raise error if len(parsed) == 1 else BadValue(f"URL {place}: {error}") from None
        if not parsed:
            raise BadValue("it has no URL")
        return parsed

    return parse


def url(*schemes: str) -> Callable[[str], str]:
    """Return the parser of one URL with a host."""

    def parse(raw: str) -> str:
        check_url(raw, *schemes)
        return raw

    return parse


def database_url(raw: str) -> str:
    check_conninfo(raw)
    return raw


def replica_urls(raw: str) -> tuple[str, ...]:
    """Return a list, which may be empty, of URLs of one PostgreSQL server each."""
    items = re.split(r",(?=\s*\w+://|\s*$)", raw)  # a password may have commas, too
    parsed = tuple(filter(None, map(str.strip, items)))
    for place, url in enumerate(parsed, start=1):
        try:
            check_conninfo(url)
            check_one_host(url)
        except BadValue as error:
            raise error if len(parsed) == 1 else BadValue(f"URL {place}: {error}") from None
        if url in parsed[: place - 1]:
            raise BadValue(f"URL {place}: it is there twice")
    return parsed


def redis_url(raw: str) -> str:
    if raw.startswith("unix://"):
        address, _, query = after_scheme(raw, "unix").partition("?")
        path = check_user(address)
        if not path.startswith("/"):
            raise BadValue("it has no path of a socket")
        check_encoding("path", path)
    else:
        check_url(raw, "redis", "rediss")
        path, query = urlsplit(raw).path, urlsplit(raw).query
        if not re.fullmatch(r"(/[0-9]{0,9})?", path):
            raise BadValue("the number of its database is not a whole number")
    if not re.fullmatch(r"(db=[0-9]{1,9})?", query):
        raise BadValue("it has a parameter other than db, or a db that is not a whole number")
    return raw


def jwt_secret(raw: str) -> bytes:
    if len(raw.encode()) < 32:
        raise ValueError
    return raw.encode()


def encryption_key(raw: str) -> bytes:
    if len(base64.b64decode(raw.encode(), altchars=b"-_", validate=True)) != 32:
        raise ValueError
    return raw.encode()


def webhook_secret(raw: str) -> bytes:
    secret = base64.b64decode(raw.removeprefix("whsec_"), validate=True)
    if not 24 <= len(secret) <= 64:
        raise ValueError
    return secret


def keypair_file(path: str) -> Keypair:
    """Return the keypair in a file of Solana's command line. The error never quotes the content."""
    try:
        numbers = json.loads(private_text(Path(path).expanduser()))
        return Keypair.from_bytes(bytes(numbers))
    except OSError as error:
        raise ValueError(error.strerror or "cannot be read") from None
    except BadValue:
        raise
    except (ValueError, TypeError):
        raise ValueError("the file is not a keypair") from None


def keypair_text(raw: str) -> Keypair:
    """Return the keypair whose 64 bytes are in base64. The error never quotes the text."""
    try:
        return Keypair.from_bytes(base64.b64decode(raw.strip(), validate=True))
    except ValueError:
        raise BadValue("it is not a keypair in base64") from None


def log_level(raw: str) -> str:
    return one_of("debug", "info", "warning", "error")(raw.lower())


def private_text(path: Path) -> str:
    """Return the content of a file that holds a secret.

    Raises OSError, and BadValue if others than its owner and its group can read it, or any but its
    owner can write to it. A group may read it since Kubernetes gives secrets to a pod's group.
    """
    with path.open() as file:
        if os.fstat(file.fileno()).st_mode & (stat.S_IRWXO | stat.S_IWGRP):
            raise BadValue(f"others can read or write the file; run `chmod 600 {path}`")
        return file.read()


def header_value(raw: str) -> str:
    """Parse the value of an HTTP header. Raises BadValue, which quotes nothing."""
    if not raw or not raw.isascii() or not raw.isprintable():
        raise BadValue("it is empty, or not one line of ASCII")
    return raw
