"""POST /api/auth/nonce, which issues the nonces of signed requests, and their texts."""

from __future__ import annotations

import secrets
from datetime import datetime, timedelta
from typing import Annotated

import msgspec
from solders.pubkey import Pubkey

from cvms.http.auth.signed_texts import SIGNED_TEXTS, TEXT_OF_ACTION
from cvms.http.auth.totp import OwnSecret
from cvms.http.framework.dependencies import Dependencies
from cvms.http.framework.request import (
    AllowanceText,
    Body,
    ChangeText,
    EventTopics,
    Limit,
    OverlapSeconds,
    Threshold,
    TokenAmount,
    Uint32,
    Uuid,
    WebhookUrl,
    WholeNumber,
    field_error,
)
from cvms.http.framework.response import Reply
from cvms.http.framework.routing import RouteGroup
from cvms.store.messaging.topics import Topic
from cvms.store.security.nonces import NewNonce

NONCE_BYTES = 24

ROUTES = RouteGroup("authentication")


class SignedFields(Body, frozen=True, kw_only=True):
    """The fields of requests that texts contain, beside the one that names the wallet.

    `owner` is the vault's of a subscription or of a cancelled change, if another wallet signs it.
    """

    amount: TokenAmount | None = None
    recipient: Pubkey | None = None
    duration_seconds: WholeNumber | None = None
    delegate: Pubkey | None = None
    threshold: Threshold | None = None
    proposal_id: Uuid | None = None
    url: WebhookUrl | None = None
    yield_program: Pubkey | None = None
    compounded_amount: TokenAmount | None = None
    auto_compound: bool | None = None
    min_amount: TokenAmount | None = None
    address: Pubkey | None = None
    seconds: WholeNumber | None = None
    window_seconds: Uint32 | None = None
    max_amount: WholeNumber | None = None
    endpoint: Uuid | None = None
    topics: EventTopics | None = None
    overlap_seconds: OverlapSeconds | None = None
    cursor: Uuid | None = None
    limit: Limit | None = None
    webhook_id: Uuid | None = None
    secret: OwnSecret | None = None
    executable_at: WholeNumber | None = None
    unlock_time: WholeNumber | None = None
    change: ChangeText | None = None
    allowance: AllowanceText | None = None
    token_account: Pubkey | None = None
    topic: Topic | None = None
    owner: Pubkey | None = None


Action = Annotated[
    str,
    msgspec.Meta(
        description="The request that will be signed, by the first word of its text: "
        + ", ".join(f"`{each.template}` for `{each.route}`" for each in SIGNED_TEXTS),
        extra_json_schema={"enum": list(TEXT_OF_ACTION)},
    ),
]


class NonceRequest(Body, frozen=True):
    owner: Pubkey
    action: Action | None = None
    fields: SignedFields | None = None


class IssuedNonce(msgspec.Struct, frozen=True):
    """A nonce and when it expires, and the text to sign if the request has an `action`."""

    nonce: str
    expires_at: datetime
    message: str | msgspec.UnsetType = msgspec.UNSET


@ROUTES.post("/api/auth/nonce", replies={200: IssuedNonce}, sensitive=True, name="issue_nonce")
async def issue(deps: Dependencies, body: NonceRequest) -> Reply:
    """Issue a nonce.

    `owner` is the wallet that will sign. Only that wallet can use the nonce, for one request,
    before `expires_at`. Other nonces of the wallet stay valid.

    With an `action`, and in `fields` those of the request that its text contains, the reply has the
    text to sign in `message`. The request itself must have the same fields.
    """
    nonce = secrets.token_hex(NONCE_BYTES)  # alphanumeric, as sign-in messages require
    message = _text_to_sign(body, nonce)
    lifetime = timedelta(seconds=deps.config.nonce_ttl)
    expires_at = await deps.queries.nonces.ask(NewNonce(str(body.owner), nonce, lifetime))
    return Reply(IssuedNonce(nonce, expires_at, message))


def _text_to_sign(body: NonceRequest, nonce: str) -> str | msgspec.UnsetType:
    if body.action is None:
        if body.fields is not None:
            raise field_error("The body", "fields", "not without an `action`")
        return msgspec.UNSET
    text = TEXT_OF_ACTION.get(body.action)
    if text is None:
        names = ", ".join(TEXT_OF_ACTION)
        raise field_error("The body", "action", f"expected one of {names}")
    fields = {} if body.fields is None else msgspec.structs.asdict(body.fields)
    given = {name: value for name, value in fields.items() if value is not None}
    for name in given.keys() - (set(text.names) - {text.signer}):
        problem = f"not a field of the text `{text.template}` beside its signer"
        raise field_error("The body", f"fields.{name}", problem)
    values = {"owner": body.owner} | given | {text.signer: body.owner}
    for name in text.fields:
        if values.get(name) is None and name not in text.absent:
            problem = f"missing, for the text `{text.template}`"
            raise field_error("The body", f"fields.{name}", problem)
    return text.write(values, nonce)
