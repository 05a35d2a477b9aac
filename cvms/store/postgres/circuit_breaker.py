"""A circuit breaker for a server, so that callers need not wait to find out it is down."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from typing import ClassVar

import psycopg
import structlog
import trio

from cvms.errors import DatabaseUnavailable, SignerUnavailable

RETRY_SECONDS = 1.0

log = structlog.get_logger(__name__)


class CircuitBreaker:
    """Open while the server is known to be down; then it admits one attempt in `retry_seconds`.

    The log names the server if it has a `name`. A subclass is for another kind of server.
    """

    failures: ClassVar[tuple[type[Exception], ...]] = (psycopg.OperationalError, trio.TooSlowError)
    """What is raised while the server does not answer."""
    outcome: ClassVar[type[DatabaseUnavailable | SignerUnavailable]] = DatabaseUnavailable
    events: ClassVar[tuple[str, str]] = ("database_unavailable", "database_available_again")

    def __init__(self, retry_seconds: float = RETRY_SECONDS, *, name: str | None = None) -> None:
        self._retry_seconds = retry_seconds
        self._log = log if name is None else log.bind(server=name)
        self._reason: str | None = None
        self._retry_at = 0.0
        self._probing = False
        self.suspected_at = -math.inf

    @property
    def closed(self) -> bool:
        """True if the last attempt succeeded."""
        return self._reason is None

    @property
    def reason(self) -> str | None:
        """Why the circuit is open, None while it is closed."""
        return self._reason

    def suspect(self) -> None:
        """Record that a connection was lost: connections used before now need a check."""
        self.suspected_at = trio.current_time()

    def trip(self, reason: str) -> None:
        """Record that the server did not answer."""
        self.suspect()
        if self._reason is None:
            self._log.warning(self.events[0], reason=reason)
        self._reason = reason
        self._retry_at = trio.current_time() + self._retry_seconds

    def reset(self) -> None:
        """Record that the server answered."""
        if self._reason is not None:
            self._log.info(self.events[1])
        self._reason = None

    def check(self) -> None:
        """Raise the outcome if another attempt is too early, or one is in progress."""
        if self._reason is not None and (self._probing or trio.current_time() < self._retry_at):
            raise self.outcome(self._reason)

    @contextmanager
    def attempt(self) -> Iterator[None]:
        """Surround anything that shows whether the server answers: connecting, checking.

        Raises the outcome if `check` does, and in place of failures and timeouts in the block.
        """
        self.check()
        probe = self._reason is not None
        self._probing = self._probing or probe
        try:
            yield
        except self.failures as error:
            reason = " ".join(str(error).split()) or "no answer in time"
            self.trip(reason)
            raise self.outcome(reason) from error
        else:
            self.reset()
        finally:
            if probe:
                self._probing = False
