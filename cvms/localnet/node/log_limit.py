"""Logs over the limit, cut the way Agave's log collector cuts them."""

from __future__ import annotations

from collections.abc import Iterable

TRUNCATED = "Log truncated"


def limited(lines: Iterable[str], limit: int) -> list[str]:
    """The lines that a collector of `limit` bytes keeps.

    The first line that reaches the limit is replaced by `TRUNCATED`. Lines after it are left out,
    unless they are short enough to fit beside those kept so far: they stay
    (`LogCollector::log` of agave's solana-svm-log-collector).
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
