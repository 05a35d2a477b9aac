"""The work that the service does by itself: for one batch or page, or over everything."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from functools import partial

from solders.pubkey import Pubkey

from bench.vaults.books import PERIOD, Books, signature
from bench.vaults.side_tables import ALERTED
from cvms.chain.program.events.events import DepositEvent
from cvms.chain.rpc.responses import SignatureInfo
from cvms.chain.types import Commitment, Slot
from cvms.nursery.indexing.apply_batch import apply_batch
from cvms.nursery.indexing.batch_reader import Batch, ExecutedTransaction
from cvms.nursery.ledger.entries import RecordedEvent, event_data
from cvms.nursery.ledger.vault_fetch import FetchedVault
from cvms.nursery.scheduled.retention import Retention
from cvms.store.alerts import alerts, queries
from cvms.store.analytics import aggregate_check
from cvms.store.index import chain_events, index_status, vault_mints
from cvms.store.index import cursor as cursors
from cvms.store.index.cursor import Cursor
from cvms.store.postgres.database import Database
from cvms.store.postgres.driver.connection import Connection
from cvms.store.reconciliation import vault_ledger
from cvms.store.vaults import balance_snapshots, maturities, vaults, yield_policies

BATCH = 100
"""Deposits in a batch of the indexer."""
PAGE = 50
"""Vaults in a page of the reconciler."""
POLICIES = 10
"""One vault of so many has a policy."""
HOURS = PERIOD // timedelta(hours=1)
Work = Callable[[int], Awaitable[float]]
"""Does some work that begins at the vault with this number, and returns the seconds it took."""


class _Undo(Exception):
    """Rolls a measured transaction back."""


@dataclass(frozen=True, slots=True)
class Upkeep:
    """Work on the books. Each `repeated` is given the number of a vault; `whole` reads them all."""

    database: Database
    planned: Books

    def repeated(self) -> dict[str, Work]:
        return {
            "indexer: a batch of 100": self.apply,
            "indexer: status": self._status,
            "reconciliation: a page of 50 vaults": self._reconcile,
            "reconciliation: 1,000 of the chain's list": self._compare_list,
            "alerts: withdrawals": self._withdrawals,
            "timelocks: next notice, releases": self._timelocks,
            "alerts: low balances of 100 changed vaults": self._changed_balances,
        }

    def whole(self) -> dict[str, tuple[int, Callable[[], Awaitable[float]]]]:
        """Return the work on everything, each with the number of vaults or lines it reads."""
        count, lines = self.planned.vaults, self.planned.lines
        alerted = max(1, count // ALERTED)
        return {
            "reconciliation: sums checked, per vault": (count, self._check_sums),
            "reconciliation: sizes counted again, per vault": (count, self._count_sizes),
            "reconciliation: flows counted again, per line": (lines, self._count_flows),
            "reconciliation: vaults without a row, per vault": (count, self._without_row),
            "snapshots: all vaults for the first time, per vault": (count, self._first_snapshot),
            "snapshots: an hour, per line": (max(1, lines // HOURS), self._hourly_snapshot),
            "alerts: low balances, per open alert": (alerted, partial(self._low_balances, 0)),
            "alerts: counts, per open alert": (alerted, partial(self._alert_counts, 0)),
            "compounding: none is due, per policy": (count // POLICIES, self._compounding),
            "retention: nothing to delete, per vault": (count, self._retention),
            "reconciliation: a pass, its queries, per vault": (count, self._pass),
        }

    async def apply(self, number: int) -> float:
        """Apply a batch of deposits by a hundred vaults, as the indexer does."""
        program = str(self.planned.programs.vault)
        async with self.database.connection() as conn:
            after = await cursors.get(conn, program)
        assert after is not None
        batch = await self._batch(number, Slot(after.slot + 1))
        last = batch.signatures[-1].signature
        to = Cursor(program, after.slot + 1, last, after.signature)
        begin = time.perf_counter()
        assert await apply_batch(self.database, batch, after=after, to=to) is not None
        return time.perf_counter() - begin

    async def _batch(self, number: int, slot: Slot) -> Batch:
        infos: list[SignatureInfo] = []
        executed: list[ExecutedTransaction] = []
        fetched: list[FetchedVault] = []
        now = int(datetime.now(UTC).timestamp())
        for each in range(number, number + BATCH):
            one = each % self.planned.vaults
            owner, vault = self.planned.addresses(one)
            async with self.database.connection() as conn:
                row = await vaults.get(conn, owner)
            assert row is not None
            sign = signature(slot * 1_000 + len(infos))
            account = replace(
                self.planned.account(one),
                total_balance=row.total + 1,
                available_balance=row.available + 1,
                total_deposited=row.total_deposited + 1,
            )
            event = DepositEvent(
                Pubkey.from_string(vault),
                account.owner,
                amount=1,
                new_total_balance=account.total_balance,
                new_available_balance=account.available_balance,
            )
            infos.append(SignatureInfo(sign, slot, None, now, Commitment.FINALIZED))
            recorded = RecordedEvent(event, _row(event, sign, slot, now))
            executed.append(ExecutedTransaction(sign, (), (recorded,)))
            fetched.append(FetchedVault(event.vault, account, slot, sign))
        fetched.sort(key=lambda each: str(each.address))
        mint = str(self.planned.programs.mint)
        return Batch(mint, tuple(infos), tuple(executed), tuple(fetched))

    async def _status(self, number: int) -> float:
        begin = time.perf_counter()
        async with self.database.connection() as conn:
            await index_status.read(conn, str(self.planned.programs.vault))
        return time.perf_counter() - begin

    async def _reconcile(self, number: int) -> float:
        after, _ = self.planned.addresses(number)
        begin = time.perf_counter()
        async with self.database.transaction() as conn:
            await vault_ledger.read(conn, await vaults.owners_after(conn, after, PAGE))
        return time.perf_counter() - begin

    async def _compare_list(self, number: int) -> float:
        owners = [
            self.planned.addresses(each % self.planned.vaults)[0]
            for each in range(number, number + 1000)
        ]
        begin = time.perf_counter()
        async with self.database.connection() as conn:
            await vaults.owners_with_other_total(conn, dict.fromkeys(owners, 1))
        return time.perf_counter() - begin

    async def _withdrawals(self, number: int) -> float:
        begin = time.perf_counter()
        async with self.database.transaction() as conn:
            await queries.withdrawals(conn, 500)
        return time.perf_counter() - begin

    async def _low_balances(self, number: int) -> float:
        begin = time.perf_counter()
        async with self.database.transaction() as conn:
            await queries.recovered_vaults(conn, 120)
            await queries.low_vaults(conn, 100, 500)
        return time.perf_counter() - begin

    async def _changed_balances(self, number: int) -> float:
        owners = [
            self.planned.addresses(each % self.planned.vaults)[0]
            for each in range(number, number + BATCH)
        ]
        begin = time.perf_counter()
        async with self.database.transaction() as conn:
            await queries.recovered_vaults(conn, 120, owners)
            await queries.low_vaults(conn, 100, 500, owners)
        return time.perf_counter() - begin

    async def _alert_counts(self, number: int) -> float:
        begin = time.perf_counter()
        async with self.database.connection() as conn:
            await alerts.counts(conn)
        return time.perf_counter() - begin

    async def _timelocks(self, number: int) -> float:
        now = int(datetime.now(UTC).timestamp())
        begin = time.perf_counter()
        async with self.database.connection() as conn:
            await maturities.next_notice(conn, notice=3600)
            await maturities.any_to_release(conn, now=now, deferred=())
            await maturities.to_release(conn, kind="release", now=now, limit=100, deferred=())
        return time.perf_counter() - begin

    async def _compounding(self) -> float:
        begin = time.perf_counter()
        async with self.database.connection() as conn:
            await yield_policies.to_compound(
                conn,
                yield_program=str(self.planned.programs.yield_pool),
                delegates=[],
                after="",
                limit=25,
            )
        return time.perf_counter() - begin

    async def _pass(self) -> float:
        begin, after, pages = time.perf_counter(), "", 0
        while True:
            async with self.database.transaction() as conn:
                owners = await vaults.owners_after(conn, after, PAGE)
                if not owners:
                    return time.perf_counter() - begin
                await vault_ledger.read(conn, owners)
            after, pages = owners[-1], pages + 1
            if pages % 2000 == 0:
                print(f"  {pages * PAGE} of {self.planned.vaults} vaults", flush=True)

    async def _check_sums(self) -> float:
        async with self.database.dedicated(query_timeout=3600) as conn:
            begin = time.perf_counter()
            found = await aggregate_check.check(conn)
            seconds = time.perf_counter() - begin
        assert found.sizes_right(0), found
        assert found.flows_right(0), found
        return seconds

    async def _count_sizes(self) -> float:
        return await self._in_transaction(aggregate_check.count_sizes)

    async def _count_flows(self) -> float:
        return await self._in_transaction(aggregate_check.count_flows)

    async def _without_row(self) -> float:
        async with self.database.dedicated(query_timeout=3600) as conn:
            begin = time.perf_counter()
            assert await vault_mints.owners_without_row(conn) == []
            return time.perf_counter() - begin

    async def _first_snapshot(self) -> float:
        return await self._snapshots(first=True)

    async def _hourly_snapshot(self) -> float:
        return await self._snapshots(first=False)

    async def _snapshots(self, *, first: bool) -> float:
        """Write two snapshots an hour apart, return the time of one, and undo both."""
        at = self.planned.end.replace(minute=0, second=0) - timedelta(hours=3)
        at -= timedelta(hours=2 if at.hour in (23, 0) else 0)  # neither of them is a midnight
        seconds = []
        try:
            async with self.database.dedicated(query_timeout=3600) as conn, conn.transaction():
                for hour in range(2):
                    begin = time.perf_counter()
                    await balance_snapshots.write(
                        conn, at + timedelta(hours=hour), complete=hour == 0
                    )
                    seconds.append(time.perf_counter() - begin)
                raise _Undo
        except _Undo:
            return seconds[0 if first else 1]

    async def _retention(self) -> float:
        retention = Retention(database=self.database)
        await retention.run_once()  # what has become old since the books were made
        begin = time.perf_counter()
        await retention.run_once()
        return time.perf_counter() - begin

    async def _in_transaction(self, work: Callable[[Connection], Awaitable[object]]) -> float:
        async with self.database.dedicated(query_timeout=3600) as conn, conn.transaction():
            begin = time.perf_counter()
            await work(conn)
            return time.perf_counter() - begin


def _row(event: DepositEvent, sign: str, slot: Slot, now: int) -> chain_events.EventRow:
    return chain_events.EventRow(
        signature=sign,
        instruction_index=0,
        ordinal=0,
        slot=slot,
        block_time=datetime.fromtimestamp(now, UTC),
        name="DepositEvent",
        vault=str(event.vault),
        owner=str(event.owner),
        commitment=Commitment.FINALIZED,
        data=event_data(event),
    )
