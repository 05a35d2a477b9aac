"""On-chain release of matured timelocks, several vaults in each transaction."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import structlog
import trio
from solders.pubkey import Pubkey

from cvms.chain.rpc.rpc_client import RpcClient
from cvms.chain.transactions.scheduled_builders import (
    VAULTS_PER_TRANSACTION,
    prepare_releases,
    with_matured,
)
from cvms.chain.types import Programs
from cvms.errors import ProgramRefused, SignerUnavailable
from cvms.nursery.submission.operator_submissions import OperatorSubmitter, is_program_refusal
from cvms.store.postgres.database import Database
from cvms.store.submissions import operator_submissions
from cvms.store.vaults import maturities

log = structlog.get_logger(__name__)

ACTION = "release_timelocks"
"""Same as the route's, so that a release in flight from either prevents another one."""
ACTOR = "timelocks"
MAX_PENDING = 32
"""Releases in flight at a time. The limit leaves room for owners' own transactions."""
BATCH_SIZE = 20 * VAULTS_PER_TRANSACTION
"""Vaults that one run considers."""
DEFERRAL_SECONDS = 60.0
"""Until a vault is tried again that could not be released, or whose row is out of date."""


@dataclass(slots=True, kw_only=True, eq=False)
class TimelockReleaser:
    """Releases matured timelocks, signed and paid by the operator."""

    database: Database
    rpc: RpcClient
    programs: Programs
    operator: OperatorSubmitter
    _deferred: dict[str, float] = field(default_factory=dict, init=False)

    async def run_once(self, now: int) -> bool:
        """Submit releases of what has matured at `now`, by the chain's clock.

        Return whether to run again soon, because some remain or too many are in flight.
        """
        clock = trio.current_time()
        self._deferred = {owner: until for owner, until in self._deferred.items() if until > clock}
        async with self.database.connection() as conn:
            room = MAX_PENDING - await operator_submissions.count_pending(conn, ACTION)
            if room <= 0:
                return True
            limit = min(room * VAULTS_PER_TRANSACTION, BATCH_SIZE)
            due = await maturities.to_release(
                conn, kind=ACTION, now=now, limit=limit, deferred=self._deferred
            )
        owners = await self._matured(due, now)
        for first in range(0, len(owners), VAULTS_PER_TRANSACTION):
            await self._release(owners[first : first + VAULTS_PER_TRANSACTION])
        async with self.database.connection() as conn:
            return await maturities.any_to_release(conn, now=now, deferred=self._deferred)

    async def _matured(self, due: Sequence[str], now: int) -> list[Pubkey]:
        """Return those that are matured on chain too: a row may lag behind a landed release."""
        if not due:
            return []
        keys = [Pubkey.from_string(owner) for owner in due]
        matured = await with_matured(self.rpc, self.programs, keys, now=now)
        for owner in set(due) - set(map(str, matured)):
            self._defer(owner)
        return matured

    async def _release(self, owners: Sequence[Pubkey]) -> None:
        """Submit one release of these vaults. If the program refuses it, submit each half alone."""
        payer = self.operator.key.own_payer()
        if payer is None:
            return  # no signer is available: they stay due
        prepared = await prepare_releases(self.rpc, self.programs, owners, payer=payer)
        try:
            built = await self.operator.simulate(prepared)
        except ProgramRefused as refused:
            if not is_program_refusal(refused):
                raise
            if len(owners) == 1:
                log.error("release_refused", owner=str(owners[0]), reason=str(refused))
                self._defer(str(owners[0]))
                return
            half = len(owners) // 2
            await self._release(owners[:half])
            await self._release(owners[half:])
            return
        try:
            signed = await self.operator.sign(built)
        except SignerUnavailable as error:
            log.warning("release_postponed", owners=len(owners), reason=error.reason)
            return
        async with self.database.transaction() as conn:
            names = list(map(str, owners))
            recorded = await self.operator.record(
                conn, built, signed, kind=ACTION, actor=ACTOR, owners=names
            )
        if recorded:
            self.operator.submit_wake.wake()
        else:
            for name in names:
                self._defer(name)

    def _defer(self, owner: str) -> None:
        self._deferred[owner] = trio.current_time() + DEFERRAL_SECONDS
