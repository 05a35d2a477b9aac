"""The write path: the one way by which a request becomes a transaction.

Nothing has happened until the database transaction that records it commits, and a chain that does
not answer leaves the nonce unused. A refusal by the program uses the nonce up too: a signed request
takes effect once, even if its effect is a refusal; otherwise it could be sent again when the vault
looks different.
"""

from __future__ import annotations

import base64
import secrets
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any

import structlog
from solders.instruction import Instruction
from solders.pubkey import Pubkey

from cvms.chain.transactions.compute_budget import simulate_and_limit
from cvms.chain.transactions.vault_builders import prepare_on_vault
from cvms.chain.transactions.versioned import BuiltTransaction, unsigned
from cvms.errors import (
    InvalidSignature,
    NonceExpired,
    NonceUnknown,
    NonceUsed,
    NotSponsored,
    ProgramRefused,
    SponsorshipExhausted,
    SponsorshipPaused,
)
from cvms.http.auth.credential import AdministratorRequest, Anonymous, Credential, record_use
from cvms.http.framework import schemas
from cvms.http.framework.dependencies import Dependencies
from cvms.http.framework.operation_metrics import counted
from cvms.http.framework.problems import program_error, response_of
from cvms.http.framework.request import request_origin
from cvms.http.framework.response import Reply, Response
from cvms.http.operations import plans
from cvms.http.operations.idempotency import IdempotencyKey, replay_or_run
from cvms.http.operations.plans import TransactionPlan
from cvms.log.fields import bind_log_fields
from cvms.signing.operator_key import OperatorKey, SignedByOperator
from cvms.store.postgres.driver.connection import Connection
from cvms.store.submissions import submissions
from cvms.store.submissions.submissions import State

log = structlog.get_logger(__name__)

# Two requests for the same thing at the same time are two transactions: a different compute limit
# makes them differ, since a transaction that equals an earlier one lands only once.
UNIT_SPREAD = 20_000

# Replies and refusals that a route declares when it ends in `execute_operation`.
COSIGN = {200: schemas.CoSign}
COSIGN_OR_SUBMIT = {200: schemas.Requested, 202: schemas.Requested}
GOVERNED = {200: schemas.Governed, 202: schemas.Governed}
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
    action: str,
    *,
    owner: Pubkey,
    plan: Callable[[], Awaitable[TransactionPlan]],
    credential: Credential | None = None,
) -> Reply | Response:
    """Authenticate, plan, check the policy, sign, record, answer.

    `owner` is whom the request is about; `plan` is called once the credential has been checked.
    A request with the Idempotency-Key of an earlier one gets that one's reply. Raises the outcomes
    of `cvms.errors`.
    """

    bind_log_fields(owner=str(owner))

    async def run(key: IdempotencyKey | None) -> Reply:
        this = _Request(action, str(owner), credential or Anonymous(), key)

        # Authenticate: look at the signature, the nonce and the second factor.
        await this.credential.check(deps)

        # Plan the transaction, from the accounts as they are now.
        planned = await plan()

        # Check the policy: the program's, in simulation, and what the operator pays for.
        try:
            built = await simulate(deps, planned.built)
        except ProgramRefused as refused:
            await _record_refusal(deps, this, planned, refused)
            raise

        # Sign, where the operator's signature is enough; else the wallet signs first.
        signed = None
        if planned.operator_signs:
            signed = await deps.operator.sign(unsigned(built.message), acts=True)

        # Record, all or nothing: the reply, the credential's use, the transaction, its cost, the
        # audit entry.
        reply = _reply(planned, built, signed)

        async def record(conn: Connection) -> Reply:
            if planned.joins_pending:
                pending = await submissions.find_pending(conn, this.action, this.owner)
                if pending is not None:
                    return _submitted_reply(pending.signature or "", pending.state)
            await this.use_up(conn, reply)
            if planned.check is not None:
                await planned.check(conn)
            if planned.proposed_to is None:
                await _record_transaction(conn, deps.operator, this, planned, built, signed=signed)
            signature = {} if signed is None else {"tx": signed.signature}
            await this.audit(conn, planned, reply, mode=planned.mode, **signature)
            return reply

        answer = await deps.database.transact(record)

        # Answer.
        if signed is not None:
            deps.submit_wake.wake()
        _log_recorded(action, planned, signed)
        return answer

    with counted(deps, action):
        return await replay_or_run(deps, _key_holder(credential, str(owner)), run)


