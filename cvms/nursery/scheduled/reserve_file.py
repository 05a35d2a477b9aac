"""The file of reserves of one slot: read from the chain, compared with the books, and stored."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from uuid import UUID

import trio

from cvms.chain.types import Programs
from cvms.errors import ProofInvalid
from cvms.nursery.scheduled.reserve_reader import Reading, ReserveReader
from cvms.proofs.reserve_lines import Line, ReserveTotals, encoded, token_account_of
from cvms.store.index import cursor
from cvms.store.postgres.database import Database
from cvms.store.proofs import leaves, reserves
from cvms.store.proofs.leaves import LeafRow
from cvms.store.vaults import balance_history

PAGE_ROWS = 1_000
WAIT_SECONDS = 120.0
"""For the index to reach what was read from the chain."""
POLL_SECONDS = 1.0


@dataclass(slots=True, kw_only=True, eq=False)
class ReserveFile:
    """Writes the file of the slot that its reader reads after. Used once."""

    database: Database
    programs: Programs
    reader: ReserveReader
    _moved: list[Reading] = field(default_factory=list, init=False)
    _parts: int = field(default=0, init=False)

    async def write(self, file: UUID) -> ReserveTotals:
        """Store every line, and return what they sum up to.

        Raises ProofInvalid if the chain contradicts the books, or something is not covered.
        """
        derive = token_account_of(str(self.programs.vault), str(self.programs.mint))
        totals = ReserveTotals(slot=self.reader.slot, token_account_of=derive)
        after = ""
        while page := await self._page(after):
            readings = await self.reader.read_vaults(page)
            self._compare(page, readings)
            await self._store(file, totals, [each.line for each in readings])
            after = page[-1].owner
        pools = [await self.reader.read_pool(pool) for pool in sorted(totals.lent)]
        await self._store(file, totals, pools)
        await self._explain()
        return totals

    async def _page(self, after: str) -> list[LeafRow]:
        async with self.database.connection() as conn:
            return await leaves.by_owner(conn, self.reader.slot, after=after, limit=PAGE_ROWS)

    async def _store(self, file: UUID, totals: ReserveTotals, lines: Sequence[Line]) -> None:
        texts = [encoded(line) for line in lines]
        for text in texts:
            totals.add(text)
        if not texts:
            return
        async with self.database.transaction() as conn:
            await reserves.put(conn, file, self._parts, texts)
        self._parts += 1

    def _compare(self, page: Sequence[LeafRow], readings: Sequence[Reading]) -> None:
        self._moved += [
            reading
            for leaf, reading in zip(page, readings, strict=True)
            if reading.balances != leaf.balances
        ]

    async def _explain(self) -> None:
        """Wait until what was read is indexed, and compare what differed from the books.

        Raises ProofInvalid if it differs still.
        """
        if not self._moved:
            return
        await self._indexed(max(each.line.slot for each in self._moved))
        async with self.database.connection() as conn:
            for each in self._moved:
                line = each.line
                point = await balance_history.at(conn, line.owner, line.slot)
                if point is None or balances_at(point) != each.balances:
                    held = None if point is None else balances_at(point)
                    reason = f"{line.owner} held {each.balances} at slot {line.slot}, not {held}"
                    raise ProofInvalid("books", reason)

    async def _indexed(self, slot: int) -> None:
        """Wait until nothing is missing up to a slot, which is final."""
        with trio.move_on_after(WAIT_SECONDS):
            while True:
                async with self.database.connection() as conn:
                    indexed = await cursor.frontier(conn, str(self.programs.vault))
                if indexed.slot is not None and indexed.slot >= slot:
                    return
                await trio.sleep(POLL_SECONDS)
        raise ProofInvalid("books", f"slot {slot} was not indexed within {WAIT_SECONDS:.0f} s")


def balances_at(point: balance_history.BalancePoint) -> tuple[int, ...]:
    """Return the five balances of a point, in the order of docs/proofs.md."""
    return (
        point.total,
        point.available,
        point.locked,
        point.timelocked,
        point.yield_deposited,
    )
