"""Reads of what is indexed, for the client whose request is being answered.

The client may require a slot with `X-Min-Slot`; the response names the slot that it is true for in
`X-Slot`, if that is known.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TypeVar

from cvms.http.framework.dependencies import Dependencies
from cvms.http.framework.request import current_request, read_min_slot
from cvms.store.indexed_reads.snapshot import ReadBound
from cvms.store.postgres.driver.connection import Connection
from cvms.store.vaults.history import HistoryRow, PageRequest
from cvms.store.vaults.vaults import VaultRow

T = TypeVar("T")


async def read_indexed(
    deps: Dependencies,
    work: Callable[[Connection], Awaitable[T]],
    *,
    one_snapshot: bool = False,
) -> T:
    """Return the result of `work`, which must write nothing and may run twice.

    With `one_snapshot`, all its queries see the same state of the database.
    """
    bound = ReadBound(read_min_slot())
    try:
        return await deps.reader.read(work, bound, one_snapshot=one_snapshot)
    finally:
        _note(bound)


async def read_vault_row(
    deps: Dependencies, owner: str, *, from_primary: bool = False
) -> VaultRow | None:
    """Return the row of the owner's vault, None if there is none."""
    bound = ReadBound(read_min_slot())
    try:
        return await deps.reader.vault_row(owner, bound, from_primary=from_primary)
    finally:
        _note(bound)


async def read_history_page(deps: Dependencies, page: PageRequest) -> list[HistoryRow]:
    """Return a page of a vault's history."""
    bound = ReadBound(read_min_slot())
    try:
        return await deps.reader.history_page(page, bound)
    finally:
        _note(bound)


def _note(bound: ReadBound) -> None:
    """Let the response name the slot of a read; of several reads, the oldest."""
    if bound.slot is not None:
        request = current_request()
        known = request.indexed_slot
        request.indexed_slot = bound.slot if known is None else min(known, bound.slot)
