"""The one path by which a request changes anything.

Signature, nonce (looked at), plan, transaction, simulation; then in one database transaction the
nonce is consumed, the audit trail says so, and the transaction is written down; then the submitter
is woken. Until that database transaction nothing has happened, and a chain that is away leaves the
nonce unused. A refusal by the program consumes the nonce too: a signed request takes effect once,
also when its effect is a refusal, or it could be sent again when the vault looks different.
"""

from __future__ import annotations

import base64
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

from quart import Response
from solders.instruction import Instruction
from solders.pubkey import Pubkey

from cvms.chain.transactions.compute_budget import simulate_and_limit
from cvms.chain.transactions.versioned import BuiltTransaction, signature_of, unsigned
from cvms.errors import (
    CvmsError,
    InvalidSignature,
    NonceExpired,
    NonceUnknown,
    NonceUsed,
    NotSponsored,
    ProgramRefused,
    SponsorshipExhausted,
    SponsorshipPaused,
)
from cvms.http.auth.requester import Anonymous, Credential
from cvms.http.framework import schemas
from cvms.http.framework.dependencies import Dependencies
from cvms.http.framework.operation_metrics import counted
from cvms.http.framework.problems import program_error
from cvms.http.framework.response import Reply, response_of
from cvms.http.operations.idempotency import IdempotencyKey, key_of_request, replay_or_run
from cvms.http.operations.plans import TransactionPlan
from cvms.store.postgres.driver.connection import Connection
from cvms.store.security import audit_log
from cvms.store.submissions import submissions
from cvms.store.submissions.submissions import State

# Two requests for the same thing at the same time are two transactions: a different compute limit
# makes them differ, since a transaction that equals an earlier one lands only once.
UNIT_SPREAD = 20_000

# Replies and refusals that a route declares when it ends in `execute_operation`.
COSIGN = {200: schemas.CoSign}
COSIGN_OR_SUBMIT = {200: schemas.CoSign, 202: schemas.Submitted}
UNSPONSORED = (SponsorshipExhausted, SponsorshipPaused, NotSponsored)
SIGNED_REFUSALS = (
    InvalidSignature,
    NonceUnknown,
    NonceExpired,
    NonceUsed,
    ProgramRefused,
    *UNSPONSORED,
)


async def execute_operation(
    deps: Dependencies,
    operation: str,
    plan: Callable[[], Awaitable[TransactionPlan]],
    *,
    owner: Pubkey,
    requester: Credential | None = None,
) -> Reply | Response:
    """Check, plan, simulate, write down, answer. Raises the outcomes of `cvms.errors`.

    `owner` is whom the request is about. The same Idempotency-Key gets the same answer again.
    """
    with counted(deps, operation):
        who = requester or Anonymous()
        key = await key_of_request(str(owner))

        async def act() -> Reply:
            await who.check(deps)
            return await OperationRun(deps, await plan(), who, key).run()

        return await replay_or_run(deps, key, act)


async def simulate(deps: Dependencies, built: BuiltTransaction) -> BuiltTransaction:
    """The transaction with the budget that its simulation asks for. Raises ProgramRefused."""
    return await simulate_and_limit(
        deps.rpc,
        deps.programs,
        built,
        caps=deps.sponsor.caps,
        extra_units=secrets.randbelow(UNIT_SPREAD),
    )


