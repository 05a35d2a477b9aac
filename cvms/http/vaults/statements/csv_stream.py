"""Replies in CSV (RFC 4180), made from one snapshot of the database while they are sent.

No cell can be a formula: each is a number, a time, a word of ours, or text in base58.
"""

from __future__ import annotations

import csv
import io
from collections.abc import AsyncGenerator, Callable, Iterable
from contextlib import aclosing
from datetime import datetime

import trio

from cvms.http.framework.dependencies import Dependencies
from cvms.http.framework.request import current_request, read_min_slot
from cvms.http.framework.response import ByteStream, Response
from cvms.http.vaults.statements.periods import CSV
from cvms.store.indexed_reads.snapshot import ReadBound, read_state
from cvms.store.postgres.driver.connection import Connection

STREAM_SECONDS = 120.0
"""For a whole statement to be read. Each write has a deadline of its own."""

Cell = str | int | datetime | None
Texts = Callable[[Connection], AsyncGenerator[str, None]]


def csv_lines(rows: Iterable[Iterable[Cell]]) -> str:
    """Return the rows as CSV."""
    text = io.StringIO()
    csv.writer(text).writerows([_cell(each) for each in row] for row in rows)
    return text.getvalue()


async def stream_csv(
    deps: Dependencies, texts: Texts, *, name: str, headers: dict[str, str] | None = None
) -> Response:
    """Return the response that streams these texts as a file.

    Raises RateLimited, Overloaded, DatabaseUnavailable, MinSlotNotIndexed, and what comes before
    the first text.
    """
    rest = _read(deps, texts)
    stream = ByteStream(await anext(rest), rest)
    disposition = f'attachment; filename="{name}.csv"'
    kind = {"Content-Type": f"{CSV}; charset=utf-8; header=present"}
    return Response(
        b"",
        headers={**kind, "Content-Disposition": disposition, **(headers or {})},
        stream=stream,
    )


async def _read(deps: Dependencies, texts: Texts) -> AsyncGenerator[bytes, None]:
    request = current_request()
    with deps.limits.stream(request):
        async with deps.database.snapshot() as conn:
            deadline = trio.current_time() + STREAM_SECONDS
            bound = ReadBound(read_min_slot())
            bound.accept((await read_state(conn, str(deps.programs.vault))).slot)
            request.indexed_slot = bound.slot
            async with aclosing(texts(conn)) as all_texts:
                async for text in all_texts:
                    yield text.encode()
                    if trio.current_time() > deadline:
                        raise trio.TooSlowError("the client reads too slowly")


def _cell(value: Cell) -> str | int:
    if value is None:
        return ""
    return value.isoformat().replace("+00:00", "Z") if isinstance(value, datetime) else value
