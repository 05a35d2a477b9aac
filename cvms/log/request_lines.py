"""One line for each request that changes something, or that is refused."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import structlog

from cvms.log.fields import log_fields
from cvms.log.sampling import Sampler

log = structlog.get_logger(__name__)

REFUSALS = 5
"""Lines about refusals with the same code in a window; the next one says how many were left out."""
WINDOW_SECONDS = 60.0
SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})
REFUSED, FAILED = 400, 500

# No character that has a meaning in a header, in JSON, or to a terminal.
_REQUEST_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}", re.ASCII)


def _first_few() -> Sampler:
    return Sampler(first=REFUSALS, seconds=WINDOW_SECONDS)


@dataclass(slots=True, eq=False)
class RequestLines:
    """Writes the lines about answered requests. The task's fields tell what each was about."""

    _refusals: Sampler = field(default_factory=_first_few)

    def write(self, method: str, status: int, seconds: float, *, probe: bool) -> None:
        """Write the line of a request, if it needs one. `probe`: many ask, whatever comes of it."""
        fields: dict[str, Any] = {"status": status, "milliseconds": round(seconds * 1000, 1)}
        if status >= FAILED and not probe:
            log.warning("request_refused", **fields)
        elif status >= REFUSED:
            left_out = self._refusals.admit(log_fields.get({}).get("code", str(status)))
            if left_out is not None:
                log.info(
                    "request_refused", **fields, **({"left_out": left_out} if left_out else {})
                )
        elif method in SAFE_METHODS:
            log.debug("request_answered", **fields)
        else:
            log.info("request_answered", **fields)


def request_id_of(given: Sequence[str], trace_id: str | None) -> str | None:
    """Return the id that a trusted proxy gave a request: in `X-Request-Id`, or its trace's.

    None if there is none, or several, or one of other characters.
    """
    if len(given) == 1 and _REQUEST_ID.fullmatch(given[0]):
        return given[0]
    return trace_id
