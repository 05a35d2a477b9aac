"""Routes of transactions: submit one that a wallet has signed, and read its state."""

from __future__ import annotations

from functools import partial

import structlog
from solders.signature import Signature

from cvms.chain.program.program_errors import to_program_error
from cvms.chain.transactions.signed_simulation import payer_spends, simulate_signed
from cvms.chain.transactions.versioned import (
    message_hash,
    message_of,
    missing_signers,
    parse_base64,
    signature_of,
)
from cvms.chain.types import Commitment
from cvms.errors import (
    Conflict,
    FieldProblem,
    InvalidRequest,
    InvalidSignature,
    NotFound,
    ProgramRefused,
    ProposalCancelled,
    ProposalCompleted,
    ProposalExpired,
    TransactionExpired,
    UnknownTransaction,
)
from cvms.http.framework import schemas
from cvms.http.framework.dependencies import Dependencies
from cvms.http.framework.operation_metrics import counted
from cvms.http.framework.problems import response_of
from cvms.http.framework.request import Body, join_trace, request_origin
from cvms.http.framework.response import Reply, Response
from cvms.http.framework.routing import RouteGroup
from cvms.http.multisig.cosigning import CoSigningRun, find_changed, signatures_in
from cvms.http.operations.execute import UNSPONSORED
from cvms.http.operations.idempotency import IdempotencyKey, replay_or_run
from cvms.http.operations.signed_plans import EXPIRED, SignedPlan, find_plan
from cvms.log.fields import bind_log_fields
from cvms.store.postgres.driver.connection import Connection
from cvms.store.security import audit_log
from cvms.store.submissions import multisig_proposals, submissions
from cvms.store.submissions.submissions import State, Submission

log = structlog.get_logger(__name__)

ROUTES = RouteGroup("transactions")

EQUAL_PLANS = 4
"""Of as many plans that a wallet has signed at once, each finds its own."""


class CoSigned(Body, frozen=True):
    transaction: str


@ROUTES.post(
    "/api/transactions",
    replies={202: schemas.Accepted},
    refusals=(
        UnknownTransaction,
        TransactionExpired,
        InvalidSignature,
        ProgramRefused,
        Conflict,
        *UNSPONSORED,
        ProposalExpired,
        ProposalCancelled,
        ProposalCompleted,
    ),
    sensitive=True,
    idempotent=True,
    name="submit_transaction",
)
async def submit(deps: Dependencies, body: CoSigned) -> Reply | Response:
    """Submit a signed transaction.

    Takes a transaction that this service built, signed by the wallet. The wallet may have added
    assertions of a guard program and a compute budget, refreshed the block hash, or put the message
    together again, also as a legacy one. The service adds its own signature where it pays the fee,
    simulates and submits. 202 returns the signature; follow it with
    `GET /api/transactions/{signature}`. Posting the same transaction again returns the same
    signature and has no second effect.

    The transaction of a proposed withdrawal may be posted by each co-signer with only their own
    signature. Signatures are collected: while some are `missing`, the status is `collecting`, and
    the last one submits the transaction. If its blockhash has expired, the answer says `rebuilt`
    and has a new `transaction` for all co-signers to sign.
    """
    with counted(deps, "submit"):
        transaction = parse_base64(body.transaction)
        message = message_of(transaction)
        async with deps.database.connection() as conn:
            proposal = await multisig_proposals.by_message(conn, message_hash(message))
        if proposal is not None:
            given = signatures_in(transaction, deps.operator.payer_in(message))
            return await CoSigningRun(deps, proposal, message, given).run()
        attempts = 0
        while True:
            try:
                signed = await find_plan(deps, transaction)
            except UnknownTransaction:
                proposal = await find_changed(deps, transaction)
                if proposal is None:
                    raise
                given = signatures_in(transaction, deps.operator.payer_in(message))
                return await CoSigningRun(deps, proposal, message, given, changed=True).run()
            try:
                return await replay_or_run(deps, signed.plan.owner, partial(_submit, deps, signed))
            except Conflict:
                # Another form of this plan was faster; there may be an equal plan for this one.
                attempts += 1
                if not signed.changed or attempts == EQUAL_PLANS:
                    raise


