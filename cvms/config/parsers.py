"""What settings hold: each reads the text of one, or raises ValueError."""

from __future__ import annotations

import base64
import re
from collections.abc import Callable
from ipaddress import IPv4Network, IPv6Network, ip_network
from urllib.parse import urlsplit

from solders.pubkey import Pubkey

from cvms.store.redis.rate_limiter import Rate

Network = IPv4Network | IPv6Network


def text(raw: str) -> str:
    return raw


def pubkey(raw: str) -> Pubkey:
    return Pubkey.from_string(raw)


def port(raw: str) -> int:
    number = int(raw)
    if not 0 <= number <= 65535:
        raise ValueError
    return number


def amount(raw: str) -> int:
    units = int(raw)
    if not 0 <= units < 2**63:
        raise ValueError
    return units


def seconds(raw: str) -> float:
    duration = float(raw)
    if not 0 < duration < 1e9:
        raise ValueError
    return duration


def notice_seconds(raw: str) -> int:
    duration = int(raw)
    if not 0 <= duration <= 10**9:
        raise ValueError
    return duration


def fee(raw: str) -> int:
    lamports = int(raw)
    if not 5_000 <= lamports < 2**63:  # what one signature costs: nothing lands for less
        raise ValueError
    return lamports


def rate(raw: str) -> Rate | None:
    if raw == "off":
        return None
    requests, _, duration = raw.partition("/")
    given = Rate(int(requests), seconds(duration))
    if not 1 <= given.requests <= 10**6:
        raise ValueError
    return given


def networks(raw: str) -> tuple[Network, ...]:
    return tuple(ip_network(each.strip()) for each in raw.split(",") if each.strip())


def origins(raw: str) -> tuple[str, ...]:
    found = tuple(each.strip() for each in raw.split(",") if each.strip())
    for origin in found:
        parts = urlsplit(origin)
        if parts.scheme not in {"http", "https"} or origin != f"{parts.scheme}://{parts.netloc}":
            raise ValueError
    return found


def domains(raw: str) -> tuple[str, ...]:
    found = tuple(each.strip() for each in raw.split(",") if each.strip())
    if not all(re.fullmatch(r"[a-z0-9.-]+(:[0-9]{1,5})?", domain) for domain in found):
        raise ValueError
    return found


def chain_id(raw: str) -> str:
    if not re.fullmatch(r"[-_:a-zA-Z0-9]{1,64}", raw):
        raise ValueError
    return raw


def switch(raw: str) -> bool:
    if raw not in {"on", "off"}:
        raise ValueError
    return raw == "on"


def log_format(raw: str) -> str:
    if raw not in {"json", "console"}:
        raise ValueError
    return raw


def urls(*schemes: str) -> Callable[[str], tuple[str, ...]]:
    def parse(raw: str) -> tuple[str, ...]:
        found = tuple(url.strip() for url in raw.split(",") if url.strip())
        for url in found:
            parts = urlsplit(url)
            if parts.scheme not in schemes or not parts.hostname:
                raise ValueError
        if not found:
            raise ValueError
        return found

    return parse


def database_url(raw: str) -> str:
    if not raw.startswith(("postgresql://", "postgres://")):
        raise ValueError
    return raw


def redis_url(raw: str) -> str | None:
    if raw and not raw.startswith(("redis://", "rediss://", "unix://")):
        raise ValueError
    return raw or None


def jwt_secret(raw: str) -> bytes | None:
    if raw and len(raw.encode()) < 32:
        raise ValueError
    return raw.encode() or None


def encryption_keys(raw: str) -> tuple[bytes, ...]:
    keys = tuple(each.strip().encode() for each in raw.split(",") if each.strip())
    if any(len(base64.b64decode(key, altchars=b"-_", validate=True)) != 32 for key in keys):
        raise ValueError
    return keys
