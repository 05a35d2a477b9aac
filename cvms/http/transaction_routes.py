"""Routes of transactions: submit one that a wallet has signed, and read its state."""

from __future__ import annotations

from solders.signature import Signature
from solders.transaction import VersionedTransaction

from cvms.chain.program.program_errors import to_program_error
from cvms.chain.transactions.signed_simulation import simulate_signed
from cvms.chain.transactions.versioned import (
    message_hash,
    message_of,
    missing_signers,
    parse_base64,
    required_signers,
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
from cvms.http.framework.request import Body
from cvms.http.framework.response import Reply, Response
from cvms.http.framework.routing import RouteGroup
from cvms.http.multisig.cosigning import CoSigningRun, signatures_in
from cvms.http.operations.execute import UNSPONSORED
from cvms.http.operations.idempotency import IdempotencyKey, replay_or_run
from cvms.store.postgres.driver.connection import Connection
from cvms.store.security import audit_log
from cvms.store.submissions import multisig_proposals, submissions
from cvms.store.submissions.submissions import State, Submission

ROUTES = RouteGroup("transactions")


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

    Takes a transaction that this service built, signed by the wallet and otherwise unchanged. The
    service adds its own signature where it pays the fee, simulates and submits. 202 returns the
    signature; follow it with `GET /api/transactions/{signature}`. Posting the same transaction
    again returns the same signature and has no second effect.

    The transaction of a proposed withdrawal may be posted by each co-signer with only their own
    signature. Signatures are collected: while some are `missing`, the status is `collecting`, and
    the last one submits the transaction. If its blockhash has expired, the answer says `rebuilt`
    and has a new `transaction` for all co-signers to sign.
    """
    with counted(deps, "submit"):
        transaction = parse_base64(body.transaction)
        hashed = message_hash(message_of(transaction))
        async with deps.database.connection() as conn:
            proposal = await multisig_proposals.by_message(conn, hashed)
        if proposal is not None:
            given = signatures_in(transaction, str(deps.operator.address))
            return await CoSigningRun(deps, proposal, hashed, given).run()
        built = await _built(deps, hashed)
        return await replay_or_run(
            deps, built.owner, lambda key: _submit(deps, transaction, built, key)
        )


async def _submit(
    deps: Dependencies,
    transaction: VersionedTransaction,
    built: Submission,
    key: IdempotencyKey | None,
) -> Reply:
    if built.state is State.BUILT:
        await _check(deps, transaction, built)
        built = await _sign_and_store(deps, transaction, built, key)
        deps.submit_wake.wake()
    return _accepted(built)


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


async def _built(deps: Dependencies, hashed: bytes) -> Submission:
    async with deps.database.connection() as conn:
        found = await submissions.get_by_message(conn, hashed)
    if found is None:
        raise UnknownTransaction(
            "This service did not build this message; sign the transaction of a reply, unchanged."
        )
    return found


async def _check(deps: Dependencies, transaction: VersionedTransaction, built: Submission) -> None:
    """Raise unless the transaction can land once the operator has signed it."""
    if await deps.rpc.get_block_height(Commitment.CONFIRMED) > built.last_valid_block_height:
        raise TransactionExpired(
            "The block hash of the transaction has expired; request a new one and sign that."
        )
    others = [each for each in missing_signers(transaction) if each != deps.operator.address]
    if others:
        raise InvalidSignature(f"The signature of {others[0]} is missing or does not verify.")
    result = await simulate_signed(
        deps.rpc,
        message_of(transaction),
        last_valid_block_height=built.last_valid_block_height,
    )
    # It may have landed already if the same bytes were submitted by a request that was faster.
    if result.err is not None and result.err != "AlreadyProcessed":
        raise to_program_error(result.err, result.logs, deps.programs)


async def _sign_and_store(
    deps: Dependencies,
    transaction: VersionedTransaction,
    built: Submission,
    key: IdempotencyKey | None,
) -> Submission:
    signed = None
    if deps.operator.address in required_signers(message_of(transaction)):
        signed = deps.operator.sign(transaction, acts=False)
        transaction = signed.transaction

    async def store(conn: Connection) -> Submission:
        stored = await submissions.attach_signature(
            conn,
            message_hash=built.message_hash,
            signature=signature_of(transaction),
            wire=bytes(transaction),
        )
        if key is not None:
            await key.store(conn, response_of(_accepted(stored)))
        if signed is not None:
            await deps.operator.charge(conn, signed, owner=built.owner)
        await audit_log.record(
            conn,
            actor=built.owner,
            action="submit",
            owner=built.owner,
            details={"kind": built.kind, "tx": signature_of(transaction)},
        )
        return stored

    return await deps.database.transact(store)
