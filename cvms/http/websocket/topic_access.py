"""Access to the topics that are not for everybody: by an administrator's token, or a signature.

A token gives access until it expires or is revoked. The signature of a vault's owner gives access
to that owner's events for a day; so does that of a signer of the vault's multisig, to the
proposals. Once removed, the signer sees no proposal of which others are the signers. Of several
tokens and signatures for one topic the last one counts.
"""

from __future__ import annotations

import math

from cvms.errors import CvmsError, FieldProblem, InvalidRequest, InvalidToken, NotAllowed
from cvms.http.auth.credential import SignedRequest
from cvms.http.auth.signed_texts import SUBSCRIPTION
from cvms.http.framework.admin_tokens import Administrator, Role, require
from cvms.http.framework.dependencies import Dependencies
from cvms.http.framework.routing import administrator_of
from cvms.http.websocket.client_frames import Frame
from cvms.nursery.channels.hub import Filter, OutboxFrame
from cvms.store.messaging.topics import Topic
from cvms.store.postgres.driver.connection import Connection
from cvms.store.security import audit_log
from cvms.store.security.revoked_tokens import REFRESH_SECONDS
from cvms.store.vaults import vaults

GUARDED = frozenset({Topic.ALERT, Topic.MULTISIG, Topic.OPERATIONS})
MIN_ROLE = Role.VIEWER
SIGNED_SECONDS = 24 * 3600.0


class TopicAccess:
    """What one client may subscribe to. `authorization` is its handshake's header."""

    def __init__(self, deps: Dependencies, authorization: str | None) -> None:
        self._deps = deps
        self._authorization = authorization
        self._until: dict[Filter, float] = {}
        self._signers: dict[Filter, str] = {}
        self._tokens: dict[Filter, Administrator] = {}

    async def admit(self, frame: Frame) -> None:
        """Check a subscription before it is made, and record it in the audit trail.

        Raises AdminDisabled, InvalidToken or NotAllowed, and the errors of a signed request.
        """
        if frame.topic not in GUARDED:
            return
        if frame.topic is Topic.OPERATIONS and (frame.owner or frame.signature):
            raise InvalidRequest(
                f"`{frame.topic}` is about the service: send a `token`, and no owner or signature."
            )
        key = (frame.topic, None if frame.owner is None else str(frame.owner))
        if frame.signature is None:
            administrator = await self._admit_administrator(frame)
            until, signer = float(administrator.expires_at), None
            self._tokens[key] = administrator
        else:
            until = await self._admit_signer(frame)
            signer = str(frame.signer or frame.owner)
            self._tokens.pop(key, None)
        self._until[key] = until
        if signer is None or signer == key[1]:
            self._signers.pop(key, None)
        else:
            self._signers[key] = signer

    async def _admit_administrator(self, frame: Frame) -> Administrator:
        authorization = self._authorization if frame.token is None else f"Bearer {frame.token}"
        administrator = await administrator_of(self._deps, authorization)
        allowed = administrator.role >= MIN_ROLE
        async with self._deps.database.transaction() as conn:
            await _record(conn, frame, administrator.actor, allowed, role=administrator.role.label)
        require(administrator, MIN_ROLE)
        return administrator

    async def _admit_signer(self, frame: Frame) -> float:
        if frame.owner is None or frame.nonce is None or frame.signature is None:
            missing = [name for name in ("owner", "nonce") if getattr(frame, name) is None]
            raise InvalidRequest(
                "A signed subscription names the vault's `owner`, and has a `nonce`.",
                [FieldProblem(name, "missing") for name in missing],
            )
        signer = frame.signer or frame.owner
        text = SUBSCRIPTION.write({"topic": frame.topic, "owner": frame.owner}, frame.nonce)
        signed = SignedRequest(signer, text, frame.nonce, frame.signature, frame.message)
        await signed.check(self._deps)
        owner = str(frame.owner)
        async with self._deps.database.transaction() as conn:
            await signed.consume(conn)
            allowed = signed.actor == owner or (
                frame.topic is Topic.MULTISIG and await _is_signer(conn, owner, signed.actor)
            )
            await _record(conn, frame, signed.actor, allowed)
        if not allowed:
            raise NotAllowed(f"{signer} may not see this topic of {owner}.")
        return self._deps.wall_clock() + SIGNED_SECONDS

    def sees(self, frame: OutboxFrame) -> bool:
        """Return whether the client may see an event of a topic that it may receive."""
        signer = self._signers.get((frame.topic, frame.owner))
        return signer is None or signer in frame.signers or (frame.topic, None) in self._until

    def expired(self) -> list[Filter]:
        """Return what the client may not receive any more, once."""
        now = self._deps.wall_clock()
        revoked = self._deps.revocations.last_read
        ended = [key for key, until in self._until.items() if until <= now]
        ended += [
            key
            for key, administrator in self._tokens.items()
            if key not in ended and administrator.token in revoked
        ]
        for key in ended:
            del self._until[key]
            self._signers.pop(key, None)
            self._tokens.pop(key, None)
        return ended

    def seconds_left(self) -> float:
        """Return after how many seconds the next access ends, or may be found to be revoked."""
        left = min(self._until.values(), default=math.inf) - self._deps.wall_clock()
        return min(left, REFRESH_SECONDS) if self._tokens else left


def access_ended() -> CvmsError:
    """Return the error that tells a client of the end of its access."""
    return InvalidToken(
        "The token has expired or was revoked. Subscribe again with a new one, or sign again."
    )


async def _is_signer(conn: Connection, owner: str, signer: str) -> bool:
    row = await vaults.get(conn, owner)
    return row is not None and signer in row.state.get("multisig_signers", ())


async def _record(
    conn: Connection, frame: Frame, actor: str, allowed: bool, **details: object
) -> None:
    await audit_log.record(
        conn,
        actor=actor,
        action="ws_subscribe",
        owner=None if frame.owner is None else str(frame.owner),
        outcome="accepted" if allowed else "refused",
        details={**details, "topic": frame.topic},
    )
