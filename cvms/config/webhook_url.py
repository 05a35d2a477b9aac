"""Where a webhook may lead: to the public internet, and not to what only we can reach.

Names are resolved when they are used (`cvms.nursery.delivery.webhook_dispatcher`); here is what can
be told from the text alone, and what an address is.
"""

from __future__ import annotations

import socket
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address, ip_address
from urllib.parse import urlsplit

MAX_URL = 500
_HTTPS = 443
_HTTP = 80


@dataclass(frozen=True, slots=True)
class Target:
    """A webhook's address, in parts. `path` has the query."""

    tls: bool
    host: str
    port: int
    path: str

    @property
    def authority(self) -> str:
        """The `Host` header."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == (_HTTPS if self.tls else _HTTP) else f"{host}:{self.port}"


def target_of(url: str, *, private: bool) -> Target:
    """The parts of a webhook's URL. Raises ValueError with the reason.

    With `private` it may be plain HTTP, and lead anywhere.
    """
    if len(url) > MAX_URL or not url.isascii() or any(not "!" <= each <= "~" for each in url):
        raise ValueError(f"Expected at most {MAX_URL} visible ASCII characters")
    parts = urlsplit(url)
    if parts.scheme != "https" and not (private and parts.scheme == "http"):
        raise ValueError("Expected an https:// URL")
    if "@" in parts.netloc or parts.fragment or not parts.hostname:
        raise ValueError("Expected a host, no user and no fragment")
    tls = parts.scheme == "https"
    port = parts.port or (_HTTPS if tls else _HTTP)
    literal = address_in(parts.hostname)
    if literal is not None and not private and not is_public(literal):
        raise ValueError("Expected a public address")
    path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    return Target(tls, parts.hostname, port, path)


def address_in(host: str) -> IPv4Address | IPv6Address | None:
    """The address that a host is, in any form that resolvers take: 0x7f.1, 2130706433, 0177.0.0.1;
    None for a name.
    """
    try:
        return ip_address(host)
    except ValueError:
        pass
    try:
        return IPv4Address(socket.inet_aton(host))
    except OSError:
        return None


def is_public(address: IPv4Address | IPv6Address) -> bool:
    """Whether it is an address of the public internet, that is of one host there."""
    if isinstance(address, IPv6Address):
        if address.ipv4_mapped is not None:
            return is_public(address.ipv4_mapped)
        if address.sixtofour is not None or address.is_site_local:
            return False
    return address.is_global and not (address.is_multicast or address.is_reserved)
