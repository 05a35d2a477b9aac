"""Requests about endpoints, which an owner's wallet signs or an administrator makes."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

from solders.pubkey import Pubkey

from cvms.errors import FieldProblem, InvalidRequest, NotFound
from cvms.http.auth.credential import AdministratorRequest, Credential, record_use
from cvms.http.auth.signed_body import signed_request
from cvms.http.framework.admin_tokens import Administrator
from cvms.http.framework.dependencies import Dependencies
from cvms.http.framework.operation_metrics import counted
from cvms.http.framework.request import Body, Nonce, SignInMessage, Uuid, WalletSignature
from cvms.http.framework.response import Reply
from cvms.store.messaging.webhooks import endpoints
from cvms.store.messaging.webhooks.endpoints import EndpointRow
from cvms.store.postgres.driver.connection import Connection


class EndpointRequest(Body, frozen=True, kw_only=True):
    """`owner`, `nonce` and `signature` come from a wallet; an administrator omits them."""

    owner: Pubkey | None = None
    nonce: Nonce | None = None
    signature: WalletSignature | None = None
    message: SignInMessage | None = None

    def requester(self, administrator: Administrator | None, action: str) -> Credential:
        """Return the administrator's credential, or that of the wallet for this action's text.

        Raises InvalidRequest if there is neither.
        """
        if administrator is not None:
            return AdministratorRequest(administrator)
        if self.owner is None or self.nonce is None or self.signature is None:
            names = ("owner", "nonce", "signature")
            missing = [name for name in names if getattr(self, name) is None]
            raise InvalidRequest(
                "Sign the request with the owner's wallet, or send an administrator token.",
                [FieldProblem(name, "missing") for name in missing],
            )
        return signed_request(self, action, self.nonce, self.signature, self.message)


class EndpointAction(EndpointRequest, frozen=True, kw_only=True):
    endpoint: Uuid


@dataclass(slots=True)
class EndpointChange:
    """A transaction in which a request about an endpoint takes effect.

    `reply` is what is answered, where others than the requester may ask for it.
    """

    conn: Connection
    endpoint: EndpointRow
    reply: Reply | None = None


@asynccontextmanager
async def endpoint_change(
    deps: Dependencies,
    body: EndpointAction,
    administrator: Administrator | None,
    action: str,
    *,
    reads: bool = False,
    **details: Any,
) -> AsyncIterator[EndpointChange]:
    """Check a request about an endpoint, and yield a transaction with the endpoint locked.

    What an owner only `reads` is not audited. Raises NotFound if there is no such endpoint, or if
    it is not the owner's.
    """
    requester = body.requester(administrator, action)
    with counted(deps, action):
        await requester.check(deps)
        async with deps.database.transaction() as conn:
            endpoint = await _endpoint(conn, body.endpoint)
            if administrator is None and endpoint.owner != requester.actor:
                raise _unknown(body.endpoint)
            await requester.consume(conn)
            change = EndpointChange(conn, endpoint)
            yield change
            if administrator is None and reads:
                return
            await record_use(
                conn,
                requester,
                change.reply,
                action=action,
                owner=endpoint.owner,
                details={"endpoint": endpoint.id} | details,
            )


async def _endpoint(conn: Connection, identity: str) -> EndpointRow:
    endpoint = await endpoints.get(conn, identity)
    if endpoint is None:
        raise _unknown(identity)
    return endpoint


def _unknown(identity: str) -> NotFound:
    return NotFound(f"There is no webhook {identity}, or it is not the owner's.")
