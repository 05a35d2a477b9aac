"""Proof that a rebuilt index is complete: it adds up to the accounts, vault by vault.

A node shows what it retains, and nothing says what it does not: one with a pruned ledger, or a hole
in it, gives right parts of a history. So rebuilt tables replace live ones only if they add up.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Iterable, Sequence
from contextlib import aclosing
from dataclasses import dataclass

from solders.pubkey import Pubkey

from cvms.chain.rpc.evidence.absence_proof import lacks_transaction
from cvms.chain.rpc.evidence.chain_tips import first_block, read_tips
from cvms.chain.rpc.rpc_client import RpcClient
from cvms.chain.types import Commitment, Programs, Slot
from cvms.nursery.reconciliation.chain_history import MAX_ABSENCE_PROOFS
from cvms.nursery.reconciliation.comparison import differences
from cvms.nursery.reconciliation.vault_readings import (
    VAULTS_PER_CALL,
    expected_states,
    read_vaults,
)
from cvms.store.index.cursor import Cursor
from cvms.store.postgres.database import Database
from cvms.store.projection.rebuild_owners import EventNotBuilt, Group, RebuildOwners
from cvms.store.reconciliation import vault_ledger
from cvms.store.vaults import vaults

MAX_EVENTS = 1_000
"""Live events that were not rebuilt and that nodes are asked about."""


@dataclass(frozen=True, slots=True)
class IncompleteVault:
    """A vault whose rebuilt history does not add up to its account, and how."""

    owner: str
    problem: str


@dataclass(frozen=True, slots=True)
class Completeness:
    """The vaults that do not add up, by owner. `ledger_begins` is None if no node says it."""

    vaults: list[IncompleteVault]
    ledger_begins: int | None

    @property
    def summary(self) -> str:
        """One clause: how many vaults do not add up, and where the node's ledger begins."""
        begins = "an unknown slot" if self.ledger_begins is None else f"slot {self.ledger_begins}"
        count = len(self.vaults)
        vaults = "1 vault does" if count == 1 else f"{count} vaults do"
        return f"{vaults} not add up to their accounts; the node's ledger begins at {begins}"


@dataclass(slots=True, kw_only=True, eq=False)
class CompletenessCheck:
    """Compares rebuilt tables with the accounts, and with what the live tables know."""

    scratch: Database
    rpc: RpcClient
    programs: Programs

    async def check(self, owners: RebuildOwners, cursor: Cursor) -> Completeness:
        """Check all vaults at the cursor.

        The accounts of those that changed after it prove nothing. Of these, as of all others, each
        live event has to be there again.
        """
        tips, begins = await read_tips(self.rpc), await first_block(self.rpc)
        await owners.collect(tips.finalized.slot)
        problems: dict[str, str] = {}
        async with aclosing(_pages(owners, "settled")) as pages:
            async for page in pages:
                at_least = tips.finalized.slot
                problems |= await self._differing_page(page, Commitment.FINALIZED, at_least)
        # Finalized accounts do not have the latest changes yet. Confirmed ones prove these.
        async with aclosing(_pages(owners, "latest")) as pages:
            async for page in pages:
                at_least = Slot(cursor.slot)
                problems |= await self._differing_page(page, Commitment.CONFIRMED, at_least)
        for owner in await moved_owners(self.scratch, self.rpc, sorted(problems), cursor):
            del problems[owner]
        async with aclosing(_pages(owners, "not built")) as pages:
            async for page in pages:
                problems |= dict.fromkeys(page, "the rebuilt index does not know it")
        lost = await self._lost(owners, cursor, final=tips.finalized.slot, begins=begins)
        for owner, problem in lost.items():
            problems.setdefault(owner, problem)
        found = [IncompleteVault(owner, problems[owner]) for owner in sorted(problems)]
        return Completeness(found, begins)

    async def _differing_page(
        self, page: Sequence[str], commitment: Commitment, at_least: Slot
    ) -> dict[str, str]:
        """Return what differs between accounts and rebuilt history, by owner."""
        readings = await read_vaults(
            self.rpc, self.programs, page, commitment=commitment, at_least=at_least
        )
        async with self.scratch.transaction() as conn:
            ledgers = await vault_ledger.read(conn, page)
        differing: dict[str, str] = {}
        for chain in expected_states(readings, ledgers, mint=self.programs.mint):
            # The rows were read from accounts, so only the history can be incomplete.
            found = [
                f"{each.field} is {each.actual}, and {each.expected} by its account"
                for each in differences(chain, ledgers[chain.row.owner])
                if each.field == "row" or each.field.startswith("history_")
            ]
            if found:
                differing[chain.row.owner] = f"{', '.join(found)} in slot {chain.slot}"
        return differing

    async def _lost(
        self, owners: RebuildOwners, cursor: Cursor, *, final: Slot, begins: Slot | None
    ) -> dict[str, str]:
        """Return the owners of live events that were not rebuilt and may be on the chain.

        These may cancel out in the sums, above all in those of a vault that was closed since.
        """
        lost: dict[str, str] = {}
        events = await owners.not_built(cursor.slot, limit=MAX_EVENTS)
        asked = [each for each in events if begins is None or each.slot >= begins]
        for each in events:
            if each not in asked:
                lost[each.owner] = f"{each.signature} of slot {each.slot} is before the ledger"
        known = await self.rpc.statuses_everywhere(
            [each.signature for each in asked], min_context_slot=Slot(cursor.slot)
        )
        proofs = 0
        for each, status in zip(asked, known.statuses, strict=True):
            if each.owner in lost:
                continue
            found = "on the chain"
            if status is None:
                # Without a proof it is taken for one that the node does not show.
                lacked, proofs = None, proofs + 1
                if proofs <= MAX_ABSENCE_PROOFS:
                    lacked = await self._lacks(each, final)
                if lacked:
                    continue
                found = "not proven absent" if lacked is None else found
            lost[each.owner] = f"{each.signature} of slot {each.slot} is {found}, not listed"
        return lost

    async def _lacks(self, event: EventNotBuilt, final: Slot) -> bool | None:
        commitment = Commitment.FINALIZED if event.slot <= final else Commitment.CONFIRMED
        slot = Slot(event.slot)
        return await lacks_transaction(self.rpc, event.signature, slot, commitment=commitment)


async def _pages(owners: RebuildOwners, group: Group) -> AsyncGenerator[list[str], None]:
    after = ""
    while page := await owners.page(group, after=after, limit=VAULTS_PER_CALL):
        yield page
        after = page[-1]


async def moved_owners(
    scratch: Database, rpc: RpcClient, owners: Iterable[str], cursor: Cursor
) -> list[str]:
    """Return the owners whose vaults have transactions after the cursor."""
    moved = []
    async with scratch.connection() as conn:
        for owner in owners:
            if (row := await vaults.get(conn, owner)) is None:
                continue
            newest = await rpc.get_signatures_for_address(
                Pubkey.from_string(row.vault), commitment=Commitment.CONFIRMED, limit=1
            )
            if newest and newest[0].slot > cursor.slot:
                moved.append(owner)
    return moved
