"""The routes of withdrawals that several must sign: propose, approve, look."""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated
from uuid import UUID, uuid4

import msgspec
from quart import Response
from solders.pubkey import Pubkey

from cvms.chain.transactions.versioned import MAX_COMPUTE_UNITS, with_budget
from cvms.errors import (
    Conflict,
    FieldProblem,
    InvalidRequest,
    MultisigMismatch,
    NoMultisig,
    NotASigner,
    NotFound,
    ProposalCancelled,
    ProposalCompleted,
    ProposalExpired,
    TransactionExpired,
    VaultNotFound,
)
from cvms.http.auth.requester import Credential, SignedRequest
from cvms.http.auth.signed_body import Signed
from cvms.http.auth.wallet_signature import signed_text
from cvms.http.framework.dependencies import Dependencies
from cvms.http.framework.operation_metrics import counted
from cvms.http.framework.request import Body, Nonce, SignInMessage, TokenAmount, WalletSignature
from cvms.http.framework.response import Reply, response_of
from cvms.http.framework.routing import Auth, Route
from cvms.http.multisig.approval import ApprovalRun, record_audit, reload, unknown_proposal
from cvms.http.multisig.chain_state import Multisig, multisig_of, withdrawal
from cvms.http.multisig.proposal_view import Standing, notify_signers, proposal_view
from cvms.http.operations.execute import SIGNED_REFUSALS
from cvms.http.operations.idempotency import IdempotencyKey, key_of_request, replay_or_run
from cvms.store.submissions import multisig_proposals

MOST_SIGNERS = 10
MOST_UNFINISHED = 64
"""Proposals of one vault at a time: each tells its signers, who are others."""

UUID_PATTERN = "[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}"

ProposalId = Annotated[str, msgspec.Meta(pattern=rf"^{UUID_PATTERN}\Z")]
Threshold = Annotated[int, msgspec.Meta(ge=1, le=MOST_SIGNERS)]
Signers = Annotated[tuple[Pubkey, ...], msgspec.Meta(min_length=1, max_length=MOST_SIGNERS)]


class Propose(Signed, frozen=True, kw_only=True):
    amount: TokenAmount
    threshold: Threshold | None = None
    signers: Signers | None = None


class Approve(Body, frozen=True):
    proposal_id: ProposalId
    signer: Pubkey
    nonce: Nonce
    signature: WalletSignature
    message: SignInMessage | None = None


async def propose(deps: Dependencies, body: Propose) -> Reply | Response:
    """Propose a withdrawal to the signers of the vault's multisig.

    The text to sign names the threshold on chain, also where the body leaves it out.
    """
    with counted(deps, "propose_withdraw"):
        key = await key_of_request(str(body.owner))

        async def act() -> Reply:
            threshold = body.threshold
            if threshold is None:
                threshold = (await _multisig(deps, body.owner)).threshold
            signed = body.request("propose_withdraw", body.amount, threshold)
            await signed.check(deps)
            multisig = await _multisig(deps, body.owner)
            if not multisig.same_as(threshold, body.signers or multisig.signers):
                raise MultisigMismatch(_as_it_is(multisig))
            await _check_size(deps, body, multisig)
            return await _add(deps, body, multisig, signed, key)

        return await replay_or_run(deps, key, act)


async def approve(deps: Dependencies, body: Approve) -> Reply | Response:
    """Approve a proposed withdrawal, with a nonce that was issued to the signer.

    When enough have, the reply carries the transaction that they sign. To approve again counts for
    nothing, but gets a new transaction where the one before has expired.
    """
    text = signed_text("approve_withdraw", body.proposal_id, body.nonce)
    signed = SignedRequest(body.signer, text, body.nonce, body.signature, body.message)
    with counted(deps, "approve_withdraw"):
        key = await key_of_request(str(body.signer))

        async def act() -> Reply:
            await signed.check(deps)
            proposal, signer = UUID(body.proposal_id), str(body.signer)
            return await ApprovalRun(deps, proposal, signer, signed, key).run()

        return await replay_or_run(deps, key, act)