async def execute_by_owner(
    deps: Dependencies,
    action: str,
    credential: Credential,
    instruction: Instruction,
    *,
    owner: Pubkey,
    amount: int | None = None,
    prepare: plans.Prepare = prepare_on_vault,
    signers: Sequence[Pubkey] = (),
) -> Reply | Response:
    """Execute an instruction on the vault that only its owner may give.

    `signers` of the vault's multisig sign it too.
    """

    async def plan() -> TransactionPlan:
        await plans.check_signers(deps, owner, signers)
        return await plans.by_owner(deps, owner, instruction, amount=amount, prepare=prepare)

    return await execute_operation(deps, action, owner=owner, credential=credential, plan=plan)


@dataclass(frozen=True, slots=True)
class _Request:
    """A request for an action about an owner, and what proves it."""

    action: str
    owner: str
    credential: Credential
    key: IdempotencyKey | None

    async def use_up(self, conn: Connection, outcome: Reply | ProgramRefused) -> None:
        """Store the outcome under the key, which makes equal requests take turns; then use up the
        credential.
        """
        if self.key is not None:
            await self.key.store(conn, response_of(outcome))
        await self.credential.consume(conn)

    async def audit(
        self,
        conn: Connection,
        planned: TransactionPlan,
        outcome: Reply | ProgramRefused,
        **details: Any,
    ) -> None:
        """Append to the audit log, last in the transaction: all other entries wait for its end."""
        await record_use(
            conn,
            self.credential,
            outcome,
            action=self.action,
            owner=self.owner,
            details={"amount": planned.amount, **planned.details, **details},
        )


def _key_holder(credential: Credential | None, owner: str) -> str | None:
    """Return whose Idempotency-Key comes with the credential, None if it proves nobody."""
    match credential:
        case None | Anonymous():
            return None
        case AdministratorRequest():
            return f"admin:{owner}"
        case _:
            return credential.actor


async def _record_transaction(
    conn: Connection,
    operator: OperatorKey,
    this: _Request,
    planned: TransactionPlan,
    built: BuiltTransaction,
    *,
    signed: SignedByOperator | None,
) -> None:
    transaction: dict[str, Any] = {
        "message_hash": built.message_hash,
        "kind": this.action,
        "owner": this.owner,
        "message": bytes(built.message),
        "last_valid_block_height": built.last_valid_block_height,
        "amount": planned.amount,
        "since_slot": built.since_slot,
        "origin": request_origin(),
    }
    if signed is None:
        await submissions.record_built(conn, **transaction)
        await operator.check_budget(conn, built.message, owner=this.owner)
    else:
        await submissions.record_signed(
            conn, **transaction, signature=signed.signature, wire=signed.wire
        )
        await operator.charge(conn, signed, owner=this.owner, scope=planned.budget_scope)


def _log_recorded(action: str, planned: TransactionPlan, signed: SignedByOperator | None) -> None:
    if signed is not None:
        bind_log_fields(signature=signed.signature)
    if planned.proposed_to is None:
        state = State.BUILT if signed is None else State.PENDING
        log.info("submission_changed", kind=action, state=state.value)


async def _record_refusal(
    deps: Dependencies, this: _Request, planned: TransactionPlan, refused: ProgramRefused
) -> None:
    if isinstance(this.credential, Anonymous):
        return  # nobody has proved to have asked: there is no actor to record
    async with deps.database.transaction() as conn:
        await this.use_up(conn, refused)
        await this.audit(conn, planned, refused, program_error=program_error(refused))


async def simulate(deps: Dependencies, built: BuiltTransaction) -> BuiltTransaction:
    """Return the transaction with the compute budget that its simulation asks for.

    Raises ProgramRefused.
    """
    return await simulate_and_limit(
        deps.rpc,
        deps.programs,
        built,
        fees=deps.fees,
        caps=deps.operator.caps,
        extra_units=secrets.randbelow(UNIT_SPREAD),
    )


def _reply(
    planned: TransactionPlan, built: BuiltTransaction, signed: SignedByOperator | None
) -> Reply:
    if planned.proposed_to is not None:
        return _proposal_reply(built, planned.proposed_to)
    return _cosign_reply(built) if signed is None else _submitted_reply(signed.signature)


def _cosign_reply(built: BuiltTransaction) -> Reply:
    return Reply(
        schemas.CoSign(
            transaction=base64_text(built.unsigned_wire),
            instruction=instruction_reply(built.instruction),
            last_valid_block_height=built.last_valid_block_height,
        )
    )


def _proposal_reply(built: BuiltTransaction, governance: Pubkey) -> Reply:
    return Reply(
        schemas.Proposal(
            governance=str(governance),
            instructions=[instruction_reply(each) for each in (*built.setup, built.instruction)],
        )
    )


def _submitted_reply(signature: str, state: State = State.PENDING) -> Reply:
    return Reply(schemas.Submitted(signature=signature, status=state), 202)


def instruction_reply(instruction: Instruction) -> schemas.Instruction:
    """Return an instruction as clients see it."""
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
    """Return bytes as clients see them."""
    return base64.b64encode(raw).decode()
