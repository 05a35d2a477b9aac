"""Registration of a signer's webhook, which gets messages about proposals."""

from __future__ import annotations

import base64
import secrets

import msgspec
from solders.pubkey import Pubkey

from cvms.config.webhook_url import target_of
from cvms.errors import EncryptionDisabled, FieldProblem, InvalidRequest
from cvms.http.auth.credential import SignedRequest
from cvms.http.auth.signed_body import SignedBody
from cvms.http.framework.dependencies import Dependencies
from cvms.http.framework.operation_metrics import counted
from cvms.http.framework.request import WebhookUrl
from cvms.http.framework.response import Reply
from cvms.http.framework.routing import Auth, RouteGroup
from cvms.http.operations.execute import SIGNED_REFUSALS
from cvms.store.security import audit_log, signer_webhooks

SECRET_BYTES = 32

ROUTES = RouteGroup("multisig")


class Contact(SignedBody, frozen=True):
    signer: Pubkey
    url: WebhookUrl


class Registered(msgspec.Struct, frozen=True):
    """A signer's webhook, and the secret that signs its messages, which is shown only here."""

    signer: str
    url: str
    secret: str


@ROUTES.post(
    "/api/vault/signer-contact",
    replies={200: Registered},
    refusals=(*SIGNED_REFUSALS, EncryptionDisabled),
    auth=Auth.WALLET,
    sensitive=True,
    name="register_signer_contact",
)
async def register(deps: Dependencies, body: Contact) -> Reply:
    """Register a signer's webhook.

    It replaces the signer's earlier webhook, and gets a message about each change of a proposal to
    the signer. Messages are signed as in
    the Standard Webhooks specification, with the `secret` of the reply: store it, it is not shown
    again. `url` must be https and lead to a public address.
    """
    signed = body.request("signer_contact")
    with counted(deps, "signer_contact"):
        await signed.check(deps)
        return await _register(deps, body, signed)


async def _register(deps: Dependencies, body: Contact, signed: SignedRequest) -> Reply:
    signer = str(body.signer)
    try:
        target = target_of(body.url, private=deps.config.webhook_private_addresses)
    except ValueError as error:
        problem = FieldProblem("url", str(error))
        raise InvalidRequest(f"The webhook's URL is invalid: {error}.", [problem]) from None
    secret = secrets.token_bytes(SECRET_BYTES)
    sealed = deps.secret_box.seal(secret, about=signer_webhooks.about(signer))
    encoded = "whsec_" + base64.b64encode(secret).decode()
    async with deps.database.transaction() as conn:
        await signed.consume(conn)
        await signer_webhooks.put(conn, signer, body.url, sealed)
        await audit_log.record(
            conn,
            actor=signer,
            action="signer_contact",
            owner=None,
            details={"host": target.host},
        )
    return Reply(Registered(signer, body.url, encoded))
