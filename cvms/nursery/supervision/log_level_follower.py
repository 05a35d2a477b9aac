"""The level of the log, as all processes have it: one reads what another was told."""

from __future__ import annotations

from dataclasses import dataclass

import structlog

from cvms.log.level import LogLevel
from cvms.store.postgres.database import Database
from cvms.store.security import log_level

log = structlog.get_logger(__name__)

FOLLOW_SECONDS = 2.0
"""Between two readings of a process."""


@dataclass(slots=True, kw_only=True, eq=False)
class LogLevelFollower:
    """Gives this process the level that an administrator has set for a time."""

    database: Database
    level: LogLevel

    async def run_once(self) -> None:
        """Read the level. Raises DatabaseUnavailable; the configured level returns in time then
        too.
        """
        before = self.level.current
        if self.level.end_if_due():
            self._report(before)
        async with self.database.connection() as conn:
            held = await log_level.read(conn)
        before = self.level.current
        if self.level.hold(held):
            self._report(before)

    def _report(self, before: str) -> None:
        until = self.level.until and self.level.until.isoformat()
        # As a warning, so that each level but `error` shows it.
        log.warning("log_level_changed", before=before, now=self.level.current, until=until)
