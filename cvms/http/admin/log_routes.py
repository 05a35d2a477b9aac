"""Routes of administrators about the log: its newest lines, and its level."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, Literal

import msgspec

from cvms.http.framework.admin_tokens import Administrator, Role
from cvms.http.framework.dependencies import Dependencies
from cvms.http.framework.request import Body
from cvms.http.framework.response import Reply
from cvms.http.framework.routing import Auth, RouteGroup
from cvms.log.level import HeldLevel
from cvms.store.postgres.driver.connection import Connection
from cvms.store.security import audit_log, log_level

ROUTES = RouteGroup("administration", auth=Auth.ADMIN)

MAX_LINES = 1000
MAX_MINUTES = 1440

Level = Literal["debug", "info", "warning", "error"]
Minutes = Annotated[int, msgspec.Meta(ge=1, le=MAX_MINUTES)]
Text = Annotated[str, msgspec.Meta(max_length=200)]


class LogsQuery(Body, frozen=True):
    minutes: Minutes = 5
    level: Level = "debug"
    text: Text = ""


class LogLines(msgspec.Struct, frozen=True):
    """Lines, oldest first. Each has `at`, `level`, `event`, and the fields of its event."""

    lines: list[dict[str, Any]]


class LogLevelChange(Body, frozen=True):
    level: Level
    minutes: Minutes


class LogLevelState(msgspec.Struct, frozen=True):
    """The lowest level that is logged. `until` then, or null if it is that of `LOG_LEVEL`."""

    level: str
    until: datetime | None


@ROUTES.get("/api/admin/logs", replies={200: LogLines}, role=Role.OPERATOR)
async def list_log_lines(
    deps: Dependencies, query: LogsQuery, administrator: Administrator
) -> Reply:
    """List the newest log lines.

    Returns those of the process that answers, of the last `minutes`, with `level` or a higher one,
    and with `text` in them: at most 1,000, the newest. Each process keeps 2,000 lines.
    """
    since = datetime.now(UTC) - timedelta(minutes=query.minutes)
    found = deps.log.recent.find(since=since, level=query.level, text=query.text, limit=MAX_LINES)
    return Reply(LogLines(found))


@ROUTES.get("/api/admin/log-level", replies={200: LogLevelState}, role=Role.VIEWER)
async def get_log_level(deps: Dependencies, administrator: Administrator) -> Reply:
    """Get the log level.

    Returns that of the process that answers.
    """
    return Reply(_state(deps))


@ROUTES.put("/api/admin/log-level", replies={200: LogLevelState}, role=Role.ADMIN)
async def set_log_level(
    deps: Dependencies, body: LogLevelChange, administrator: Administrator
) -> Reply:
    """Set the log level for a time.

    Holds for the process that answers at once, for all others within seconds. After `minutes` each
    returns to its `LOG_LEVEL`.
    """
    actor = administrator.actor

    async def change(conn: Connection) -> HeldLevel:
        lasts = timedelta(minutes=body.minutes)
        held = await log_level.hold(conn, body.level, lasts, by=actor)
        details = {"level": body.level, "minutes": body.minutes}
        await audit_log.record(
            conn, actor=actor, action="log_level_set", owner=None, details=details
        )
        return held

    deps.log.level.hold(await deps.database.transact(change))
    return Reply(_state(deps))


def _state(deps: Dependencies) -> LogLevelState:
    return LogLevelState(deps.log.level.current, deps.log.level.until)
