"""Calls to Redis: commands, and what becomes of them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import trio

Command = tuple[str | bytes | int, ...]
Reply = Any
"""bytes, an int, None or a list of these, whatever was asked: the server may be anything."""


@dataclass(slots=True, eq=False)
class Call:
    """Commands, and what became of them: once `done` is set, or earlier, a `result` or an `error`.

    `read` makes the result of the replies, and raises ValueError if they are not what Redis
    answers to such commands.
    """

    commands: Sequence[Command]
    read: Callable[[list[Reply]], Any]
    wanted: bool = True
    """False once nobody waits for it any more; a call that is still queued is then not made."""
    result: Any = None
    error: Exception | None = None
    script_unknown: bool = False
    """The error is that Redis does not hold the script, which is no outage."""
    finished: bool = False
    done: trio.Event = field(default_factory=trio.Event)

    def finish(self, result: Any = None, error: Exception | None = None) -> None:
        self.result, self.error, self.finished = result, error, True

    def is_outage(self) -> bool:
        """Return whether the call has failed. That a script is unknown is no failure."""
        return self.error is not None and not self.script_unknown