@dataclass(frozen=True, slots=True)
class OperationRun:
    """A plan, on its way from a request that has been checked to its one effect."""

    deps: Dependencies
    plan: TransactionPlan
    requester: Credential
    key: IdempotencyKey | None

    async def run(self) -> Reply:
        """Simulate, write down, answer."""
        try:
            built = await simulate(self.deps, self.plan.built)
        except ProgramRefused as refused:
            await self._record_refusal(refused)
            raise
        try:
            return await (
                self._submit(built)
                if self.plan.operator_signs
                else self._return_for_cosigning(built)
            )
        except _AlreadyPending as other:
            return other.answer

    async def _return_for_cosigning(self, built: BuiltTransaction) -> Reply:
        """Hand it to the wallet. Ours to sign too, but only when the wallet has."""
        answer = Reply(
            schemas.CoSign(
                transaction=base64_text(built.unsigned_wire),
                instruction=instruction_reply(built.instruction),
                last_valid_block_height=built.last_valid_block_height,
            )
        )
        async with self._commit(answer) as conn:
            await submissions.record_built(
                conn,
                message_hash=built.message_hash,
                kind=self.plan.action,
                owner=str(self.plan.owner),
                message=bytes(built.message),
                last_valid_block_height=built.last_valid_block_height,
                amount=self.plan.amount,
                since_slot=built.since_slot,
            )
            await self.deps.sponsor.check(conn, built.message, owner=str(self.plan.owner))
            await self._record(conn, "accepted", {"mode": "cosign"})
        return answer

    async def _submit(self, built: BuiltTransaction) -> Reply:
        """Sign it as the vault's delegate and give it to the submitter, bytes first."""
        sponsor = self.deps.sponsor
        transaction, cost = sponsor.sign(unsigned(built.message), acts=True)
        signature = signature_of(transaction)
        answer = Reply(_submitted(signature, State.PENDING), 202)
        async with self._commit(answer) as conn:
            if self.plan.joins_pending:
                await self._join_pending(conn)
            await submissions.record_signed(
                conn,
                message_hash=built.message_hash,
                kind=self.plan.action,
                owner=str(self.plan.owner),
                message=bytes(built.message),
                signature=signature,
                wire=bytes(transaction),
                last_valid_block_height=built.last_valid_block_height,
                amount=self.plan.amount,
                since_slot=built.since_slot,
            )
            await sponsor.charge(
                conn,
                built.message,
                cost,
                owner=str(self.plan.owner),
                account=self.plan.budget_scope,
            )
            details = {"mode": "submitted", "tx": signature}
            await self._record(conn, "accepted", details)
        self.deps.submit_wake.wake()
        return answer

    async def _join_pending(self, conn: Connection) -> None:
        first = await submissions.find_pending(conn, self.plan.action, str(self.plan.owner))
        if first is not None:
            raise _AlreadyPending(Reply(_submitted(first.signature, first.state), 202))

    async def _record_refusal(self, refused: ProgramRefused) -> None:
        if isinstance(self.requester, Anonymous):
            return  # nobody has proved to have asked: there is no actor to write down
        async with self._commit(refused) as conn:
            await self._record(conn, "refused", {"program_error": program_error(refused)})

    @asynccontextmanager
    async def _commit(self, outcome: Reply | CvmsError) -> AsyncIterator[Connection]:
        """The database transaction of the effect: first the answer under its key, which makes
        equal requests take turns, then the proof, then what is in the block.
        """
        async with self.deps.database.transaction() as conn:
            if self.key is not None:
                await self.key.store(conn, response_of(outcome))
            await self.requester.consume(conn)
            yield conn

    async def _record(self, conn: Connection, outcome: str, details: dict[str, Any]) -> None:
        """Append to the audit trail, last in the transaction: all entries wait for its end."""
        entry = audit_log.AuditEntry(
            actor=self.requester.actor,
            action=self.plan.action,
            owner=str(self.plan.owner),
            outcome=outcome,
            details={"amount": self.plan.amount, **self.plan.details, **details},
        )
        await audit_log.append(conn, entry)


class _AlreadyPending(Exception):
    """An unfinished submission answers for this one; this transaction is rolled back."""

    def __init__(self, answer: Reply) -> None:
        super().__init__()
        self.answer = answer


def _submitted(signature: str | None, state: State) -> schemas.Submitted:
    return schemas.Submitted(signature=signature or "", status=state)


def instruction_reply(instruction: Instruction) -> schemas.Instruction:
    """An instruction as clients see it."""
    return schemas.Instruction(
        program_id=str(instruction.program_id),
        accounts=[
            schemas.AccountMeta(
                pubkey=str(meta.pubkey), is_signer=meta.is_signer, is_writable=meta.is_writable
            )
            for meta in instruction.accounts
        ],
        data=base64_text(instruction.data),
    )


def base64_text(raw: bytes) -> str:
    """Bytes as clients see them."""
    return base64.b64encode(raw).decode()
