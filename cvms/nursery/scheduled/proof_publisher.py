"""Publisher of proofs of reserves: an entry of the log for each hour, and on demand.

The liabilities are the books at the last final slot. The reserves are read from the chain after it.
Every vault's account must agree with the books, or the difference must be what was indexed since:
otherwise there is no entry.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import msgspec
import structlog
import trio
import trio.lowlevel
from solders.pubkey import Pubkey

from cvms.chain.rpc.error_codes import NOT_KEPT
from cvms.chain.rpc.rpc_client import RpcClient
from cvms.chain.transactions.scheduled_builders import prepare_memo
from cvms.chain.types import Programs
from cvms.errors import (
    ChainUnavailable,
    CvmsError,
    DatabaseUnavailable,
    ProgramRefused,
    RpcError,
    SignerUnavailable,
)
from cvms.nursery.scheduled.reserve_file import ReserveFile
from cvms.nursery.scheduled.reserve_reader import ReserveReader
from cvms.nursery.submission.operator_submissions import OperatorSubmitter
from cvms.proofs import sum_tree
from cvms.proofs.log_entry import (
    NO_ENTRY,
    VERSION,
    AuditHead,
    Liabilities,
    LogEntry,
    SignedEntry,
    signed_bytes,
    verify_step,
)
from cvms.proofs.stored_proofs import KEY_BYTES, leaf_of, signed_entry
from cvms.proofs.sum_tree import CHUNK_LEAVES, TreeTop
from cvms.signing.audit_signer import AuditSigners
from cvms.store.index import chain_genesis
from cvms.store.postgres.database import Database
from cvms.store.proofs import entries, leaves, reserves
from cvms.store.proofs.entries import EntryRow, EntryTree
from cvms.store.security import audit_heads
from cvms.store.vaults import statements

log = structlog.get_logger(__name__)

CHECK_SECONDS = 5.0
"""Between looks at whether an entry is due."""
KEYS_SECONDS = 600.0
"""For all vaults to get a key, the first time."""
PAGE_ROWS = 16 * CHUNK_LEAVES
MEMO, ACTOR = "proof_memo", "proofs"
FILES_KEPT = 48
"""Files of reserves of the newest entries: two days of hourly ones."""
SKIPPED_SLOTS = 100
"""How far before the last final slot its block may be."""


@dataclass(slots=True, kw_only=True, eq=False)
class ProofPublisher:
    """Makes entries. Only the leader runs one; of two, the slower one's entry is dropped."""

    database: Database
    rpc: RpcClient
    programs: Programs
    pools: Sequence[Pubkey]
    signers: AuditSigners
    interval: timedelta
    operator: OperatorSubmitter | None = None
    """Writes the hashes to the chain; None if they are not to be."""

    async def run_once(self) -> SignedEntry | None:
        """Make an entry if one is due. Return None if none is, or nothing is final yet.

        Raises ProofInvalid if the chain contradicts the books, ChainUnavailable,
        DatabaseUnavailable and SignerUnavailable.
        """
        async with self.database.connection() as conn:
            last = await entries.newest(conn)
            due = last is None or await entries.is_requested(conn)
            frontier = await statements.final_frontier(conn, str(self.programs.vault))
        if not due and last is not None:
            due = datetime.now(UTC) - signed_entry(last).read().made_at >= self.interval
        if not due or frontier.slot <= (last.slot if last else 0):
            return None
        file = uuid4()
        try:
            return await self._publish(last, frontier.slot, file)
        except DatabaseUnavailable:
            raise
        except CvmsError:
            async with self.database.connection() as conn:
                await reserves.drop(conn, file)  # the next attempt writes another one
            raise

    async def _publish(self, last: EntryRow | None, newest: int, file: UUID) -> SignedEntry | None:
        block = await self._block(newest, after=last.slot if last else 0)
        if block is None:
            return None
        slot, blockhash = block
        number = last.number + 1 if last else 1
        async with self.database.dedicated(query_timeout=KEYS_SECONDS) as conn:
            await leaves.give_keys(conn)
        async with self.database.connection() as conn:
            audit = await audit_heads.current(conn)
            genesis = await chain_genesis.read(conn)
        if genesis is None:
            return None
        tree = await self._tree(slot, number)
        totals = await self._file(slot).write(file)
        entry = LogEntry(
            version=VERSION,
            number=number,
            previous=signed_entry(last).hash if last else NO_ENTRY,
            time=datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
            genesis=genesis,
            program=str(self.programs.vault),
            mint=str(self.programs.mint),
            slot=slot,
            blockhash=blockhash,
            liabilities=_liabilities(tree.top),
            reserves=totals.reserves(),
            audit=AuditHead(id=audit.id, hash=audit.hash.hex()),
        )
        totals.verify(entry)
        if last:
            verify_step(signed_entry(last), entry)
        return await self._append(entry, tree, file)

    def _file(self, slot: int) -> ReserveFile:
        reader = ReserveReader(rpc=self.rpc, programs=self.programs, pools=self.pools, slot=slot)
        return ReserveFile(database=self.database, programs=self.programs, reader=reader)

    async def _block(self, newest: int, *, after: int) -> tuple[int, str] | None:
        """Return the last block up to a slot, with its hash; None if it is not after `after`."""
        options = {"transactionDetails": "none", "rewards": False, "commitment": "finalized"}
        for slot in range(newest, max(after, newest - SKIPPED_SLOTS), -1):
            try:
                block = await self.rpc.call("getBlock", [slot, options], parse=_parse_block)
            except RpcError as error:
                if error.code not in NOT_KEPT:
                    raise
                continue
            if block is not None:
                return slot, block.blockhash
        return None

    async def _tree(self, slot: int, number: int) -> _Tree:
        """Build the tree of all vaults, a page of them at a time."""
        roots, first_keys, count, after = list[sum_tree.Node](), bytearray(), 0, b""
        while True:
            async with self.database.connection() as conn:
                page = await leaves.by_key(conn, slot, after=after, limit=PAGE_ROWS)
            for start in range(0, len(page), CHUNK_LEAVES):
                chunk = page[start : start + CHUNK_LEAVES]
                first_keys += chunk[0].key[:KEY_BYTES]
                roots.append(sum_tree.root([leaf_of(each, number) for each in chunk]))
                await trio.lowlevel.checkpoint()  # a chunk takes a millisecond
            count += len(page)
            if len(page) < PAGE_ROWS:
                return _Tree(sum_tree.top(count, roots), bytes(first_keys))
            after = page[-1].key

    async def _append(self, entry: LogEntry, tree: _Tree, file: UUID) -> SignedEntry | None:
        text = entry.text
        signed = await self.signers.sign_text(signed_bytes(text))
        row = EntryRow(
            number=entry.number,
            slot=entry.slot,
            text=text,
            key=signed.key,
            signature=signed.signature,
            file=file,
        )
        top = tree.top
        upper = EntryTree(vaults=top.count, first_keys=tree.first_keys, nodes=top.nodes)
        async with self.database.transaction() as conn:
            if not await entries.add(conn, row, upper):
                return None  # another leader was faster
            await entries.fulfil(conn)
            await reserves.prune(conn, kept=FILES_KEPT)
        published = signed_entry(row)
        owed = entry.liabilities
        log.info(
            "proof_published",
            number=entry.number,
            slot=entry.slot,
            hash=published.hash,
            vaults=owed.vaults,
            total=owed.total,
        )
        if self.operator is not None:
            await self._write_memo(self.operator, entry.number, published.hash)
        return published

    async def _write_memo(self, operator: OperatorSubmitter, number: int, digest: str) -> None:
        """Submit the entry's hash as a memo. The entry stands without it."""
        try:
            payer = operator.key.own_payer()
            if payer is None:
                raise SignerUnavailable("no signer of the operator is available")
            memo = await prepare_memo(self.rpc, f"cvms proof {number} {digest}", payer=payer)
            built = await operator.simulate(memo)
            signed = await operator.sign(built)
        except (ChainUnavailable, ProgramRefused, RpcError, SignerUnavailable) as error:
            log.warning("proof_without_memo", number=number, reason=str(error))
            return
        async with self.database.transaction() as conn:
            recorded = await operator.record(
                conn, built, signed, kind=MEMO, actor=ACTOR, owners=[str(payer)]
            )
            if recorded:
                await entries.set_memo(conn, number, signed.signature)
        if recorded:
            operator.submit_wake.wake()
        else:
            log.warning("proof_without_memo", number=number, reason="the last one may still land")


@dataclass(frozen=True, slots=True)
class _Tree:
    top: TreeTop
    first_keys: bytes


class _Block(msgspec.Struct):
    blockhash: str


def _parse_block(answer: Any) -> _Block | None:
    return msgspec.convert(answer, _Block | None)


def _liabilities(top: TreeTop) -> Liabilities:
    root = top.root
    total, available, locked, timelocked, lent = map(str, sum_tree.sums_of(root))
    return Liabilities(
        root=root[:32].hex(),
        vaults=top.count,
        total=total,
        available=available,
        locked=locked,
        timelocked=timelocked,
        yield_deposited=lent,
    )
