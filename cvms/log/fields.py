"""Fields of every line that a task logs, such as the id of the request that it answers."""

from __future__ import annotations

from collections.abc import Mapping, MutableMapping
from contextvars import ContextVar
from typing import Any

log_fields: ContextVar[Mapping[str, str]] = ContextVar("log_fields")
"""The fields of the current task's lines."""


def bind_log_fields(**fields: str) -> None:
    """Add fields to all further lines of the current task."""
    log_fields.set({**log_fields.get({}), **fields})


def add_log_fields(
    logger: Any, method: str, event: MutableMapping[str, Any]
) -> MutableMapping[str, Any]:
    """Add the task's fields to a line, as a processor of structlog."""
    return {**log_fields.get({}), **event}
