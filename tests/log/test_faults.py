"""A fault has its traceback in the log once in a while, and a count in between."""

from __future__ import annotations

from typing import Any

from cvms.errors import BadValue
from cvms.log.faults import FAULT_SECONDS, RepeatedFaults
from cvms.log.sampling import Sampler
from cvms.secret_urls import check_port, check_url


def caught(url: str) -> Exception:
    try:
        check_url(url, "https")
    except BadValue as error:
        return error
    raise AssertionError


def test_a_fault_in_a_loop_has_one_traceback_and_then_a_count() -> None:
    now = [0.0]
    faults = RepeatedFaults(Sampler(first=1, seconds=FAULT_SECONDS, clock=lambda: now[0]))

    def logged(error: Exception) -> dict[str, Any]:
        return dict(faults(None, "error", {"event": "task_failed", "exc_info": error}))

    first = logged(caught("ftp://one"))
    assert "exc_info" in first
    assert first["fault"].startswith("BadValue at cvms/secret_urls.py:")

    second, third = logged(caught("ftp://two")), logged(caught("ftp://three"))
    assert "exc_info" not in second | third
    assert (second["repeats"], third["repeats"]) == (1, 2)
    assert third["fault"] == first["fault"]
    assert third["error"] == "BadValue: its scheme is not https"

    elsewhere = logged(caught("https://[half"))
    assert "exc_info" in elsewhere
    assert elsewhere["fault"] != first["fault"]

    now[0] = FAULT_SECONDS
    again = logged(caught("ftp://four"))
    assert ("exc_info" in again, again["repeats"]) == (True, 2)


def test_a_group_is_the_same_fault_whatever_the_order_of_its_members() -> None:
    faults = RepeatedFaults()
    try:
        check_port("none")
    except BadValue as error:
        one, other = error, caught("ftp://host")
    for members in ([one, other], [other, one, other]):
        group = ExceptionGroup("", members)
        line = dict(faults(None, "error", {"event": "task_failed", "exc_info": group}))
    assert line["repeats"] == 1
