"""Routes of multisig withdrawals: propose, approve, and get a proposal."""

from __future__ import annotations

from datetime import timedelta
from uuid import UUID, uuid4

import msgspec
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
from cvms.http.auth.credential import Credential
from cvms.http.auth.signed_body import Signed, SignedBody
from cvms.http.framework.dependencies import Dependencies
from cvms.http.framework.operation_metrics import counted
from cvms.http.framework.problems import response_of, unknown_vault
from cvms.http.framework.request import (
    Signers,
    Threshold,
    TokenAmount,
    Uuid,
)
from cvms.http.framework.response import Reply, Response
from cvms.http.framework.routing import Auth, RouteGroup
from cvms.http.multisig.approval import ApprovalRun, record_audit, reload, unknown_proposal
from cvms.http.multisig.chain_state import Multisig, build_withdrawal, multisig_of
from cvms.http.multisig.proposal_view import ProposalView, notify_signers, proposal_view
from cvms.http.operations.execute import SIGNED_REFUSALS
from cvms.http.operations.idempotency import IdempotencyKey, replay_or_run
from cvms.store.submissions import multisig_proposals

MAX_UNFINISHED = 64
"""Unfinished proposals of one vault: each sends messages to signers, who did not ask for them."""

ROUTES = RouteGroup("multisig", replies={200: ProposalView})


class Propose(Signed, frozen=True, kw_only=True):
    amount: TokenAmount
    threshold: Threshold | None = None
    signers: Signers | None = None


class Approve(SignedBody, frozen=True):
    proposal_id: Uuid
    signer: Pubkey


@ROUTES.post(
    "/api/vault/propose-withdraw",
    refusals=(*SIGNED_REFUSALS, VaultNotFound, NotFound, NoMultisig, MultisigMismatch, Conflict),
    auth=Auth.WALLET,
    sensitive=True,
    idempotent=True,
    name="propose_withdrawal",
)
async def propose(deps: Dependencies, body: Propose) -> Reply | Response:
    """Propose a multisig withdrawal.

    The signers of the vault's multisig may then approve it; the tokens go to the owner. The
    signed text has the threshold on chain if the body has none. 409 if `threshold` or `signers`
    differ from those on chain.
    """

    async def operation(key: IdempotencyKey | None) -> Reply:
        threshold = body.threshold
        if threshold is None:
            threshold = (await _multisig(deps, body.owner)).threshold
        signed = body.request("propose_withdraw", threshold=threshold)
        await signed.check(deps)
        multisig = await _multisig(deps, body.owner)
        if not multisig.same_as(threshold, body.signers or multisig.signers):
            names = ", ".join(map(str, multisig.signers))
            raise MultisigMismatch(
                f"On chain, the threshold is {multisig.threshold} of these signers: {names}. "
                "Propose with these values, or omit them."
            )
        await _check_size(deps, body, multisig)
        return await _add(deps, body, multisig, signed, key)

    with counted(deps, "propose_withdraw"):
        return await replay_or_run(deps, str(body.owner), operation)


@ROUTES.post(
    "/api/vault/approve-withdraw",
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
    name="approve_withdrawal",
)
async def approve(deps: Dependencies, body: Approve) -> Reply | Response:
    """Approve a multisig withdrawal.

    The signer signs, with a nonce issued to the signer.
    The approval that reaches the threshold is simulated: if the chain would reject the withdrawal,
    the approval does not count. The reply then has the transaction, which the signers in
    `must_sign` sign and post to `/api/transactions`.

    A second approval of the same signer does not count, but replaces a transaction that has
    expired.
    """
    signed = body.request("approve_withdraw")

    async def operation(key: IdempotencyKey | None) -> Reply:
        await signed.check(deps)
        proposal, signer = UUID(body.proposal_id), str(body.signer)
        return await ApprovalRun(deps, proposal, signer, signed, key).run()

    with counted(deps, "approve_withdraw"):
        return await replay_or_run(deps, str(body.signer), operation)


@ROUTES.get("/api/vault/proposal/<proposal_id>", refusals=(NotFound,))
async def get_proposal(deps: Dependencies, proposal_id: str) -> Reply:
    """Get a proposal.

    Returns its approvals, and its transaction with the status of that, if there is one.
    """
    try:
        decoded = msgspec.convert(proposal_id, Uuid)
    except msgspec.ValidationError:
        problem = FieldProblem("proposal_id", "Expected a UUID in lower case")
        raise InvalidRequest("`proposal_id` must be a UUID in lower case.", [problem]) from None
    async with deps.database.connection() as conn:
        proposal = await multisig_proposals.get(conn, UUID(decoded))
    if proposal is None:
        raise unknown_proposal(decoded)
    return Reply(proposal_view(proposal, deps.programs.vault))


async def _multisig(deps: Dependencies, owner: Pubkey) -> Multisig:
    multisig = await multisig_of(deps, owner)
    if multisig is None:
        raise unknown_vault(str(owner))
    if multisig.threshold == 0:
        raise NoMultisig(
            f"The vault of {owner} has no multisig. Withdraw with POST /api/vault/withdraw."
        )
    return multisig


async def _check_size(deps: Dependencies, body: Propose, multisig: Multisig) -> None:
    """Raise InvalidRequest if the signatures would not fit into the transaction later."""
    longest = sorted(multisig.signers, key=lambda each: each == body.owner)
    built = await build_withdrawal(deps, body.owner, body.amount, longest[: multisig.threshold])
    with_budget(built, compute_unit_limit=MAX_COMPUTE_UNITS, compute_unit_price=1)


async def _add(
    deps: Dependencies,
    body: Propose,
    multisig: Multisig,
    requester: Credential,
    key: IdempotencyKey | None,
) -> Reply:
    owner, proposal_id = str(body.owner), uuid4()
    async with deps.database.transaction() as conn:
        await requester.consume(conn)
        if len(await multisig_proposals.unfinished(conn, owner)) >= MAX_UNFINISHED:
            raise Conflict(
                f"The vault has {MAX_UNFINISHED} unfinished proposals, the maximum. Wait until "
                "some are executed or expire."
            )
        await multisig_proposals.add(
            conn,
            id=proposal_id,
            owner=owner,
            amount=body.amount,
            threshold=multisig.threshold,
            signers=list(map(str, multisig.signers)),
            slot=multisig.slot,
            lifetime=timedelta(seconds=deps.config.proposal_ttl),
        )
        proposal = await reload(conn, proposal_id)
        reply = Reply(proposal_view(proposal, deps.programs.vault))
        if key is not None:
            await key.store(conn, response_of(reply))
        await notify_signers(conn, "proposal.created", proposal)
        await record_audit(
            conn,
            requester.actor,
            "propose_withdraw",
            proposal,
            "accepted",
            threshold=proposal.threshold,
            signers=list(proposal.signers),
        )
    return reply
