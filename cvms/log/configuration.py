"""Structured logs on standard error: one JSON object per line, or text for a terminal."""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable, Iterator, MutableMapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import structlog

from cvms.log.faults import RepeatedFaults
from cvms.log.fields import add_log_fields
from cvms.log.level import LogLevel
from cvms.log.recent_lines import RecentLines
from cvms.log.redaction import redact

Event = MutableMapping[str, Any]

# They log each request with its URL, which may contain an API key, or each step of a connection.
NOISY = ("httpx", "httpcore", "httpx2", "hypercorn.access", "trio-websocket", "urllib3", "asyncio")


def _count_nothing(level: str) -> None:
    pass


@dataclass(slots=True, eq=False)
class ProcessLog:
    """The log of this process. `count` is called with the level of each line that is written."""

    level: LogLevel = field(default_factory=lambda: LogLevel("info"))
    recent: RecentLines = field(default_factory=RecentLines)
    count: Callable[[str], None] = _count_nothing

    def keep(self, logger: Any, method: str, event: Event) -> Event:
        """Keep a line as it is written, and count it, as a processor of structlog."""
        self.count(str(event.get("level", "info")))
        self.recent.add(event)
        return event


def configure_logging(form: str, level: str = "info") -> ProcessLog:
    """Set up structlog, also for the logs of libraries. `form` is `json` or `console`."""
    root = logging.getLogger()
    process_log = ProcessLog(LogLevel(level, lambda each: root.setLevel(each.upper())))
    shared: list[structlog.typing.Processor] = [
        add_log_fields,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        RepeatedFaults(),
    ]
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                *_final(form, process_log),
            ],
        )
    )
    root.handlers = [handler]
    root.setLevel(level.upper())
    for library in NOISY:
        logging.getLogger(library).setLevel(logging.WARNING)
    structlog.configure(
        # The level may change at run time: the root logger's is asked for each line.
        processors=[
            structlog.stdlib.filter_by_level,
            *shared,
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(logging.DEBUG),
        logger_factory=structlog.stdlib.LoggerFactory(),
        cache_logger_on_first_use=True,
    )
    return process_log


def _final(form: str, process_log: ProcessLog) -> list[structlog.typing.Processor]:
    """Return what makes a line of an event. Nothing that is not redacted is written or kept."""
    # Local variables of a frame may be secret.
    frames = structlog.tracebacks.ExceptionDictTransformer(show_locals=False)
    if form == "json":
        return [
            structlog.processors.ExceptionRenderer(frames),
            redact,
            process_log.keep,
            structlog.processors.JSONRenderer(),
        ]
    return [
        structlog.processors.format_exc_info,
        redact,
        process_log.keep,
        structlog.dev.ConsoleRenderer(
            colors=sys.stderr.isatty(), exception_formatter=structlog.dev.plain_traceback
        ),
    ]


@contextmanager
def errors_only() -> Iterator[None]:
    """Log nothing below an error, on standard error, unless the block sets up its own logging."""
    before = structlog.get_config()
    structlog.configure(
        wrapper_class=structlog.make_filtering_bound_logger(logging.ERROR),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
    )
    try:
        yield
    finally:
        structlog.configure(**before)
