"""Connections to one webhook that stay open, for as many messages as it gets."""

from __future__ import annotations

import ssl
from collections.abc import Mapping
from dataclasses import dataclass, field

import h11
import trio

from cvms.config.webhook_url import WebhookTarget, target_of
from cvms.nursery.delivery.webhook_client import (
    CONNECTION_ERRORS,
    NotDelivered,
    WebhookConnection,
    connect,
    require_success,
)

IDLE_SECONDS = 5.0
"""Many servers close a connection that is idle for longer."""
MAX_SECONDS = 60.0
"""After which the name is resolved again, and its addresses checked."""


@dataclass(slots=True, kw_only=True, eq=False)
class WebhookConnections:
    """Posts messages to one URL. Any number of tasks may do so at once."""

    url: str
    private: bool
    timeout: float
    context: ssl.SSLContext
    _idle: list[WebhookConnection] = field(default_factory=list, init=False)

    async def post(self, headers: Mapping[str, str], body: bytes) -> None:
        """POST the body. Raises NotDelivered unless the reply is a success within `timeout`."""
        try:
            target = target_of(self.url, private=self.private)
            with trio.fail_after(self.timeout):
                connection, status = await self._request(target, headers, body)
        except ValueError as error:
            raise NotDelivered(str(error)) from None
        except trio.TooSlowError:
            raise NotDelivered(f"no reply within {self.timeout:g} s") from None
        except CONNECTION_ERRORS as error:
            raise NotDelivered(type(error).__name__) from None
        await self._release(connection)
        require_success(status)

    async def close(self) -> None:
        """Close the connections that are not in use."""
        while self._idle:
            await self._idle.pop().close()

    async def _request(
        self, target: WebhookTarget, headers: Mapping[str, str], body: bytes
    ) -> tuple[WebhookConnection, int]:
        connection = await self._take_idle()
        if connection is not None:
            try:
                return connection, await _status(connection, headers, body)
            except (*CONNECTION_ERRORS, h11.LocalProtocolError, NotDelivered):
                pass  # the server may have closed it meanwhile: try once more
        connection = await connect(target, private=self.private, context=self.context)
        return connection, await _status(connection, headers, body)

    async def _release(self, connection: WebhookConnection) -> None:
        reusable = False
        try:
            reusable = await connection.reusable()
        except CONNECTION_ERRORS:
            pass  # the reply itself has arrived
        finally:
            if not reusable:
                await connection.close()
        if reusable:
            self._idle.append(connection)

    async def _take_idle(self) -> WebhookConnection | None:
        now = trio.current_time()
        while self._idle:
            connection = self._idle.pop()
            young = now - connection.opened_at < MAX_SECONDS
            if young and now - connection.used_at < IDLE_SECONDS:
                return connection
            await connection.close()
        return None


async def _status(connection: WebhookConnection, headers: Mapping[str, str], body: bytes) -> int:
    """Return the status of the reply. Close the connection if there is none."""
    try:
        return await connection.request(headers, body)
    except BaseException:
        await connection.close()
        raise
