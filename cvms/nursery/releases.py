"""Give matured timelocks back on chain: several vaults to a transaction, one at a time for each.

The claim is the submission itself: it is written down, with whose vaults it is about, only while no
other release of theirs may land. From there on the submitter has it, across crashes and replicas.
"""

from __future__ import annotations

import secrets
from collections.abc import Sequence

import structlog
import trio
from solders.keypair import Keypair
from solders.pubkey import Pubkey

from cvms.chain.fees import simulate_and_limit, within_fee
from cvms.chain.releases import VAULTS_PER_TRANSACTION, prepare_releases, with_matured
from cvms.chain.rpc import Rpc
from cvms.chain.transactions import BuiltTransaction, sign_as, signature_of, with_budget
from cvms.chain.types import Lamports, Programs
from cvms.errors import ProgramRefused
from cvms.nursery.channels import SubmitWake
from cvms.store import audit, submissions, timelocks, unasked
from cvms.store.audit import AuditEntry
from cvms.store.database import Database

log = structlog.get_logger(__name__)

ACTION = "release_timelocks"
"""As the route's, so that either answers for the other."""
ACTOR = "timelocks"
MOST_LANDING = 32
"""Releases that may be on their way at once: owners' own transactions come first."""
MOST_OWNERS = 20 * VAULTS_PER_TRANSACTION
"""Looked at in one round."""
ASIDE_SECONDS = 60.0
"""Until a vault is tried again whose account does not say what its row says, or that is refused."""
UNIT_SPREAD = 1_000
"""A transaction like an earlier one lands only once: different limits make them differ."""


class Releases:
    """Releases what has matured, by the operator, who pays at most `max_fee` a transaction."""

    def __init__(
        self,
        *,
        database: Database,
        rpc: Rpc,
        programs: Programs,
        operator: Keypair,
        max_fee: Lamports,
        submit_wake: SubmitWake,
    ) -> None:
        self._database = database
        self._rpc = rpc
        self._programs = programs
        self._operator = operator
        self._max_fee = max_fee
        self._submit_wake = submit_wake
        self._aside: dict[str, float] = {}

    async def round(self, now: int) -> bool:
        """Submit releases of what has matured at `now`, by the chain's clock.

        Returns whether to look again soon: some are left, or on their way.
        """
        self._take_back()
        async with self._database.connection() as conn:
            room = MOST_LANDING - await unasked.landing(conn, ACTION)
            if room <= 0:
                return True
            most = min(room * VAULTS_PER_TRANSACTION, MOST_OWNERS)
            due = await timelocks.to_release(
                conn, kind=ACTION, now=now, limit=most, aside=self._aside
            )
        owners = await self._matured(due, now)
        for first in range(0, len(owners), VAULTS_PER_TRANSACTION):
            await self._release(owners[first : first + VAULTS_PER_TRANSACTION])
        async with self._database.connection() as conn:
            return await timelocks.any_to_release(conn, now=now, aside=self._aside)

    async def _matured(self, due: Sequence[str], now: int) -> list[Pubkey]:
        """Those of whom the chain says so too: a row may lag behind a release that has landed."""
        if not due:
            return []
        keys = [Pubkey.from_string(owner) for owner in due]
        matured = await with_matured(self._rpc, self._programs, keys, now=now)
        for owner in set(due) - set(map(str, matured)):
            self._set_aside(owner)
        return matured

    async def _release(self, owners: Sequence[Pubkey]) -> None:
        """Submit one release of these vaults; where the program refuses, of each half by itself."""
        built = await prepare_releases(
            self._rpc, self._programs, owners, payer=self._operator.pubkey()
        )
        try:
            limited = await simulate_and_limit(self._rpc, self._programs, built)
        except ProgramRefused as refused:
            if refused.code is None and not refused.logs:
                raise  # not a word of the program's: we cannot pay, and no other will do better
            if len(owners) == 1:
                log.error("release_refused", owner=str(owners[0]), reason=str(refused))
                self._set_aside(str(owners[0]))
                return
            half = len(owners) // 2
            await self._release(owners[:half])
            await self._release(owners[half:])
            return
        units = limited.compute_unit_limit + secrets.randbelow(UNIT_SPREAD)
        spread = with_budget(
            limited, compute_unit_limit=units, compute_unit_price=limited.compute_unit_price
        )
        await self._submit(within_fee(spread, self._max_fee), list(map(str, owners)))

    async def _submit(self, built: BuiltTransaction, owners: Sequence[str]) -> None:
        """Write it down for the submitter, unless another is on its way for one of these vaults."""
        transaction = sign_as(built.message, self._operator)
        signature = signature_of(transaction)
        alone = len(owners) == 1
        async with self._database.transaction() as conn:
            if not await unasked.none_unfinished(conn, ACTION, owners):
                return
            await submissions.record_signed(
                conn,
                message_hash=built.message_hash,
                kind=ACTION,
                owner=owners[0] if alone else str(self._operator.pubkey()),
                message=bytes(built.message),
                signature=signature,
                wire=bytes(transaction),
                last_valid_block_height=built.last_valid_block_height,
                owners=() if alone else owners,
            )
            for owner in owners:
                await audit.append(conn, _entry(owner, signature))
        self._submit_wake.wake()

    def _set_aside(self, owner: str) -> None:
        self._aside[owner] = trio.current_time() + ASIDE_SECONDS

    def _take_back(self) -> None:
        now = trio.current_time()
        self._aside = {owner: until for owner, until in self._aside.items() if until > now}


def _entry(owner: str, signature: str) -> AuditEntry:
    return AuditEntry(
        actor=ACTOR,
        action=ACTION,
        owner=owner,
        outcome="accepted",
        details={"mode": "submitted", "tx": signature},
    )
