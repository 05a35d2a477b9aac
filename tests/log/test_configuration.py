"""The log of a process, as it is written on standard error."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

LEVELS = """
import logging, structlog
from datetime import UTC, datetime
from cvms.log.configuration import configure_logging
from cvms.log.level import HeldLevel
log = structlog.get_logger("cvms.test")
process_log = configure_logging("json")
now = [0.0]
process_log.level.clock = lambda: now[0]
log.debug("before")
process_log.level.hold(HeldLevel("debug", datetime.now(UTC), 60.0))
log.debug("between")
logging.getLogger("a.library").debug("between too")
logging.getLogger("httpcore").debug("GET /k3y")
now[0] = 60.0
assert process_log.level.end_if_due()
log.debug("after")
log.info("the end")
"""

FAULTS = """
import structlog
from cvms.log.configuration import configure_logging
from cvms.log.fields import bind_log_fields
from cvms.secret_urls import check_url
log = structlog.get_logger("cvms.test")
process_log = configure_logging({form!r})
levels = []
process_log.count = levels.append
bind_log_fields(request_id="r1")
for _ in range(3):
    try:
        password = "k3yk3y"
        check_url("postgresql://user:k3yk3y@host/db?k3yk3y", "https")
    except ValueError as error:
        error.args = ("postgresql://user:k3yk3y@host/db",)
        log.exception("request_failed")
assert levels == ["error"] * 3, levels
assert len(process_log.recent.find(since=structlog and __import__("datetime").datetime(2000, 1, 1,
    tzinfo=__import__("datetime").UTC), limit=9)) == 3
"""


def written(program: str) -> str:
    """Return what a process of its own writes: loggers keep what they were configured with."""
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=30, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stderr


def lines(program: str) -> list[dict[str, Any]]:
    return [json.loads(each) for each in written(program).splitlines()]


def test_the_level_changes_at_run_time_for_loggers_in_use_and_returns() -> None:
    events = [each["event"] for each in lines(LEVELS)]
    assert events == ["between", "between too", "the end"]


def test_a_traceback_is_written_once_and_never_with_a_secret() -> None:
    text = written(FAULTS.format(form="json"))
    first, *others = [json.loads(each) for each in text.splitlines()]
    assert first["exception"][0]["exc_type"] == "BadValue"
    assert [each["repeats"] for each in others] == [1, 2]
    assert not any("exception" in each for each in others)
    assert {each["request_id"] for each in (first, *others)} == {"r1"}
    assert "k3y" not in text


def test_the_log_for_a_terminal_has_no_secret_either() -> None:
    text = written(FAULTS.format(form="console"))
    assert text.count("Traceback") == 1
    assert "k3y" not in text.replace('password = "k3yk3y"', "")
