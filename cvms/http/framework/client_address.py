"""The address of a request's client, as the nearest proxy that is not ours saw it.

A trusted proxy names it in `X-Forwarded-For` or in `Forwarded` (RFC 7239), with or without a port.
Most proxies write one of the two and pass the other on as the client sent it. So if both are
present they must agree, or neither is believed.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import lru_cache
from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address

from cvms.config.parsers import Network

# A node of RFC 7239, 6: an address with an optional port, or a name that hides the address. An
# IPv6 address with a port has brackets; X-Forwarded-For has it without them if there is no port.
_NODE = re.compile(
    r"(?:\[(?P<v6>[^\]]*)\]|(?P<v4>[0-9.]+)|(?P<hidden>_[\w.-]{1,64}))(?::[\w.-]*)?", re.ASCII
)
_PAIR = re.compile(
    r"\s*(?P<name>[!#$%&'*+.^`|~\w-]+)="
    r'(?:"(?P<quoted>(?:[^"\\]|\\.)*)"|(?P<plain>[^\s;,"]*))\s*(?P<end>[;,]|$)',
    re.ASCII,
)

Node = IPv4Address | IPv6Address | str
"""An address, or the name under which a proxy hides one."""


def client_address(
    peer: str,
    proxies: Sequence[Network],
    *,
    x_forwarded_for: Sequence[str] = (),
    forwarded: Sequence[str] = (),
) -> str:
    """Return the nearest address that is not a trusted proxy's; an IPv6 /64 counts as one client.

    The headers are given in order. Each proxy appends the address it saw, so they are read from the
    end; what an untrusted hop claims is ignored. Clients whose headers contradict each other, or
    with a malformed `Forwarded`, share one address, which is nobody else's.
    """
    if not is_trusted(peer, proxies):
        return group_address(peer)
    claims: set[str | None] = set()
    if x_forwarded_for:
        hops = [_node(hop) for line in x_forwarded_for for hop in line.split(",")]
        claims.add(_nearest(peer, hops, proxies))
    if forwarded:
        named = _forwarded_for(forwarded)
        hops = [_node(hop) for hop in named or ()]
        claims.add(None if named is None else _nearest(peer, hops, proxies))
    if not claims:
        return group_address(peer)
    claim = claims.pop()
    return claim if claim and not claims else f"unknown behind {peer}"


def is_trusted(address: str, proxies: Sequence[Network]) -> bool:
    """Return whether an address is that of a trusted proxy."""
    node = _node(address) if proxies else None
    return node is not None and not isinstance(node, str) and _is_in(node, proxies)


@lru_cache(maxsize=4096)
def group_address(address: str) -> str:
    """Return the address under which a client is counted: an IPv4 address or an IPv6 /64."""
    return _grouped(_node(address) or address)


def _nearest(peer: str, hops: Sequence[Node | None], proxies: Sequence[Network]) -> str:
    client: Node = _node(peer) or peer
    for hop in reversed(hops):
        if hop is None:
            break
        client = hop
        if isinstance(hop, str) or not _is_in(hop, proxies):
            break
    return _grouped(client)


def _forwarded_for(lines: Sequence[str]) -> list[str] | None:
    """Return the `for` of each element, "" for one without; None if the header is malformed."""
    text = ",".join(lines)
    hops, current, position, end = [], "", 0, ","
    while end:
        match = _PAIR.match(text, position)
        if match is None:
            return None
        if match["name"].lower() == "for":
            quoted = match["quoted"]
            current = match["plain"] if quoted is None else re.sub(r"\\(.)", r"\1", quoted)
        position, end = match.end(), match["end"]
        if end != ";":
            hops.append(current)
            current = ""
    return hops


def _node(text: str) -> Node | None:
    """Return an address or a hidden name without its port; None for anything else."""
    text = text.strip()
    match = _NODE.fullmatch(text)
    if match is not None and match["hidden"]:
        return match["hidden"]
    try:
        address = ip_address((match and (match["v6"] or match["v4"])) or text)
    except ValueError:
        return None
    if isinstance(address, IPv6Address) and address.ipv4_mapped is not None:
        return address.ipv4_mapped
    return address


def _is_in(address: IPv4Address | IPv6Address, networks: Sequence[Network]) -> bool:
    return any(address in network for network in networks)


def _grouped(node: Node) -> str:
    if isinstance(node, IPv6Address):
        return str(IPv6Network((node, 64), strict=False))
    return str(node)