async def _submit(deps: Dependencies, signed: SignedPlan, key: IdempotencyKey | None) -> Reply:
    stored = signed.plan
    bind_log_fields(owner=stored.owner)
    join_trace(stored.traceparent)
    if stored.state is State.BUILT:
        await _check(deps, signed)
        stored = await _sign_and_store(deps, signed, key)
        bind_log_fields(signature=stored.signature or "")
        log.info("submission_changed", kind=stored.kind, state=stored.state.value)
        deps.submit_wake.wake()
    return _accepted(stored)


def _accepted(built: Submission) -> Reply:
    return Reply(schemas.Accepted(built.signature, built.state), 202)


@ROUTES.get(
    "/api/transactions/<signature>", replies={200: schemas.TransactionState}, refusals=(NotFound,)
)
async def get_transaction(deps: Dependencies, signature: str) -> Reply:
    """Get the state of a transaction.

    `error` says why it failed. The states `finalized`, `failed`, `expired` and `quarantined` are
    final.
    """
    try:
        key = str(Signature.from_string(signature))
    except ValueError:
        problem = FieldProblem("signature", "Expected a base58 signature")
        raise InvalidRequest("The path is malformed.", [problem]) from None
    async with deps.database.connection() as conn:
        found = await submissions.get_by_signature(conn, key)
    if found is None:
        raise NotFound("This service has not submitted a transaction with that signature.")
    return Reply(schemas.reply_of(found, schemas.TransactionState))


async def _check(deps: Dependencies, signed: SignedPlan) -> None:
    """Raise unless the transaction can land once the operator has signed it."""
    message = message_of(signed.transaction)
    height = await deps.rpc.get_block_height(Commitment.CONFIRMED)
    if height > signed.plan.last_valid_block_height:
        raise TransactionExpired(EXPIRED)
    payer = deps.operator.payer_in(message)
    others = [each for each in missing_signers(signed.transaction) if each != payer]
    if others:
        raise InvalidSignature(f"The signature of {others[0]} is missing or does not verify.")
    result = await simulate_signed(
        deps.rpc, message, last_valid_block_height=signed.last_valid_block_height
    )
    # It may have landed already if the same bytes were submitted by a request that was faster.
    if result.err == "AlreadyProcessed":
        if signed.changed:
            await _check_submitted(deps, signed)
        return
    if result.err is not None:
        raise to_program_error(result.err, result.logs, deps.programs)
    deps.operator.check_spending(message, await payer_spends(deps.rpc, message, result))


async def _check_submitted(deps: Dependencies, signed: SignedPlan) -> None:
    """Raise Conflict if the transaction has landed without having been submitted here.

    It may have landed before this plan was made, so it is the effect of another one.
    """
    if not (await find_plan(deps, signed.transaction)).plan.signature:
        raise Conflict("The transaction has landed already, without this service.")


async def _sign_and_store(
    deps: Dependencies, given: SignedPlan, key: IdempotencyKey | None
) -> Submission:
    signed, transaction, plan = None, given.transaction, given.plan
    if deps.operator.must_sign(message_of(transaction)):
        signed = await deps.operator.sign(transaction, acts=False)
        transaction = signed.transaction

    async def store(conn: Connection) -> Submission:
        stored = await submissions.attach_signature(
            conn,
            message_hash=plan.message_hash,
            signature=signature_of(transaction),
            wire=bytes(transaction),
            last_valid_block_height=given.last_valid_block_height if given.changed else None,
            origin=request_origin(),
        )
        if key is not None:
            await key.store(conn, response_of(_accepted(stored)))
        if signed is not None:
            await deps.operator.charge(conn, signed, owner=plan.owner, plan=stored.message_hash)
        await audit_log.record(
            conn,
            actor=plan.owner,
            action="submit",
            owner=plan.owner,
            details={"kind": plan.kind, "tx": signature_of(transaction)},
        )
        return stored

    return await deps.database.transact(store)
