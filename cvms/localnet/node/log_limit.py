"""Truncation of logs, as by Agave's log collector."""

from __future__ import annotations

from collections.abc import Iterable

TRUNCATED = "Log truncated"


def truncate_logs(lines: Iterable[str], limit: int) -> list[str]:
    """Return the lines that a collector of `limit` bytes keeps.

    The first line that reaches the limit is replaced by `TRUNCATED`. Later lines are kept if they
    still fit (`LogCollector::log` in Agave's solana-svm-log-collector).
    """
    kept: list[str] = []
    written, warned = 0, False
    for line in lines:
        length = len(line.encode())
        if written + length < limit:
            written += length
            kept.append(line)
        elif not warned:
            warned = True
            kept.append(TRUNCATED)
    return kept
