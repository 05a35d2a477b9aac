"""Remembers that the database is down, so that each caller need not find out by waiting."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager

import psycopg
import structlog
import trio

from cvms.errors import DatabaseUnavailable

RETRY_SECONDS = 1.0

log = structlog.get_logger(__name__)


class CircuitBreaker:
    """What is known of the server. While it is known to be down, one attempt a second is let by."""

    def __init__(self, retry_seconds: float = RETRY_SECONDS) -> None:
        self._retry_seconds = retry_seconds
        self._reason: str | None = None
        self._retry_at = 0.0
        self._probing = False
        self.suspected_at = -math.inf

    @property
    def over(self) -> bool:
        """Whether the last that was heard of the server is good."""
        return self._reason is None

    def suspect(self) -> None:
        """A connection was lost: whatever was heard before now vouches for nothing."""
        self.suspected_at = trio.current_time()

    def began(self, reason: str) -> None:
        """The server was found not to answer."""
        self.suspect()
        if self._reason is None:
            log.warning("database_lost", reason=reason)
        self._reason = reason
        self._retry_at = trio.current_time() + self._retry_seconds

    def ended(self) -> None:
        """The server answered."""
        if self._reason is not None:
            log.info("database_back")
        self._reason = None

    def refuse(self) -> None:
        """Raise DatabaseUnavailable when another attempt would be too early, or is on its way."""
        if self._reason is not None and (self._probing or trio.current_time() < self._retry_at):
            raise DatabaseUnavailable(self._reason)

    @contextmanager
    def attempt(self) -> Iterator[None]:
        """Surrounds whatever shows whether the server answers: connecting, checking.

        Raises DatabaseUnavailable at once when refused, and in place of psycopg's errors and
        timeouts of the attempt.
        """
        self.refuse()
        probe = self._reason is not None
        self._probing = self._probing or probe
        try:
            yield
        except (psycopg.OperationalError, trio.TooSlowError) as error:
            self.began(str(error).strip() or "no answer in time")
            raise DatabaseUnavailable(self._reason) from error
        else:
            self.ended()
        finally:
            if probe:
                self._probing = False
