"""Circuit breaker of one endpoint.

One vault's event that fails may be the event's fault, so the others are still tried. Once the
events of several vaults have failed in a row it is the endpoint's: it is left alone, longer each
time, and then tried with a few events.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field

import trio

OPEN_AFTER = 5
"""Vaults whose events fail without a success in between."""


@dataclass(slots=True, eq=False)
class EndpointCircuit:
    """Opens after failures, for `delay(tries)` seconds, and closes with the next success."""

    delay: Callable[[int], float]
    tries: int = 0
    """How often it has opened since the last success."""
    open_until: float = -math.inf
    delivered: bool = field(default=False, init=False)
    recovered: bool = field(default=False, init=False)
    error: str | None = field(default=None, init=False)
    """A success, one that closed the circuit, and a failure, since the reader has reset them."""
    _failed: set[str] = field(default_factory=set, init=False)

    @property
    def is_open(self) -> bool:
        return trio.current_time() < self.open_until

    @property
    def is_probing(self) -> bool:
        """True after a pause, until it is known whether the endpoint works again."""
        return self.tries > 0 and not self.is_open

    @property
    def seconds_open(self) -> float:
        return max(0.0, self.open_until - trio.current_time())

    def succeeded(self) -> None:
        """Record that an event was delivered."""
        self.delivered = True
        self.recovered |= self.tries > 0
        self.tries, self.open_until = 0, -math.inf
        self._failed.clear()

    def failed(self, owner: str, error: str) -> None:
        """Record that an event of a vault has failed."""
        self.error = error
        self._failed.add(owner)
        if not self.is_open and (self.tries > 0 or len(self._failed) >= OPEN_AFTER):
            self.tries += 1
            self.open_until = trio.current_time() + self.delay(self.tries)
