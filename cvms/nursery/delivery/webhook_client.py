"""HTTP client for webhooks, hardened against server-side request forgery.

The name is resolved once, and the address that was checked to be public is the one connected to, so
that a second lookup cannot lead elsewhere. The certificate must still match the name. Redirects are
not followed, and the response is read only up to its status.
"""

from __future__ import annotations

import socket
import ssl
from collections.abc import Mapping
from functools import partial
from http import HTTPStatus
from ipaddress import ip_address

import h11
import trio

from cvms.config.public_address import is_public
from cvms.config.webhook_url import WebhookTarget, target_of

MAX_HEAD_BYTES = 16 * 1024
MAX_BODY_BYTES = 16 * 1024
DRAIN_SECONDS = 1.0
"""Bounds of a reply whose connection is used again. A longer reply is accepted as well."""
CONNECTION_ERRORS = (OSError, trio.BrokenResourceError, ssl.SSLError, h11.RemoteProtocolError)
MAX_LOOKUPS = 16
"""Host names that are looked up at once. Name servers that do not answer keep a thread each: all
others must find one, so these do not come from trio's default number.
"""
_CHUNK = 4096
_lookups: trio.lowlevel.RunVar[trio.CapacityLimiter] = trio.lowlevel.RunVar("webhook_lookups")


class NotDelivered(Exception):
    """The message was not accepted. The text says why, and quotes nothing of the URL."""


class EndpointGone(NotDelivered):
    """The reply says that nobody wants messages there any more: 410."""


class WebhookConnection:
    """A connection to a webhook. It serves further requests if `reusable` after a reply."""

    def __init__(self, stream: trio.abc.Stream, target: WebhookTarget) -> None:
        self._stream = stream
        self._target = target
        self._http = _http_client()
        self.opened_at = trio.current_time()
        self.used_at = self.opened_at

    async def handshake(self) -> None:
        """Complete TLS, which the first request does otherwise."""
        if isinstance(self._stream, trio.SSLStream):
            await self._stream.do_handshake()

    async def request(self, headers: Mapping[str, str], body: bytes) -> int:
        """POST the body and return the status. Raises what sockets, TLS and h11 raise."""
        status = await _exchange(self._stream, self._http, self._target, headers, body)
        self.used_at = trio.current_time()
        return status

    async def reusable(self) -> bool:
        """Read the rest of a short reply; return whether another request may follow it."""
        if not await _read_to_end(self._stream, self._http):
            return False
        self._http.start_next_cycle()
        return True

    async def close(self) -> None:
        await trio.aclose_forcefully(self._stream)


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
            connection = await connect(target, private=private, context=context)
            try:
                status = await connection.request({"Connection": "close", **headers}, body)
            finally:
                await connection.close()
    except ValueError as error:
        raise NotDelivered(str(error)) from None
    except trio.TooSlowError:
        raise NotDelivered(f"no reply within {timeout:g} s") from None
    except CONNECTION_ERRORS as error:
        raise NotDelivered(type(error).__name__) from None
    require_success(status)


def require_success(status: int) -> None:
    """Raise EndpointGone for 410, NotDelivered for any other status that is not a success."""
    if status == HTTPStatus.GONE:
        raise EndpointGone(f"replied with status {status}")
    if not 200 <= status < 300:
        raise NotDelivered(f"replied with status {status}")


async def connect(
    target: WebhookTarget, *, private: bool, context: ssl.SSLContext
) -> WebhookConnection:
    """Connect to the target. Raises NotDelivered if any of its addresses is not public."""
    addresses = await _addresses(target)
    if not private and not all(is_public(ip_address(address)) for address in addresses):
        raise NotDelivered("the host resolves to an address that is not public")
    stream: trio.abc.Stream = await trio.open_tcp_stream(addresses[0], target.port)
    if target.tls:
        stream = trio.SSLStream(stream, context, server_hostname=target.host, https_compatible=True)
    return WebhookConnection(stream, target)


async def _addresses(target: WebhookTarget) -> list[str]:
    """Resolve the target's host. Its thread counts until it ends, also after a timeout."""
    try:
        limiter = _lookups.get()
    except LookupError:
        _lookups.set(limiter := trio.CapacityLimiter(MAX_LOOKUPS))
    look_up = partial(socket.getaddrinfo, target.host, target.port, type=socket.SOCK_STREAM)
    entries = await trio.to_thread.run_sync(look_up, abandon_on_cancel=True, limiter=limiter)
    return [str(entry[4][0]) for entry in entries]


def _http_client() -> h11.Connection:
    return h11.Connection(h11.CLIENT, max_incomplete_event_size=MAX_HEAD_BYTES)


async def _exchange(
    stream: trio.abc.Stream,
    client: h11.Connection,
    target: WebhookTarget,
    headers: Mapping[str, str],
    body: bytes,
) -> int:
    lines = {
        "Host": target.authority,
        "Content-Length": str(len(body)),
        "Content-Type": "application/json",
        "User-Agent": "cvms",
        **headers,
    }
    request = h11.Request(method="POST", target=target.path, headers=list(lines.items()))
    wire = [client.send(request), client.send(h11.Data(body)), client.send(h11.EndOfMessage())]
    await stream.send_all(b"".join(part for part in wire if part))
    size = 0
    while not isinstance(event := client.next_event(), h11.Response):
        if event is h11.NEED_DATA:
            if size > MAX_HEAD_BYTES:  # informational replies without an end
                raise NotDelivered("too many bytes before a reply")
            received = bytes(await stream.receive_some(_CHUNK))
            size += len(received)
            client.receive_data(received)
        elif not isinstance(event, h11.InformationalResponse):
            raise NotDelivered("the connection was closed before a reply")
    return event.status_code


async def _read_to_end(stream: trio.abc.Stream, client: h11.Connection) -> bool:
    """Read the rest of a reply; return whether it ended soon and the connection stays open."""
    size = 0
    with trio.move_on_after(DRAIN_SECONDS):
        while size <= MAX_BODY_BYTES:
            event = client.next_event()
            if event is h11.NEED_DATA:
                client.receive_data(bytes(await stream.receive_some(_CHUNK)))
            elif isinstance(event, h11.Data):
                size += len(event.data)
            else:
                break
    return client.our_state is client.their_state is h11.DONE
