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
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from solders.instruction import Instruction
from solders.pubkey import Pubkey

from cvms.chain.fees import simulate_and_limit
from cvms.chain.transactions import (
    BuiltTransaction,
    sign_as,
    signature_of,
    with_budget,
)
from cvms.errors import (
    CvmsError,
    InvalidSignature,
    NonceExpired,
    NonceUnknown,
    NonceUsed,
    ProgramRefused,
)
from cvms.http import replies, wallet
from cvms.http.plans import Plan
from cvms.http.problems import problem_of, program_error
from cvms.http.routing import Answer
from cvms.http.services import Services
from cvms.store import audit, nonces, submissions
from cvms.store.connection import TrioConnection
from cvms.store.submissions import State

# Two requests for the same thing at the same time are two transactions: a different compute limit
# makes them differ, since a transaction that equals an earlier one lands only once.
UNIT_SPREAD = 20_000

# What a route that ends in `carry_out` declares: its replies, and how a signed one may be refused.
COSIGN = {200: replies.CoSign}
COSIGN_OR_SUBMIT = {200: replies.CoSign, 202: replies.Submitted}
SIGNED_REFUSALS = (InvalidSignature, NonceUnknown, NonceExpired, NonceUsed, ProgramRefused)


@dataclass(frozen=True, slots=True)
class SignedRequest:
    """A request that a wallet has signed, as it came."""

    owner: Pubkey
    text: str
    nonce: str
    signature: str


async def carry_out(
    services: Services,
    operation: str,
    plan: Callable[[], Awaitable[Plan]],
    signed: SignedRequest | None = None,
) -> Answer:
    """Check, plan, simulate, write down, answer. Raises the outcomes of `cvms.errors`."""
    with counted(services, operation):
        if signed is not None:
            await _check(services, signed)
        planned = await plan()
        try:
            built = await _simulated(services, planned.built)
        except ProgramRefused as refused:
            await _write_refusal(services, planned, signed, refused)
            raise
        if planned.delegated:
            return await _submit(services, planned, built, signed)
        return await _offer(services, planned, built, signed)


@contextmanager
def counted(services: Services, operation: str) -> Iterator[None]:
    """Count the operation by its outcome: accepted, or the code of the problem."""
    outcome = "cancelled"
    try:
        yield
        outcome = "accepted"
    except CvmsError as error:
        problem = problem_of(error)
        outcome = problem.code if problem else "internal_error"
        raise
    except Exception:
        outcome = "internal_error"
        raise
    finally:
        services.metrics.operations.labels(operation=operation, outcome=outcome).inc()


async def _check(services: Services, signed: SignedRequest) -> None:
    wallet.verify(signed.owner, signed.text, signed.signature)
    await services.limits.admit_owner(str(signed.owner))
    async with services.database.connection() as conn:
        await nonces.check(conn, str(signed.owner), signed.nonce)


async def _simulated(services: Services, built: BuiltTransaction) -> BuiltTransaction:
    """The transaction with the budget that its simulation asks for. Raises ProgramRefused."""
    limited = await simulate_and_limit(services.rpc, services.programs, built)
    return with_budget(
        limited,
        compute_unit_limit=limited.compute_unit_limit + secrets.randbelow(UNIT_SPREAD),
        compute_unit_price=limited.compute_unit_price,
    )


async def _offer(
    services: Services, plan: Plan, built: BuiltTransaction, signed: SignedRequest | None
) -> Answer:
    """Hand the transaction to the wallet. Ours to sign too, but only when the wallet has."""
    async with services.database.transaction() as conn:
        await _consume(conn, signed)
        await submissions.record_built(
            conn,
            message_hash=built.message_hash,
            kind=plan.action,
            owner=str(plan.owner),
            message=bytes(built.message),
            last_valid_block_height=built.last_valid_block_height,
            amount=plan.amount,
        )
        await _write_down(conn, plan, signed, "accepted", {"mode": "cosign"})
    return Answer(
        replies.CoSign(
            transaction=_base64(built.unsigned_wire),
            instruction=_instruction(built.instruction),
            last_valid_block_height=built.last_valid_block_height,
        )
    )


async def _submit(
    services: Services, plan: Plan, built: BuiltTransaction, signed: SignedRequest | None
) -> Answer:
    """Sign as the vault's delegate and give it to the submitter, bytes first."""
    transaction = sign_as(built.message, services.operator)
    signature = signature_of(transaction)
    async with services.database.transaction() as conn:
        await _consume(conn, signed)
        if plan.shared:
            under_way = await submissions.under_way(conn, plan.action, str(plan.owner))
            if under_way is not None:
                return Answer(_submitted(under_way.signature, under_way.state), 202)
        await submissions.record_signed(
            conn,
            message_hash=built.message_hash,
            kind=plan.action,
            owner=str(plan.owner),
            message=bytes(built.message),
            signature=signature,
            wire=bytes(transaction),
            last_valid_block_height=built.last_valid_block_height,
            amount=plan.amount,
        )
        await _write_down(conn, plan, signed, "accepted", {"mode": "submitted", "tx": signature})
    services.submit_wake.wake()
    return Answer(_submitted(signature, State.PENDING), 202)


async def _write_refusal(
    services: Services, plan: Plan, signed: SignedRequest | None, refused: ProgramRefused
) -> None:
    if signed is None:
        return  # nobody has proved to have asked: there is no actor to write down
    async with services.database.transaction() as conn:
        await _consume(conn, signed)
        details = {"program_error": program_error(refused)}
        await _write_down(conn, plan, signed, "refused", details)


async def _consume(conn: TrioConnection[Any], signed: SignedRequest | None) -> None:
    if signed is not None:
        await nonces.consume(conn, str(signed.owner), signed.nonce)


async def _write_down(
    conn: TrioConnection[Any],
    plan: Plan,
    signed: SignedRequest | None,
    outcome: str,
    details: dict[str, Any],
) -> None:
    """Append to the audit trail, last in a transaction: everybody's entries wait for its end."""
    owner = str(plan.owner)
    entry = audit.AuditEntry(
        actor=owner if signed is not None else "anonymous",
        action=plan.action,
        owner=owner,
        outcome=outcome,
        details={"amount": plan.amount, **details},
    )
    await audit.append(conn, entry)


def _submitted(signature: str | None, state: State) -> replies.Submitted:
    return replies.Submitted(signature=signature or "", status=state)


def _instruction(instruction: Instruction) -> replies.Instruction:
    return replies.Instruction(
        program_id=str(instruction.program_id),
        accounts=[
            replies.AccountMeta(
                pubkey=str(meta.pubkey), is_signer=meta.is_signer, is_writable=meta.is_writable
            )
            for meta in instruction.accounts
        ],
        data=_base64(instruction.data),
    )


def _base64(raw: bytes) -> str:
    return base64.b64encode(raw).decode()
