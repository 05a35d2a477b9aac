"""What the tests do on the chain, and how the books are held against it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, replace
from typing import Any

import trio
from solders.instruction import Instruction
from solders.keypair import Keypair
from solders.message import MessageV0
from solders.pubkey import Pubkey
from solders.transaction import VersionedTransaction

from cvms import localnet
from cvms.chain.program import instructions
from cvms.chain.program.accounts import VAULT_DISCRIMINATOR, decode_vault
from cvms.chain.program.addresses import position_summary_address, token_account, vault_address
from cvms.chain.rpc.rpc_client import RpcClient
from cvms.chain.types import Commitment, Programs
from cvms.localnet.ledger.chain import LocalnetChain
from cvms.metrics import Metrics
from cvms.nursery.channels.indexer_progress import IndexerProgress
from cvms.nursery.channels.reconcile_requests import ReconcileQueue
from cvms.nursery.channels.status_board import StatusBoard
from cvms.nursery.indexing.block_reader import DENSE
from cvms.nursery.indexing.finalizer import Finalizer
from cvms.nursery.indexing.indexer import Indexer
from cvms.nursery.ledger.vault_rows import vault_row
from cvms.nursery.reconciliation.comparison import ExpectedState, differences
from cvms.nursery.reconciliation.reconciler import Reconciler
from cvms.nursery.submission.submitter import Submitter
from cvms.nursery.wiring.leader_tasks import (
    build_finalizer,
    build_indexer,
    build_reconciler,
    build_submitter,
)
from cvms.nursery.wiring.resources import Resources
from cvms.store.analytics import event_counters
from cvms.store.index import cursor
from cvms.store.messaging import outbox
from cvms.store.messaging.outbox import OutboxRow
from cvms.store.postgres.database import Database
from cvms.store.reconciliation import reconciliation_log, vault_ledger
from cvms.store.vaults import history
from tests.harness.resources import keypair_of

SOL = 1_000_000_000


@dataclass
class World:
    """The chain of one test, and the resources that its tasks share.

    `dense`: from how many transactions in a slot on the indexer reads its block.
    """

    chain: localnet.Running
    resources: Resources
    dense: int = DENSE

    def with_resources(self, **changes: Any) -> World:
        """Return the same chain with other resources, in which nobody waits for vaults yet."""
        changes = {"reconcile_queue": ReconcileQueue()} | changes
        return World(self.chain, replace(self.resources, **changes), self.dense)

    @property
    def rpc(self) -> RpcClient:
        return self.resources.rpc

    @property
    def programs(self) -> Programs:
        return self.resources.programs

    @property
    def operator(self) -> Keypair:
        return keypair_of(self.resources.config)

    @property
    def database(self) -> Database:
        return self.resources.database

    @property
    def board(self) -> StatusBoard:
        return self.resources.board

    @property
    def metrics(self) -> Metrics:
        return self.resources.metrics

    @property
    def progress(self) -> IndexerProgress:
        return self.resources.progress

    # --- tasks ---------------------------------------------------------------------------------

    def indexer(
        self,
        *,
        rpc: RpcClient | None = None,
        batch_size: int = 100,
    ) -> Indexer:
        indexer = replace(build_indexer(self._with_rpc(rpc)), batch_size=batch_size)
        indexer.blocks.dense = self.dense
        return indexer

    def finalizer(self, *, rpc: RpcClient | None = None) -> Finalizer:
        return build_finalizer(self._with_rpc(rpc), self.indexer(rpc=rpc))

    def reconciler(self, *, rpc: RpcClient | None = None, threshold: int = 0) -> Reconciler:
        return replace(build_reconciler(self._with_rpc(rpc)), threshold=threshold)

    def submitter(self, *, rpc: RpcClient | None = None, resend_seconds: float = 0.0) -> Submitter:
        return replace(build_submitter(self._with_rpc(rpc)), resend_seconds=resend_seconds)

    def _with_rpc(self, rpc: RpcClient | None) -> Resources:
        return self.resources if rpc is None else replace(self.resources, rpc=rpc)

    # --- the chain -----------------------------------------------------------------------------

    async def wallet(self, tokens: int = 0) -> Keypair:
        """A new key with SOL and so many token units."""
        key = Keypair()
        await self.confirm(await self.rpc.call("requestAirdrop", [str(key.pubkey()), 10 * SOL]))
        amount = {"amount": tokens}
        params = [str(key.pubkey()), str(self.programs.mint), amount]
        await self.rpc.call("surfnet_setTokenAccount", params)
        return key

    async def owner(self, tokens: int = 1_000_000) -> Keypair:
        """A wallet with tokens and an empty vault."""
        key = await self.wallet(tokens)
        await self.act(key, instructions.initialize_vault(self.programs, key.pubkey()))
        return key

    def deposit(self, owner: Keypair, amount: int) -> Instruction:
        return instructions.deposit(
            self.programs, authority=owner.pubkey(), owner=owner.pubkey(), amount=amount
        )

    def withdraw(self, owner: Keypair, amount: int) -> Instruction:
        vault = vault_address(self.programs, owner.pubkey())
        return instructions.withdraw(
            self.programs,
            authority=owner.pubkey(),
            owner=owner.pubkey(),
            recipient_token_account=token_account(owner.pubkey(), self.programs.mint),
            position_summaries=[position_summary_address(self.programs.position_manager, vault)],
            amount=amount,
        )

    def agree(self, owner: Keypair) -> Instruction:
        """The owner agrees to transfers of any amount to other vaults."""
        return instructions.set_transfer_allowance(
            self.programs, owner=owner.pubkey(), amount=2**64 - 1
        )

    async def signed(self, signer: Keypair, *steps: Instruction) -> VersionedTransaction:
        latest = await self.rpc.get_latest_blockhash()
        message = MessageV0.try_compile(signer.pubkey(), list(steps), [], latest.blockhash)
        return VersionedTransaction(message, [signer])

    async def act(self, signer: Keypair, *steps: Instruction, wait: bool = True) -> str:
        """Send these instructions; the signature, once it is confirmed (failed or not)."""
        wire = bytes(await self.signed(signer, *steps))
        signature = await self.rpc.send_transaction(wire)
        if wait:
            await self.confirm(signature)
        return signature

    async def confirm(self, signature: str) -> None:
        async def landed() -> bool:
            [status] = await self.rpc.get_signature_statuses([signature])
            return status is not None and status.commitment is not Commitment.PROCESSED

        await until(landed)

    # --- the books -----------------------------------------------------------------------------

    async def outbox(self, topic: str | None = None) -> list[OutboxRow]:
        async with self.database.connection() as conn:
            rows = await outbox.after(conn, 0)
        return [row for row in rows if topic in (None, row.topic)]

    async def history(self, owner: Keypair) -> list[tuple[str, int, int | None]]:
        """Kind, amount and balance after, oldest first."""
        async with self.database.connection() as conn:
            rows = await history.page(conn, str(owner.pubkey()), limit=100)
        return [(row.kind, row.amount, row.balance_after) for row in reversed(rows)]

    async def on_chain(self) -> list[ExpectedState]:
        slot, accounts = await self.rpc.get_program_accounts(
            self.programs.vault, data_begins=VAULT_DISCRIMINATOR, commitment=Commitment.CONFIRMED
        )
        read = [(address, decode_vault(account.data)) for address, account in accounts]
        return [ExpectedState(vault_row(at, vault, slot), vault, None, slot) for at, vault in read]

    async def problems(self) -> list[str]:
        """Everything in which the books are not the chain, to the unit and to the event."""
        found: list[str] = []
        chain = await self.on_chain()
        deposits = sum(each.vault.total_deposited for each in chain if each.vault)
        withdrawals = sum(each.vault.total_withdrawn for each in chain if each.vault)
        async with self.database.connection() as conn:
            for each in chain:
                owner = each.row.owner
                held = (await vault_ledger.read(conn, [owner]))[owner]
                found += [
                    f"{owner}: {each}"
                    for each in differences(each, held)
                    if each.field != "token_account"
                ]
            counted = await event_counters.read(conn)
            rows = await outbox.after(conn, 0)
        for kind, amount in (("deposit", deposits), ("withdraw", withdrawals)):
            told = [row for row in rows if row.topic == f"{kind}_event"]
            signs = [1 if row.type == "event" else -1 for row in told]
            if counted.get(kind, (0, 0)) != (sum(signs), amount):
                found.append(f"totals of {kind}: {counted.get(kind)}, told {sum(signs)}, {amount}")
            if sum(s * row.data["amount"] for s, row in zip(signs, told, strict=True)) != amount:
                found.append(f"{kind} events do not add up to {amount}")
        if [row.position for row in rows] != list(range(1, len(rows) + 1)):
            found.append("the outbox has gaps")
        return found

    async def recorded_differences(self) -> int:
        """How many lines the reconciler has written."""
        async with self.database.connection() as conn:
            return len(await reconciliation_log.recent(conn, 100))

    async def cursor(self) -> cursor.Cursor | None:
        async with self.database.connection() as conn:
            return await cursor.get(conn, str(self.programs.vault))

    async def execute(self, query: str, *params: Any) -> None:
        """What only a test or a vandal does."""
        async with self.database.transaction() as conn:
            await conn.execute("SET LOCAL cvms.vandal = 'on'")  # see `require_messages`
            await conn.execute(query.encode(), params)


async def until(condition: Callable[[], Any], seconds: float = 10.0) -> None:
    """Return once the (asynchronous) condition holds. The chain has no other way to be asked."""
    with trio.fail_after(seconds):
        while not await condition():  # noqa: ASYNC110
            await trio.sleep(0.005)


@asynccontextmanager
async def running(*tasks: Callable[[], Any]) -> AsyncIterator[None]:
    """Tasks run for the block."""
    async with trio.open_nursery() as nursery:
        for task in tasks:
            nursery.start_soon(task)
        yield
        nursery.cancel_scope.cancel()


def address(key: Keypair) -> str:
    return str(key.pubkey())


def pubkey(text: str) -> Pubkey:
    return Pubkey.from_string(text)


async def full_pass_resolved(world: World, reconciler: Reconciler) -> None:
    """Make a full pass, and resolve it once its slot is indexed and finalized.

    The clock is held meanwhile: what the chain finalizes after the indexer has looked would have to
    wait for another attempt.
    """
    with held_clock(world.chain.chain):
        await world.indexer().catch_up()
        await reconciler.full_pass()
        finalize(world)
        await world.indexer().catch_up()
        await reconciler.resolve_pending()


def finalize(world: World) -> None:
    """Finalize everything, however many slots that takes."""
    world.chain.chain.advance(world.chain.chain.timing.finalized_lag + 2)


@contextmanager
def held_clock(chain: LocalnetChain) -> Iterator[None]:
    """No slot starts by itself within the block."""
    was_paused = chain.time.paused
    chain.pause()
    yield
    if not was_paused:
        chain.resume()


async def assert_books_match(world: World) -> None:
    """Apply everything, and see the reconciler find no difference in any vault."""
    await world.indexer().catch_up()
    reconciler = world.reconciler()
    await full_pass_resolved(world, reconciler)
    async with world.database.connection() as conn:
        found = await reconciliation_log.recent(conn)
    assert [(each.owner, each.field, each.expected, each.actual) for each in found] == []
    assert not reconciler._pending
