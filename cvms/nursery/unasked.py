"""What the service submits of itself, signed by the operator alone, who pays for it.

Like everything that is submitted it is written down before it is sent. What claims a vault is the
submission: it is written down only while no other of its kind may land for that vault.
"""

from __future__ import annotations

import secrets
from collections.abc import Mapping, Sequence
from typing import Any

from solders.keypair import Keypair
from solders.pubkey import Pubkey

from cvms.chain.fees import simulate_and_limit, within_fee
from cvms.chain.rpc import Rpc
from cvms.chain.transactions import BuiltTransaction, sign_as, signature_of, with_budget
from cvms.chain.types import Lamports, Programs
from cvms.errors import ProgramRefused
from cvms.nursery.channels import SubmitWake
from cvms.store import audit, submissions, unasked
from cvms.store.audit import AuditEntry
from cvms.store.connection import Connection

UNIT_SPREAD = 1_000
"""A transaction like an earlier one lands only once: different limits make them differ."""


class Operator:
    """The operator's key, what it may pay for a transaction, and the way to the submitter."""

    def __init__(
        self,
        *,
        key: Keypair,
        rpc: Rpc,
        programs: Programs,
        max_fee: Lamports,
        submit_wake: SubmitWake,
    ) -> None:
        self._key = key
        self._rpc = rpc
        self._programs = programs
        self._max_fee = max_fee
        self._submit_wake = submit_wake

    @property
    def address(self) -> Pubkey:
        return self._key.pubkey()

    async def simulated(self, built: BuiltTransaction) -> BuiltTransaction:
        """The transaction with the budget that its simulation asks for. Raises ProgramRefused."""
        limited = await simulate_and_limit(self._rpc, self._programs, built)
        spread = with_budget(
            limited,
            compute_unit_limit=limited.compute_unit_limit + secrets.randbelow(UNIT_SPREAD),
            compute_unit_price=limited.compute_unit_price,
        )
        return within_fee(spread, self._max_fee)

    async def write_down(
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
        """Sign and store it, and say so in the audit trail; False where another may land still.

        Last in its database transaction, after which `wake` says that there is something to send.
        """
        if not await unasked.none_unfinished(conn, kind, owners):
            return False
        transaction = sign_as(built.message, self._key)
        signature = signature_of(transaction)
        alone = len(owners) == 1
        await submissions.record_signed(
            conn,
            message_hash=built.message_hash,
            kind=kind,
            owner=owners[0] if alone else str(self.address),
            message=bytes(built.message),
            signature=signature,
            wire=bytes(transaction),
            last_valid_block_height=built.last_valid_block_height,
            amount=amount,
            owners=() if alone else owners,
        )
        told = {"amount": amount, **(details or {}), "mode": "submitted", "tx": signature}
        for owner in owners:
            entry = AuditEntry(
                actor=actor, action=kind, owner=owner, outcome="accepted", details=told
            )
            await audit.append(conn, entry)
        return True

    def wake(self) -> None:
        """Have the submitter look."""
        self._submit_wake.wake()


def is_the_programs(refused: ProgramRefused) -> bool:
    """Whether a program said so, and not the chain: that the operator cannot pay, for one."""
    return refused.code is not None or bool(refused.logs)
