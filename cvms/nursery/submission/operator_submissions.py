"""Submissions of the service itself, signed and paid by the operator alone.

Each is recorded before it is sent, and only while no other of its kind may land for the same vault.
"""

from __future__ import annotations

import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import structlog

from cvms.chain.rpc.rpc_client import RpcClient
from cvms.chain.transactions.compute_budget import simulate_and_limit
from cvms.chain.transactions.priority_fees import PriorityFees
from cvms.chain.transactions.versioned import BuiltTransaction, unsigned
from cvms.chain.types import Programs
from cvms.errors import ProgramRefused, SponsorshipExhausted
from cvms.nursery.channels.wakeups import SubmitWakeup
from cvms.signing.operator_key import BudgetScope, OperatorKey, SignedByOperator
from cvms.store.postgres.driver.connection import Connection
from cvms.store.security import audit_log
from cvms.store.submissions import operator_submissions, submissions

log = structlog.get_logger(__name__)

UNIT_SPREAD = 1_000
"""Random extra compute units, so that two otherwise equal transactions differ and both land."""


@dataclass(slots=True, kw_only=True, eq=False)
class OperatorSubmitter:
    """Records transactions that the operator decides and pays for, and wakes the submitter."""

    key: OperatorKey
    rpc: RpcClient
    fees: PriorityFees
    programs: Programs
    submit_wake: SubmitWakeup

    async def simulate(self, built: BuiltTransaction) -> BuiltTransaction:
        """Return the transaction with its simulated compute budget. Raises ProgramRefused."""
        return await simulate_and_limit(
            self.rpc,
            self.programs,
            built,
            fees=self.fees,
            caps=self.key.caps,
            extra_units=secrets.randbelow(UNIT_SPREAD),
        )

    async def sign(self, built: BuiltTransaction) -> SignedByOperator:
        """Return the transaction with the operator's signature, outside any database transaction.

        Raises NotSponsored if it violates the fee policy, and SignerUnavailable.
        """
        return await self.key.sign(unsigned(built.message), acts=True)

    async def record(
        self,
        conn: Connection,
        built: BuiltTransaction,
        signed: SignedByOperator,
        *,
        kind: str,
        actor: str,
        owners: Sequence[str],
        amount: int | None = None,
        details: Mapping[str, Any] | None = None,
    ) -> bool:
        """Store and audit a signed transaction, so that the submitter sends it after the commit.

        Return False if another one of this kind may still land for an owner, or the operator's
        budget of the day is spent. Call it last in the database transaction.
        """
        if not await operator_submissions.has_no_pending(conn, kind, owners):
            return False
        try:
            async with conn.transaction():
                await self._record_signed(
                    conn, built, signed, kind=kind, owners=owners, amount=amount
                )
        except SponsorshipExhausted as exhausted:
            log.warning("not_submitted", kind=kind, owners=len(owners), reason=str(exhausted))
            return False
        entry = {"amount": amount, **(details or {}), "mode": "submitted", "tx": signed.signature}
        for owner in owners:
            await audit_log.record(conn, actor=actor, action=kind, owner=owner, details=entry)
        return True

    async def _record_signed(
        self,
        conn: Connection,
        built: BuiltTransaction,
        signed: SignedByOperator,
        *,
        kind: str,
        owners: Sequence[str],
        amount: int | None,
    ) -> None:
        alone = len(owners) == 1
        owner = owners[0] if alone else str(built.fee_payer)
        await submissions.record_signed(
            conn,
            message_hash=built.message_hash,
            kind=kind,
            owner=owner,
            message=bytes(built.message),
            signature=signed.signature,
            wire=signed.wire,
            last_valid_block_height=built.last_valid_block_height,
            since_slot=built.since_slot,
            amount=amount,
            owners=() if alone else owners,
        )
        await self.key.charge(conn, signed, owner=owner, scope=BudgetScope.ALL_OWNERS)


def is_program_refusal(refused: ProgramRefused) -> bool:
    """Return whether a program refused, not the chain, as when the operator cannot pay."""
    return refused.code is not None or bool(refused.logs)
