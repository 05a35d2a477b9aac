"""The period that a statement is asked for, and the format of the reply."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import Annotated, Literal

import msgspec
from werkzeug.datastructures import Accept
from werkzeug.http import parse_accept_header

from cvms.http.framework.request import MAX_AMOUNT, current_request, field_error
from cvms.http.framework.response import JSON
from cvms.store.vaults.statements import Moment

CSV = "text/csv"
Format = Literal["json", "csv"]

# Before the first block of any such chain, and far enough from the largest date for arithmetic.
EARLIEST = datetime(2000, 1, 1, tzinfo=UTC)
LATEST = datetime(3000, 1, 1, tzinfo=UTC)

MomentText = Annotated[
    str,
    msgspec.Meta(
        min_length=1,
        max_length=40,
        description="A slot, or a time with its zone (RFC 3339)",
        examples=["287654321", "2026-11-01T00:00:00Z"],
    ),
]
_Time = Annotated[datetime, msgspec.Meta(tz=True)]


def parse_period(since: str | None, until: str | None) -> tuple[Moment | None, Moment | None]:
    """Return the period from `since` to before `until`. Raises InvalidRequest."""
    first, end = _moment("from", since), _moment("to", until)
    if isinstance(first, datetime) and isinstance(end, datetime):
        backwards = first > end
    else:
        backwards = isinstance(first, int) and isinstance(end, int) and first > end
    if backwards:
        raise field_error("The query", "from", "later than `to`")
    return first, end


def wants_csv(format_: Format | None) -> bool:
    """Return whether the reply is CSV: by the query, or else by what the client accepts."""
    if format_ is not None:
        return format_ == "csv"
    accepted = parse_accept_header(current_request().header("accept"))
    return _quality(accepted, CSV, "text/*") > _quality(accepted, JSON, "application/*")


def _quality(accepted: Accept, *kinds: str) -> float:
    """Return the weight of the kinds, whatever their parameters; those first named count first."""
    weights = {value.partition(";")[0].strip().lower(): weight for value, weight in accepted}
    return next((weights[each] for each in (*kinds, "*/*") if each in weights), 0.0)


def _moment(name: str, text: str | None) -> Moment | None:
    if text is None:
        return None
    if re.fullmatch(r"[0-9]{1,19}", text):
        slot = int(text)
        if slot > MAX_AMOUNT:
            raise field_error("The query", name, f"expected a slot, 0 to {MAX_AMOUNT}")
        return slot
    try:
        time: datetime = msgspec.convert(text, _Time)
    except msgspec.ValidationError:
        message = "expected a slot, or a time with its zone, such as 2026-11-01T00:00:00Z"
        raise field_error("The query", name, message) from None
    if not EARLIEST <= time <= LATEST:
        message = f"expected a time from {EARLIEST.year} to {LATEST.year}"
        raise field_error("The query", name, message)
    return time
