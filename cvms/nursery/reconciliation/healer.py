"""Healer of confirmed differences: repairs them where possible, logs them and alerts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from solders.pubkey import Pubkey

from cvms.errors import HistoryNotIndexed, HistoryNotProven
from cvms.metrics import Metrics
from cvms.nursery.channels.wakeups import OutboxWakeup
from cvms.nursery.ledger.outbox_messages import balance_message
from cvms.nursery.reconciliation.aggregate_check import report_difference
from cvms.nursery.reconciliation.comparison import ExpectedState, FieldDifference, differences
from cvms.nursery.reconciliation.vault_reindexer import Reindexer
from cvms.store.alerts import alerts, lifecycle
from cvms.store.alerts.lifecycle import AlertWebhook
from cvms.store.analytics import aggregate_check, aggregates
from cvms.store.index import cursor as cursors
from cvms.store.messaging import outbox
from cvms.store.postgres.database import Database
from cvms.store.postgres.driver.connection import Connection
from cvms.store.projection import vault_writer
from cvms.store.reconciliation import reconciliation_log, vault_ledger
from cvms.store.reconciliation.reconciliation_log import ReconciliationEntry
from cvms.store.reconciliation.vault_ledger import VaultLedger
from cvms.store.vaults import balance_history
from cvms.store.vaults.vaults import VaultRow


@dataclass(slots=True, kw_only=True, eq=False)
class Healer:
    """Logs differences and heals them: rows from accounts, history from transactions."""

    database: Database
    reindexer: Reindexer
    outbox_wake: OutboxWakeup
    threshold: int
    hook: AlertWebhook | None
    metrics: Metrics
    unhealed: dict[str, list[str]] = field(default_factory=dict, init=False)
    """The fields of vaults, by owner, that could not be put right."""

    def finding(self) -> str | None:
        """Return what could not be put right, for /ready; None if all is."""
        if not self.unhealed:
            return None
        fields = sorted({each for fields in self.unhealed.values() for each in fields})
        count = len(self.unhealed)
        return (
            f"{count} vaults differ from the chain and could not be corrected: {', '.join(fields)}"
        )

    async def end_alerts(self, owners: Sequence[str]) -> None:
        """End the alerts `books_differ` about these owners, whose books agree with the chain."""
        if not owners:
            return
        async with self.database.connection() as conn:
            ended = await alerts.unresolved_of(conn, "books_differ", owners)
        if ended:
            async with self.database.transaction() as conn:
                await alerts.lock(conn)
                await lifecycle.resolve(conn, ended, hook=self.hook)
            self.outbox_wake.wake()

    async def log_and_heal(self, chain: ExpectedState, found: Sequence[FieldDifference]) -> bool:
        """Log these differences from the finalized state `chain`, and heal what can be healed.

        Return False if they have to be compared again: the row is of a later slot by now, or the
        indexer is behind.
        """
        try:
            problem = await self._heal_history(chain, found)
        except HistoryNotIndexed:
            return False
        async with self.database.transaction() as conn:
            entries = await self._log_and_heal(conn, chain, found, problem)
        if entries is None:
            return False
        for entry in entries:
            report_difference(entry, self.metrics)
        self.metrics.reconciliation.checks.labels(outcome="difference").inc()
        self.outbox_wake.wake()
        return True

    async def reindex(self, owner: str, vault: str) -> str | None:
        """Correct a history, or return why that is impossible. Raises HistoryNotIndexed."""
        try:
            await self.reindexer.reindex(Pubkey.from_string(vault), owner)
        except HistoryNotIndexed:
            raise
        except HistoryNotProven as error:
            return str(error)
        self.outbox_wake.wake()
        return None

    async def _heal_history(
        self, chain: ExpectedState, found: Sequence[FieldDifference]
    ) -> str | None:
        fields = [each.field for each in found if each.heal == "history"]
        if any(field.startswith("history") for field in fields):
            return await self.reindex(chain.row.owner, chain.row.vault)
        if fields:
            await self.reindexer.rewrite_balances(chain.row.owner)
        return None

    async def _log_and_heal(
        self,
        conn: Connection,
        chain: ExpectedState,
        found: Sequence[FieldDifference],
        problem: str | None,
    ) -> list[ReconciliationEntry] | None:
        owner = chain.row.owner
        # A vault that has no row yet may only be stored under the cursor's lock.
        await cursors.lock(conn)
        before = (await vault_ledger.read(conn, [owner]))[owner]
        if before.row is not None and before.row.slot > chain.slot:
            return None
        await self._heal_row(conn, chain, found, before.row)
        now = (await vault_ledger.read(conn, [owner]))[owner]
        left = {each.field for each in differences(chain, now, threshold=self.threshold)}
        if left:
            self.unhealed[owner] = sorted(left)
        else:
            self.unhealed.pop(owner, None)
        entries = []
        for each in found:
            entry = each.entry(chain, before, healed=each.field not in left, problem=problem)
            if await reconciliation_log.log_once(conn, entry):
                entries.append(entry)
        return entries

    async def _heal_row(
        self,
        conn: Connection,
        chain: ExpectedState,
        found: Sequence[FieldDifference],
        before: VaultRow | None,
    ) -> None:
        if any(each.heal == "row" for each in found):
            moved = await vault_writer.advance(conn, [chain.row])
            if await self._others_in_doubt(conn, chain.row.owner):
                # Nor from rows that nobody has compared. A row altered by hand is in no sum, so
                # the sums stay; if they had it, the check after the pass counts them again.
                await aggregates.moved(conn, [(now, before) for before, now in moved])
            else:
                # The sums moved by the wrong row's amounts, which they may never have included.
                await aggregate_check.count_sizes(conn)
            await outbox.append(conn, [balance_message(chain.row, before=before)])
        if any(each.field.startswith("balance_history") for each in found):
            await balance_history.observe(conn, [chain.row])

    async def _others_in_doubt(self, conn: Connection, healed: str) -> bool:
        """Return whether the row of another vault differs from its history."""
        owners = await vault_ledger.owners_in_doubt(conn, 2, ahead=False)
        return any(owner != healed for owner in owners)


def row_matches_history(ledger: VaultLedger) -> bool:
    """Return whether row and history agree, as they do whenever neither is ahead."""
    row, sums = ledger.row, ledger.sums
    return row is not None and (row.total, row.total_deposited, row.total_withdrawn) == (
        sums.total,
        sums.deposited,
        sums.withdrawn,
    )