async def get_proposal(deps: Dependencies, proposal_id: str) -> Reply:
    """Where a proposal stands: who has approved, the transaction, and what became of it."""
    try:
        decoded = msgspec.convert(proposal_id, ProposalId)
    except msgspec.ValidationError:
        problem = FieldProblem("proposal_id", "Expected a UUID in lower case")
        raise InvalidRequest("The path is malformed.", [problem]) from None
    async with deps.database.connection() as conn:
        found = await multisig_proposals.get(conn, UUID(decoded))
    if found is None:
        raise unknown_proposal(decoded)
    return Reply(proposal_view(found))


async def _multisig(deps: Dependencies, owner: Pubkey) -> Multisig:
    multisig = await multisig_of(deps, owner)
    if multisig is None:
        raise VaultNotFound(f"{owner} has no vault; initialize one first.")
    if multisig.threshold == 0:
        raise NoMultisig(f"The vault of {owner} has no multisig: its owner withdraws alone.")
    return multisig


def _as_it_is(multisig: Multisig) -> str:
    signers = ", ".join(map(str, multisig.signers))
    return f"On chain {multisig.threshold} of these must sign: {signers}."


async def _check_size(deps: Dependencies, body: Propose, multisig: Multisig) -> None:
    """Raise InvalidRequest now, when later so many signatures would not fit in a transaction."""
    longest = sorted(multisig.signers, key=lambda each: each == body.owner)
    built = await withdrawal(deps, body.owner, body.amount, longest[: multisig.threshold])
    with_budget(built, compute_unit_limit=MAX_COMPUTE_UNITS, compute_unit_price=1)


async def _add(
    deps: Dependencies,
    body: Propose,
    multisig: Multisig,
    requester: Credential,
    key: IdempotencyKey | None,
) -> Reply:
    owner, new = str(body.owner), uuid4()
    async with deps.database.transaction() as conn:
        await requester.consume(conn)
        if await multisig_proposals.unfinished(conn, owner) >= MOST_UNFINISHED:
            raise Conflict(
                f"{MOST_UNFINISHED} proposals of this vault wait; let some expire first."
            )
        await multisig_proposals.add(
            conn,
            id=new,
            owner=owner,
            amount=body.amount,
            threshold=multisig.threshold,
            signers=list(map(str, multisig.signers)),
            slot=multisig.slot,
            lifetime=timedelta(seconds=deps.config.proposal_ttl),
        )
        written = await reload(conn, new)
        answer = Reply(proposal_view(written))
        if key is not None:
            await key.store(conn, response_of(answer))
        await notify_signers(conn, "proposal.created", written)
        await record_audit(
            conn,
            requester.actor,
            "propose_withdraw",
            written,
            "accepted",
            threshold=written.threshold,
            signers=list(written.signers),
        )
    return answer


ROUTES = (
    Route(
        method="POST",
        rule="/api/vault/propose-withdraw",
        handler=propose,
        body=Propose,
        replies={200: Standing},
        refusals=(*SIGNED_REFUSALS, VaultNotFound, NoMultisig, MultisigMismatch, Conflict),
        auth=Auth.WALLET,
        sensitive=True,
        idempotent=True,
        tags=("multisig",),
    ),
    Route(
        method="POST",
        rule="/api/vault/approve-withdraw",
        handler=approve,
        body=Approve,
        replies={200: Standing},
        refusals=(
            *SIGNED_REFUSALS,
            NotFound,
            NotASigner,
            ProposalExpired,
            ProposalCancelled,
            ProposalCompleted,
            TransactionExpired,
            Conflict,
        ),
        auth=Auth.WALLET,
        sensitive=True,
        idempotent=True,
        tags=("multisig",),
    ),
    Route(
        method="GET",
        rule="/api/vault/proposal/<proposal_id>",
        handler=get_proposal,
        replies={200: Standing},
        refusals=(NotFound,),
        tags=("multisig",),
    ),
)
