"""Checks of webhook URLs, which must lead to the public internet and not into our own network.

This module checks the text of a URL, and addresses. Host names are resolved, and their addresses
checked, when a webhook is sent (`cvms.nursery.delivery.webhook_client`).
"""

from __future__ import annotations

import socket
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address, ip_address
from urllib.parse import urlsplit

from cvms.config.public_address import is_public

MAX_URL = 500
_HTTPS = 443
_HTTP = 80


@dataclass(frozen=True, slots=True)
class WebhookTarget:
    """The parts of a webhook's URL. `path` includes the query."""

    tls: bool
    host: str
    port: int
    path: str

    @property
    def authority(self) -> str:
        """The value of the `Host` header."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == (_HTTPS if self.tls else _HTTP) else f"{host}:{self.port}"


def target_of(url: str, *, private: bool) -> WebhookTarget:
    """Parse and check a webhook's URL. Raises ValueError with the reason, which quotes nothing.

    With `private`, plain HTTP and addresses that are not public are allowed.
    """
    if len(url) > MAX_URL or not url.isascii() or any(not "!" <= each <= "~" for each in url):
        raise ValueError(f"Expected at most {MAX_URL} visible ASCII characters")
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:  # whose text quotes the URL
        raise ValueError("Expected a valid host, and a port from 1 to 65535") from None
    if parts.scheme != "https" and not (private and parts.scheme == "http"):
        raise ValueError("Expected an https:// URL")
    if "@" in parts.netloc or parts.fragment or not parts.hostname:
        raise ValueError("Expected a host, no user and no fragment")
    tls = parts.scheme == "https"
    port = port or (_HTTPS if tls else _HTTP)
    literal = address_in(parts.hostname)
    if literal is not None and not private and not is_public(literal):
        raise ValueError("Expected a public address")
    path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    return WebhookTarget(tls, parts.hostname, port, path)


def address_in(host: str) -> IPv4Address | IPv6Address | None:
    """Return the address if `host` is one, or None for a name.

    All forms that resolvers accept count: 0x7f.1, 2130706433, 0177.0.0.1.
    """
    try:
        return ip_address(host)
    except ValueError:
        pass
    try:
        return IPv4Address(socket.inet_aton(host))
    except OSError:
        return None
