"""Second reading of each vault's account, once the slot of its row is finalized.

A row may have been read in a block that a fork dropped before any event of it was applied. Then no
rollback touches the row, and only the account itself shows the difference. A row that equals its
account at finality is correct, whatever the events say.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from solders.pubkey import Pubkey

from cvms.chain.rpc.call_params import ACCOUNTS_PER_CALL
from cvms.chain.rpc.rpc_client import RpcClient
from cvms.chain.types import Programs, Slot
from cvms.nursery.channels.wakeups import OutboxWakeup
from cvms.nursery.ledger.outbox_messages import vault_messages
from cvms.nursery.ledger.vault_fetch import FetchedVault, fetch_vaults
from cvms.nursery.ledger.vault_rows import same_account, vault_row_at
from cvms.store.index import cursor as cursors
from cvms.store.messaging import outbox
from cvms.store.postgres.database import Database
from cvms.store.projection import vault_writer
from cvms.store.vaults import balance_history
from cvms.store.vaults.vaults import VaultRow


@dataclass(slots=True, kw_only=True, eq=False)
class FinalizedRecheck:
    """Replaces the rows that were read in dropped blocks."""

    database: Database
    rpc: RpcClient
    programs: Programs
    outbox_wake: OutboxWakeup

    async def run(self, final: Slot) -> None:
        """Recheck every row of a slot up to `final` that was not rechecked since it was read."""
        while True:
            async with self.database.connection() as conn:
                indexed = (await cursors.frontier(conn, str(self.programs.vault))).slot
                slot = min(final, -1 if indexed is None else indexed)
                rows = await vault_writer.not_rechecked(
                    conn, up_to_slot=slot, limit=ACCOUNTS_PER_CALL
                )
            if not rows:
                return
            touched = {Pubkey.from_string(row.vault): "" for row in rows}
            fetched = await fetch_vaults(self.rpc, self.programs, touched, at_least=final)
            await self._compare(rows, {str(each.address): each for each in fetched})

    async def _compare(
        self, rows: Sequence[VaultRow], accounts: Mapping[str, FetchedVault]
    ) -> None:
        async with self.database.transaction() as conn:
            await cursors.lock(conn)
            unmoved = await vault_writer.mark_rechecked(conn, rows)
            changed = [
                (before, now)
                for before in unmoved
                if (now := self._changed_row(before, accounts.get(before.vault))) is not None
            ]
            changed_owners = {before.owner for before, _ in changed}
            await balance_history.observe(
                conn, [row for row in unmoved if row.owner not in changed_owners]
            )
            if changed:  # read in dropped blocks, or changed since
                await vault_writer.overwrite(conn, [now for _, now in changed])
                await outbox.append(conn, vault_messages(changed))
        if changed:
            self.outbox_wake.wake()

    def _changed_row(self, before: VaultRow, account: FetchedVault | None) -> VaultRow | None:
        """Return the row of the account, or None if it equals `before`."""
        if account is None:
            return None
        mint = str(self.programs.mint)
        now = vault_row_at(account.address, account.vault, account.slot, mint=mint, before=before)
        return None if now is None or same_account(now, before) else now
