"""Topics that only administrators may hear, and for no longer than their token is good."""

from __future__ import annotations

from cvms.http.framework.admin_tokens import Role, authenticate, require
from cvms.http.framework.dependencies import Dependencies
from cvms.http.websocket.client_frames import Frame
from cvms.store.security import audit_log

GUARDED = frozenset({"security_alert"})
LEAST = Role.VIEWER


class TopicAccess:
    """What one client may hear. `authorization` is the header of its handshake."""

    def __init__(self, deps: Dependencies, authorization: str | None) -> None:
        self._deps = deps
        self._authorization = authorization
        self._until = 0.0

    async def admit(self, frame: Frame) -> None:
        """Check a subscription before anything is read for it; the audit trail has it.

        Raises AdminDisabled, InvalidToken or NotAllowed.
        """
        if frame.topic not in GUARDED:
            return
        shown = self._authorization if frame.token is None else f"Bearer {frame.token}"
        administrator = authenticate(self._deps.config.admin_jwt_secret, shown)
        allowed = administrator.role >= LEAST
        async with self._deps.database.transaction() as conn:
            await audit_log.record(
                conn,
                actor=f"admin:{administrator.subject}",
                action="ws_subscribe",
                owner=None if frame.owner is None else str(frame.owner),
                outcome="accepted" if allowed else "refused",
                details={"role": administrator.role.label, "topic": frame.topic},
            )
        require(administrator, LEAST)
        self._until = max(self._until, administrator.expires_at)

    def is_allowed(self, topic: str) -> bool:
        """Whether the client may still hear the topic."""
        return topic not in GUARDED or self._deps.wall_clock() < self._until

    def seconds_left(self) -> float:
        """How long the client may still hear the guarded topics."""
        return self._until - self._deps.wall_clock()
