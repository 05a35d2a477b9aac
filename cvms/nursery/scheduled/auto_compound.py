"""Automatic compounding of yield, where the owner's policy allows it and it is worth the fee.

There is one transaction for each vault, and one in flight at a time. The owner's policy is checked
again in the database transaction that records the submission: once it is off, nothing more is sent.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from operator import attrgetter

import structlog
import trio
from solders.pubkey import Pubkey

from cvms.chain.program.addresses import vault_address
from cvms.chain.rpc.rpc_client import RpcClient
from cvms.chain.transactions.scheduled_builders import prepare_compound
from cvms.chain.types import Programs
from cvms.chain.yields.positions import PoolPosition, read_positions_of
from cvms.errors import ProgramRefused, SignerUnavailable
from cvms.nursery.channels.status_board import StatusBoard
from cvms.nursery.submission.operator_submissions import OperatorSubmitter, is_program_refusal
from cvms.store.postgres.database import Database
from cvms.store.submissions import operator_submissions
from cvms.store.vaults import yield_policies
from cvms.store.vaults.yield_policies import YieldPolicy

log = structlog.get_logger(__name__)

ACTION = "compound_yield"
"""Same as the route's, so that an owner's own request in flight prevents another one here."""
ACTOR = "yields"
PAGE_SIZE = 25
"""Vaults whose positions are read at a time: one RPC request, or a few with several pools."""
MAX_PENDING = 32
"""Compounds in flight at a time. The limit leaves room for owners' own transactions."""
BUSY_POLL_SECONDS = 1.0
"""While a pass waits because MAX_PENDING compounds are in flight."""


@dataclass(slots=True, kw_only=True, eq=False)
class AutoCompounder:
    """Passes over all enabled policies every `interval` seconds."""

    database: Database
    rpc: RpcClient
    programs: Programs
    operator: OperatorSubmitter
    pools: Sequence[Pubkey]
    min_amount: int
    interval: float
    board: StatusBoard
    _after: str = field(default="", init=False)

    async def run(self) -> None:
        """Run once every `interval` seconds until cancelled."""
        while True:
            complete = await self.run_once()
            self.board.task_succeeded("compounding")
            await trio.sleep(self.interval if complete else BUSY_POLL_SECONDS)

    async def run_once(self) -> bool:
        """Continue the pass. Return False if it must wait: too much is in flight, or no signer."""
        while self.pools and (page := await self._page()):
            async with self.database.connection() as conn:
                if await operator_submissions.count_pending(conn, ACTION) >= MAX_PENDING:
                    return False
            try:
                await self._compound(page)
            except SignerUnavailable as error:
                log.warning("compounds_postponed", reason=error.reason)
                return False
            self._after = page[-1].owner
        self._after = ""
        return True

    async def _page(self) -> list[YieldPolicy]:
        async with self.database.connection() as conn:
            return await yield_policies.to_compound(
                conn,
                yield_program=str(self.programs.yield_pool),
                delegates=[str(each) for each in self.operator.key.signers.addresses],
                after=self._after,
                limit=PAGE_SIZE,
            )

    async def _compound(self, page: Sequence[YieldPolicy]) -> None:
        owners = [Pubkey.from_string(policy.owner) for policy in page]
        vaults = [vault_address(self.programs, owner) for owner in owners]
        async with self.database.connection() as conn:
            delegates = {
                owner: [Pubkey.from_string(each) for each in names]
                for owner, names in (await yield_policies.delegates(conn, map(str, owners))).items()
            }
        positions = await read_positions_of(
            self.rpc, self.programs, pools=self.pools, owners=vaults
        )
        for policy, owner, vault in zip(page, owners, vaults, strict=True):
            best = max(positions[vault], key=attrgetter("claimable"), default=None)
            if best is not None and best.claimable >= max(policy.min_amount, self.min_amount):
                delegate = self.operator.key.own_payer(delegates[policy.owner])
                if delegate is not None:
                    await self._submit(owner, best, delegate)

    async def _submit(self, owner: Pubkey, position: PoolPosition, delegate: Pubkey) -> None:
        amount, program = position.claimable, str(self.programs.yield_pool)
        prepared = await prepare_compound(
            self.rpc,
            self.programs,
            owner=owner,
            pool=position.pool,
            amount=amount,
            delegate=delegate,
        )
        try:
            built = await self.operator.simulate(prepared)
        except ProgramRefused as refused:
            if not is_program_refusal(refused):
                raise
            log.warning("compound_refused", owner=str(owner), reason=str(refused))
            return
        signed = await self.operator.sign(built)
        async with self.database.transaction() as conn:
            if not await yield_policies.allows(
                conn, owner=str(owner), yield_program=program, amount=amount
            ):
                return
            await self.operator.record(
                conn,
                built,
                signed,
                kind=ACTION,
                actor=ACTOR,
                owners=[str(owner)],
                amount=amount,
                details={"yield_program": program, "pool": str(position.pool)},
            )
        self.operator.submit_wake.wake()
