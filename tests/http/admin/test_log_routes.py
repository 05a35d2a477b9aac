"""Administrators read the newest lines, and set the level for a time, in every process."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest
import structlog

from cvms.http.framework.admin_tokens import Role
from cvms.log.configuration import ProcessLog, configure_logging
from cvms.log.level import LogLevel
from cvms.nursery.supervision.log_level_follower import LogLevelFollower
from tests.harness.service import Service, running
from tests.http.admin.test_admin_routes import SECRET, ask, token
from tests.http.wallets import rows

LOGS, LEVEL = "/api/admin/logs", "/api/admin/log-level"


@pytest.fixture
def process_log() -> Iterator[ProcessLog]:
    """The log of this process, as the service configures it."""
    root = logging.getLogger()
    handlers, level = root.handlers, root.level
    yield configure_logging("json")
    root.handlers = handlers
    root.setLevel(level)


async def test_lines_are_read_and_the_level_is_set_for_all_processes_until_it_ends(
    database_url: str, process_log: ProcessLog
) -> None:
    async with running(database_url, admin_jwt_secret=SECRET, process_log=process_log) as service:
        await service.post("/api/auth/nonce", {"owner": "nobody"})
        structlog.get_logger("cvms.test").warning("node_failed", url="https://host/k3yk3yk3y")
        refused = await ask(service, "GET", LOGS, bearer=token(Role.VIEWER))
        assert refused.status_code == 403
        reply = await ask(service, "GET", f"{LOGS}?level=warning", bearer=token(Role.OPERATOR))
        [line] = reply.json()["lines"]
        assert (line["level"], line["event"], line["url"]) == (
            "warning",
            "node_failed",
            "https://host/…",
        )
        reply = await ask(service, "GET", f"{LOGS}?text=AUTH/nonce", bearer=token(Role.OPERATOR))
        [line] = reply.json()["lines"]
        assert (line["event"], line["status"], line["code"], line["route"]) == (
            "request_refused",
            400,
            "invalid_request",
            "/api/auth/nonce",
        )
        await check_level(service, process_log)


async def check_level(service: Service, process_log: ProcessLog) -> None:
    change = {"level": "debug", "minutes": 5}
    refused = await ask(service, "PUT", LEVEL, change, bearer=token(Role.OPERATOR))
    assert refused.status_code == 403
    too_long = change | {"minutes": 10_000}
    assert (await ask(service, "PUT", LEVEL, too_long, bearer=token())).status_code == 400

    reply = await ask(service, "PUT", LEVEL, change, bearer=token())
    until = datetime.fromisoformat(reply.json()["until"])
    assert abs(until - datetime.now(UTC) - timedelta(minutes=5)) < timedelta(minutes=1)
    assert logging.getLogger().level == logging.DEBUG
    [entry] = await rows(service, "SELECT * FROM audit_logs WHERE action = 'log_level_set'")
    assert (entry["actor"], entry["details"]) == ("admin:carol", change)

    # Another process reads it, and returns by itself although the database does not answer.
    now = [0.0]
    other = LogLevel("warning", clock=lambda: now[0])
    follower = LogLevelFollower(database=service.database, level=other)
    await follower.run_once()
    assert other.current == "debug"
    now[0] = 301.0
    assert other.end_if_due()
    assert (other.current, other.until) == ("warning", None)

    # When it is over in the database, this process returns too.
    await rows(service, "UPDATE log_level SET until = now() RETURNING level")
    here = LogLevelFollower(database=service.database, level=process_log.level)
    await here.run_once()
    reply = await ask(service, "GET", LEVEL, bearer=token(Role.VIEWER))
    assert reply.json() == {"level": "info", "until": None}
    assert logging.getLogger().level == logging.INFO
