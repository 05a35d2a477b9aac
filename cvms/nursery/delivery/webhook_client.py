"""HTTP client for webhooks, hardened against server-side request forgery.

The name is resolved once, and the address that was checked to be public is the one connected to, so
that a second lookup cannot lead elsewhere. The certificate must still match the name. Redirects are
not followed, and the response is read only up to its status.
"""

from __future__ import annotations

import socket
import ssl
from collections.abc import Mapping
from ipaddress import ip_address

import h11
import trio

from cvms.config.public_address import is_public
from cvms.config.webhook_url import WebhookTarget, target_of

MAX_HEAD_BYTES = 16 * 1024
_CHUNK = 4096


class NotDelivered(Exception):
    """The message was not accepted. The text says why, and quotes nothing of the URL."""


async def deliver(
    url: str,
    headers: Mapping[str, str],
    body: bytes,
    *,
    private: bool,
    timeout: float,
    context: ssl.SSLContext,
) -> None:
    """POST the body. Raises NotDelivered unless the reply is a success within `timeout` seconds.

    Unless `private`, delivers only over TLS and to public addresses.
    """
    try:
        target = target_of(url, private=private)
        with trio.fail_after(timeout):
            stream = await _connect(target, private=private, context=context)
            try:
                status = await _exchange(stream, target, headers, body)
            finally:
                await trio.aclose_forcefully(stream)
    except ValueError as error:
        raise NotDelivered(str(error)) from None
    except trio.TooSlowError:
        raise NotDelivered(f"no reply within {timeout:g} s") from None
    except (OSError, trio.BrokenResourceError, ssl.SSLError, h11.RemoteProtocolError) as error:
        raise NotDelivered(type(error).__name__) from None
    if not 200 <= status < 300:
        raise NotDelivered(f"replied with status {status}")


async def _connect(
    target: WebhookTarget, *, private: bool, context: ssl.SSLContext
) -> trio.abc.Stream:
    """Connect to the target. Raises NotDelivered if any of its addresses is not public."""
    entries = await trio.socket.getaddrinfo(target.host, target.port, type=socket.SOCK_STREAM)
    addresses = [str(entry[4][0]) for entry in entries]
    if not private and not all(is_public(ip_address(address)) for address in addresses):
        raise NotDelivered("the host resolves to an address that is not public")
    stream = await trio.open_tcp_stream(addresses[0], target.port)
    if not target.tls:
        return stream
    return trio.SSLStream(stream, context, server_hostname=target.host, https_compatible=True)


async def _exchange(
    stream: trio.abc.Stream, target: WebhookTarget, headers: Mapping[str, str], body: bytes
) -> int:
    client = h11.Connection(h11.CLIENT, max_incomplete_event_size=MAX_HEAD_BYTES)
    lines = {
        "Host": target.authority,
        "Content-Length": str(len(body)),
        "Content-Type": "application/json",
        "User-Agent": "cvms",
        "Connection": "close",
        **headers,
    }
    request = h11.Request(method="POST", target=target.path, headers=list(lines.items()))
    wire = [client.send(request), client.send(h11.Data(body)), client.send(h11.EndOfMessage())]
    await stream.send_all(b"".join(part for part in wire if part))
    while not isinstance(event := client.next_event(), h11.Response):
        if event is h11.NEED_DATA:
            client.receive_data(bytes(await stream.receive_some(_CHUNK)))
        elif not isinstance(event, h11.InformationalResponse):
            raise NotDelivered("the connection was closed before a reply")
    return event.status_code
