"""Signer of the audit trail's head, so that entries that were cut off are missed.

Each signed head is stored, logged and exported as a metric. What is outside the database then
contradicts a trail that was shortened or rewritten (`cvms audit verify`).
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from datetime import UTC, datetime

import structlog
import trio

from cvms.metrics import Metrics
from cvms.nursery.channels.status_board import StatusBoard
from cvms.signing.audit_signer import AuditSigners
from cvms.store.postgres.database import Database
from cvms.store.postgres.driver.connection import Connection
from cvms.store.security import audit_heads
from cvms.store.security.audit_heads import SignedHead

log = structlog.get_logger(__name__)

SIGN_SECONDS = 5.0
"""The newest entries, which nothing outside the database attests, are no older than this."""
WARNING = "audit_trail"


@dataclass(slots=True, kw_only=True, eq=False)
class AuditHeadSigner:
    """Signs the head whenever it has moved, unless the trail contradicts an earlier one."""

    database: Database
    signers: AuditSigners
    board: StatusBoard
    metrics: Metrics
    _last: SignedHead | None = field(default=None, init=False)

    async def run(self) -> None:
        """Run every SIGN_SECONDS until cancelled; another replica signs then."""
        try:
            while True:
                with self.metrics.tasks.timed("audit_heads"):
                    await self.run_once()
                self.board.task_succeeded("audit_heads")
                await trio.sleep(SIGN_SECONDS)
        finally:
            self.board.warnings.pop(WARNING, None)
            self.metrics.operator.audit_head.set(math.nan)

    async def run_once(self) -> None:
        """Sign the head, store it and publish it. A contradiction is a warning on the board."""
        async with self.database.transaction() as conn:
            stored = await audit_heads.newest(conn)
            problem = await self._problem(conn, stored)
            head = await audit_heads.current(conn)
        signed = None
        if problem is None and head.id and not self._is_signed(stored, head.id):
            # Outside the database transaction: a signer may take seconds.
            signed = await self.signers.sign(head, datetime.now(UTC))
            async with self.database.transaction() as conn:
                await audit_heads.store(conn, signed)
        if problem is not None:
            self.board.warnings[WARNING] = problem
            log.error("audit_trail_contradicted", problem=problem, id=head.id, hash=head.hash.hex())
            return
        self.board.warnings.pop(WARNING, None)
        newest = signed or stored
        if newest is None:
            return
        if newest != self._last:  # also one that was stored by a process that ended before this
            log.info(
                "audit_head_signed",
                id=newest.id,
                hash=newest.hash.hex(),
                signed_at=newest.signed_at.isoformat(),
                key=newest.key.hex(),
                signature=newest.signature.hex(),
            )
        self._last = newest
        self.metrics.operator.audit_head.set(newest.id)

    def _is_signed(self, stored: SignedHead | None, newest: int) -> bool:
        return stored is not None and stored.id == newest and stored.key in self.signers.public

    async def _problem(self, conn: Connection, stored: SignedHead | None) -> str | None:
        """Return why the trail is not the one that was signed, by this process or before it."""
        if stored is None:
            return None if self._last is None else "the stored head was removed"
        if not stored.is_signed_by(stored.key):
            return "the stored head was changed"
        for signed in (self._last, stored):
            if signed is not None and not await audit_heads.is_in_trail(conn, signed):
                return f"entry {signed.id}, which was signed, was changed or removed"
        return None
