"""Hold the books against the chain: each vault that moved, and all of them now and then.

A row that lags is no difference: the chain is read first, and what does not match waits until the
indexer has passed the slot of that reading. Only then is it judged, logged and set right.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import structlog
import trio
from psycopg import IsolationLevel
from solders.pubkey import Pubkey

from cvms.chain.accounts import read_token_account, read_vault
from cvms.chain.rpc import Rpc
from cvms.chain.types import Commitment, Programs
from cvms.metrics import Metrics
from cvms.nursery.apply import balance_message
from cvms.nursery.channels import Board, OutboxWake, Reconciliations
from cvms.nursery.comparison import Difference, InBooks, OnChain, differences
from cvms.nursery.indexer import Progress
from cvms.nursery.vault_rows import row_now
from cvms.store import outbox, reconciliation, sums, vault_books, vaults
from cvms.store.connection import Connection
from cvms.store.database import Database
from cvms.store.vaults import VaultRow

log = structlog.get_logger(__name__)

VAULTS_PER_CALL = 50
"""A vault is two accounts, and a call gives 100 of one slot."""
JUDGE_SECONDS = 1.0
"""Between looks at what waits for the indexer."""


class Reconciler:
    """Compares vaults with the chain and logs and heals what differs."""

    def __init__(
        self,
        *,
        database: Database,
        rpc: Rpc,
        programs: Programs,
        progress: Progress,
        reconciliations: Reconciliations,
        outbox_wake: OutboxWake,
        interval: float,
        threshold: int,
        board: Board,
        metrics: Metrics,
    ) -> None:
        self._database = database
        self._rpc = rpc
        self._programs = programs
        self._progress = progress
        self._reconciliations = reconciliations
        self._outbox_wake = outbox_wake
        self._interval = interval
        self._threshold = threshold
        self._board = board
        self._metrics = metrics
        self._pending: dict[str, OnChain] = {}
        self._told: set[tuple[str, Difference]] = set()

    async def run(self) -> None:
        """Compare until cancelled: what moved at once, everything every `interval` seconds."""
        pass_at = trio.current_time()
        while True:
            if self._reconciliations.take_everything() or trio.current_time() >= pass_at:
                await self.full_pass()
                self._board.task_succeeded("reconciler")
                pass_at = trio.current_time() + self._interval
            quiet_until = trio.current_time() + JUDGE_SECONDS if self._pending else pass_at
            await self.check(await self._moved(until=min(quiet_until, pass_at)))
            await self.judge()

    async def full_pass(self) -> None:
        """Check every vault that has a row, page by page."""
        after: str | None = None
        while True:
            async with self._database.connection() as conn:
                page = await vaults.page(conn, after, VAULTS_PER_CALL)
            if not page:
                return
            await self.check([row.owner for row in page])
            # The indexer waits for us when it has moved much: let it go on between pages.
            await self.check(self._reconciliations.take())
            after = page[-1].owner

    async def check(self, owners: Iterable[str]) -> None:
        """Compare these owners' vaults now; what does not match waits for `judge`."""
        distinct = list(dict.fromkeys(owners))
        for first in range(0, len(distinct), VAULTS_PER_CALL):
            async with self._database.connection() as conn:
                found = [
                    await vaults.get(conn, owner)
                    for owner in distinct[first : first + VAULTS_PER_CALL]
                ]
            for chain in await self._fetch([row for row in found if row is not None]):
                if self._differences(chain, await self._books(chain.row.owner)):
                    self._pending[chain.row.owner] = chain
                else:
                    self._equal(chain.row.owner)

    async def judge(self) -> None:
        """Settle what waits and whose slot the indexer has passed."""
        indexed = self._progress.slot
        if indexed is None:
            return
        due = {owner: chain for owner, chain in self._pending.items() if chain.slot <= indexed}
        moved = []
        for owner, chain in due.items():
            books = await self._books(owner)
            found = self._differences(chain, books)
            if not found:
                self._equal(owner)
            elif books.row is not None and books.row.slot > chain.slot:
                moved.append(owner)  # it has moved since: this reading says nothing any more
            else:
                await self._settle(chain, books, found)
                del self._pending[owner]
        await self.check(moved)

    async def _moved(self, *, until: float) -> list[str]:
        """The owners of the next batches, waiting for the first one until then."""
        with trio.move_on_at(until):
            return await self._reconciliations.receive()
        return []

    async def _fetch(self, rows: Sequence[VaultRow]) -> list[OnChain]:
        if not rows:
            return []
        mint = self._programs.mint
        addresses = [Pubkey.from_string(row.vault) for row in rows]
        tokens = [Pubkey.from_string(row.token_account) for row in rows]
        found = await self._rpc.get_accounts([*addresses, *tokens], commitment=Commitment.CONFIRMED)
        read = []
        halves = found.accounts[: len(rows)], found.accounts[len(rows) :]
        for row, address, account, token in zip(rows, addresses, *halves, strict=True):
            vault = read_vault(account, self._programs)
            expected = row_now(address, vault, found.slot, mint=str(mint), before=row)
            assert expected is not None  # there is a row, so there will be one
            read.append(OnChain(expected, vault, read_token_account(token), found.slot))
        return read

    async def _books(self, owner: str) -> InBooks:
        async with self._database.transaction(isolation=IsolationLevel.REPEATABLE_READ) as conn:
            return await _books(conn, owner)

    def _differences(self, chain: OnChain, books: InBooks) -> list[Difference]:
        return differences(chain, books, threshold=self._threshold)

    def _equal(self, owner: str) -> None:
        self._pending.pop(owner, None)
        self._metrics.reconciliation_checks.labels(outcome="equal").inc()

    async def _settle(self, chain: OnChain, books: InBooks, found: Sequence[Difference]) -> None:
        """Log the differences and write the row anew from the account, both or neither."""
        owner = chain.row.owner
        new = [each for each in found if each.healable or (owner, each) not in self._told]
        healable = any(each.healable for each in found)
        async with self._database.transaction() as conn:
            healed = healable and bool(await vault_books.bring_forward(conn, [chain.row]))
            for each in new:
                await reconciliation.log(conn, each.entry(chain, books, healed=healed))
            if healed:
                await outbox.append(conn, [balance_message(chain.row, signature=None)])
        self._told |= {(owner, each) for each in new}
        self._metrics.reconciliation_checks.labels(outcome="difference").inc()
        self._outbox_wake.wake()
        for each in new:
            log.error(
                "books_differ_from_chain",
                owner=owner,
                field=each.field,
                expected=each.expected,
                actual=each.actual,
                slot=chain.slot,
                healed=healed and each.healable,
                cause=each.cause,
            )


async def _books(conn: Connection, owner: str) -> InBooks:
    return InBooks(await vaults.get(conn, owner), *await sums.expected(conn, owner))
