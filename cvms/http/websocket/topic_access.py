"""Access to the topics that are reserved for administrators, until their token expires."""

from __future__ import annotations

from cvms.http.framework.admin_tokens import Role, authenticate, require
from cvms.http.framework.dependencies import Dependencies
from cvms.http.websocket.client_frames import Frame
from cvms.store.messaging.topics import Topic
from cvms.store.security import audit_log

GUARDED = frozenset({Topic.ALERT})
MIN_ROLE = Role.VIEWER


class TopicAccess:
    """The topics that one client may subscribe to. `authorization` is its handshake's header."""

    def __init__(self, deps: Dependencies, authorization: str | None) -> None:
        self._deps = deps
        self._authorization = authorization
        self._until = 0.0

    async def admit(self, frame: Frame) -> None:
        """Check a subscription before it is made, and record it in the audit trail.

        Raises AdminDisabled, InvalidToken or NotAllowed.
        """
        if frame.topic not in GUARDED:
            return
        authorization = self._authorization if frame.token is None else f"Bearer {frame.token}"
        administrator = authenticate(self._deps.config.admin_jwt_secret, authorization)
        allowed = administrator.role >= MIN_ROLE
        async with self._deps.database.transaction() as conn:
            await audit_log.record(
                conn,
                actor=administrator.actor,
                action="ws_subscribe",
                owner=None if frame.owner is None else str(frame.owner),
                outcome="accepted" if allowed else "refused",
                details={"role": administrator.role.label, "topic": frame.topic},
            )
        require(administrator, MIN_ROLE)
        self._until = max(self._until, administrator.expires_at)

    def is_allowed(self, topic: str) -> bool:
        """Return whether the client may receive the topic now."""
        return topic not in GUARDED or self._deps.wall_clock() < self._until

    def seconds_left(self) -> float:
        """Return for how many seconds the client may receive the guarded topics."""
        return self._until - self._deps.wall_clock()
