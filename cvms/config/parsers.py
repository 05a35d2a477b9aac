"""Parsers of settings. Each returns the value of a variable's text, or raises ValueError."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Callable
from ipaddress import IPv4Network, IPv6Network
from pathlib import Path
from typing import TypeVar
from urllib.parse import urlsplit

from solders.keypair import Keypair

from cvms.store.redis.rate_limiter import Rate

T = TypeVar("T")
Network = IPv4Network | IPv6Network


def _text(is_valid: Callable[[str], object]) -> Callable[[str], str]:
    def parse(raw: str) -> str:
        if not is_valid(raw):
            raise ValueError
        return raw

    return parse


def integer(minimum: int = 0, maximum: int = 2**63 - 1) -> Callable[[str], int]:
    def parse(raw: str) -> int:
        number = int(raw)
        if not minimum <= number <= maximum:
            raise ValueError
        return number

    return parse


def one_of(*choices: str) -> Callable[[str], str]:
    return _text(lambda raw: raw in choices)


def prefixed(*prefixes: str) -> Callable[[str], str]:
    return _text(lambda raw: raw.startswith(prefixes))


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
    duration = float(raw)
    if not 0 < duration < 1e9:
        raise ValueError
    return duration


def rate(raw: str) -> Rate:
    requests, _, duration = raw.partition("/")
    return Rate(integer(1, 10**6)(requests), seconds(duration))


def origin(raw: str) -> str:
    parts = urlsplit(raw)
    if parts.scheme not in {"http", "https"} or raw != f"{parts.scheme}://{parts.netloc}":
        raise ValueError
    return raw


def switch(raw: str) -> bool:
    return one_of("on", "off")(raw) == "on"


def url(*schemes: str) -> Callable[[str], str]:
    """Return a parser of one URL. Its port, if it has one, must be 1 to 65535."""

    def is_valid(raw: str) -> bool:
        parts = urlsplit(raw)
        return parts.scheme in schemes and parts.port != 0  # a larger one is a ValueError

    return _text(is_valid)


def urls(*schemes: str) -> Callable[[str], tuple[str, ...]]:
    """Return a parser of one URL or more, each with a host."""

    def parse(raw: str) -> tuple[str, ...]:
        parsed = comma_separated(url(*schemes))(raw)
        if not parsed or not all(urlsplit(each).hostname for each in parsed):
            raise ValueError
        return parsed

    return parse


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
        numbers = json.loads(Path(path).expanduser().read_text())
        return Keypair.from_bytes(bytes(numbers))
    except OSError as error:
        raise ValueError(error.strerror or "cannot be read") from None
    except (ValueError, TypeError):
        raise ValueError("the file is not a keypair") from None
