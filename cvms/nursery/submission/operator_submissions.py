"""What the service submits of itself, signed by the operator alone, who pays for it.

Like everything that is submitted it is written down before it is sent. What claims a vault is the
submission: it is written down only while no other of its kind may land for that vault.
"""

from __future__ import annotations

import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import structlog
from solders.pubkey import Pubkey

from cvms.chain.rpc.rpc_client import RpcClient
from cvms.chain.transactions.compute_budget import simulate_and_limit
from cvms.chain.transactions.versioned import BuiltTransaction, unsigned
from cvms.chain.types import Programs
from cvms.errors import ProgramRefused, SponsorshipExhausted
from cvms.nursery.channels.wakeups import SubmitWakeup
from cvms.operator_key import BudgetScope, OperatorKey
from cvms.store.postgres.driver.connection import Connection
from cvms.store.security import audit_log
from cvms.store.submissions import operator_submissions, submissions

log = structlog.get_logger(__name__)

UNIT_SPREAD = 1_000
"""A transaction like an earlier one lands only once: different limits make them differ."""


@dataclass(slots=True, kw_only=True, eq=False)
class OperatorSubmitter:
    """Records transactions that the operator decides and pays for, and wakes the submitter."""

    key: OperatorKey
    rpc: RpcClient
    programs: Programs
    submit_wake: SubmitWakeup

    @property
    def address(self) -> Pubkey:
        return self.key.address

    async def simulate(self, built: BuiltTransaction) -> BuiltTransaction:
        """The transaction with the budget that its simulation asks for. Raises ProgramRefused."""
        return await simulate_and_limit(
            self.rpc,
            self.programs,
            built,
            caps=self.key.caps,
            extra_units=secrets.randbelow(UNIT_SPREAD),
        )

    async def record(
        self,
        conn: Connection,
        built: BuiltTransaction,
        *,
        kind: str,
        actor: str,
        owners: Sequence[str],
        amount: int | None = None,
        details: Mapping[str, Any] | None = None,
    ) -> bool:
        """Sign and store it, and say so in the audit trail; False where another may land still, or
        all that the operator pays in a day is spent.

        Last in its database transaction, after which `wake` says that there is something to send.
        Raises NotSponsored for what breaks the policy of fees.
        """
        if not await operator_submissions.has_no_pending(conn, kind, owners):
            return False
        try:
            async with conn.transaction():
                signature = await self._record_signed(
                    conn, built, kind=kind, owners=owners, amount=amount
                )
        except SponsorshipExhausted as exhausted:
            log.warning("not_submitted", kind=kind, owners=len(owners), reason=str(exhausted))
            return False
        entry = {"amount": amount, **(details or {}), "mode": "submitted", "tx": signature}
        for owner in owners:
            await audit_log.record(conn, actor=actor, action=kind, owner=owner, details=entry)
        return True

    async def _record_signed(
        self,
        conn: Connection,
        built: BuiltTransaction,
        *,
        kind: str,
        owners: Sequence[str],
        amount: int | None,
    ) -> str:
        """Sign, store and charge the transaction; return its signature."""
        signed = self.key.sign(unsigned(built.message), acts=True)
        alone = len(owners) == 1
        owner = owners[0] if alone else str(self.address)
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
        return signed.signature

    def wake(self) -> None:
        """Have the submitter look."""
        self.submit_wake.wake()


def is_program_refusal(refused: ProgramRefused) -> bool:
    """Whether a program said so, and not the chain: that the operator cannot pay, for one."""
    return refused.code is not None or bool(refused.logs)
