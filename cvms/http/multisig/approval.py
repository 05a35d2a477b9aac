"""Approval of a proposed withdrawal: count the signer, build the transaction after the last one.

The chain is read before the database transaction. The transaction commits only if the proposal is
unchanged since then; otherwise the run starts again. Concurrent approvals are all counted and lead
to one transaction.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from solders.pubkey import Pubkey

from cvms.chain.transactions.versioned import BuiltTransaction
from cvms.chain.types import Slot
from cvms.errors import (
    Conflict,
    CvmsError,
    NotASigner,
    NotFound,
    ProgramRefused,
    ProposalCancelled,
    ProposalCompleted,
    ProposalExpired,
)
from cvms.http.auth.credential import Credential
from cvms.http.framework.dependencies import Dependencies
from cvms.http.framework.problems import response_of
from cvms.http.framework.response import Reply
from cvms.http.multisig.chain_state import multisig_of, next_transaction
from cvms.http.multisig.proposal_view import notify_signers, proposal_view, publish
from cvms.http.operations.idempotency import IdempotencyKey
from cvms.store.postgres.driver.connection import Connection
from cvms.store.security import audit_log
from cvms.store.submissions import multisig_proposals
from cvms.store.submissions.multisig_proposals import Proposal, ProposalState

MAX_RETRIES = 16
"""Ten signers can each approve and sign between one reading of a proposal and its change."""


class StaleProposal(Exception):
    """The proposal has changed since it was read."""


@dataclass(frozen=True, slots=True)
class ApprovalRun:
    """One signer's approval of a proposal. The credential has been checked."""

    deps: Dependencies
    proposal: UUID
    signer: str
    credential: Credential
    key: IdempotencyKey | None

    async def run(self) -> Reply:
        """Count the signer once, and build the transaction when enough signers have approved.

        Raises NotFound, NotASigner, ProposalEnded, and the errors of building a transaction.
        """
        return await retry_if_stale(self._run_once)

    async def _run_once(self) -> Reply:
        seen = await open_proposal(self.deps, self.proposal)
        if self.signer not in seen.signers:
            raise NotASigner(f"{self.signer} is not a signer of proposal {seen.id}.")
        try:
            await check_multisig(self.deps, seen)
        except ProposalCancelled as outcome:
            await self._cancel(seen, outcome)
            raise
        approvers = list(dict.fromkeys([*seen.approvals, self.signer]))
        try:
            built = await next_transaction(self.deps, seen, approvers)
        except ProgramRefused as refused:
            await self._refuse(seen, refused)
            raise
        return await self._write(seen, built)

    async def _write(self, seen: Proposal, built: BuiltTransaction | None) -> Reply:
        new = self.signer not in seen.approvals
        async with self._transaction() as conn:
            if new or built is not None:
                await lock(conn, seen)
            if new:
                await multisig_proposals.approve(conn, seen.id, self.signer)
            if built is not None:
                await set_transaction(conn, seen, built)
            now = await reload(conn, seen.id)
            answer = Reply(proposal_view(now, self.deps.programs.vault))
            await self._keep(conn, answer)
            if new:
                await publish(conn, "proposal.approval", now, signer=self.signer)
            if built is not None:
                event = "proposal.approved" if seen.transaction is None else "proposal.rebuilt"
                await notify_signers(conn, event, now)
            await record_audit(conn, self.credential.actor, "approve_withdraw", now, "accepted")
        return answer

    async def _cancel(self, seen: Proposal, outcome: ProposalCancelled) -> None:
        async with self._transaction() as conn:
            await cancel(conn, seen)
            await self._keep(conn, outcome)
            await record_audit(conn, self.credential.actor, "approve_withdraw", seen, "cancelled")

    async def _refuse(self, seen: Proposal, refused: ProgramRefused) -> None:
        """Keep the refusal as the reply; the approval that led to it does not count."""
        async with self._transaction() as conn:
            await self._keep(conn, refused)
            await record_audit(conn, self.credential.actor, "approve_withdraw", seen, "refused")

    @asynccontextmanager
    async def _transaction(self) -> AsyncIterator[Connection]:
        async with self.deps.database.transaction() as conn:
            await self.credential.consume(conn)
            yield conn

    async def _keep(self, conn: Connection, outcome: Reply | CvmsError) -> None:
        if self.key is not None:
            await self.key.store(conn, response_of(outcome))


async def retry_if_stale(attempt: Callable[[], Awaitable[Reply]]) -> Reply:
    """Repeat the attempt while it raises StaleProposal. Raises Conflict after too many."""
    for _ in range(MAX_RETRIES):
        with suppress(StaleProposal):
            return await attempt()
    raise Conflict("Too much happens to this proposal at once. Ask again in a moment.")


async def open_proposal(deps: Dependencies, proposal: UUID) -> Proposal:
    """Return the proposal while it takes approvals. Raises NotFound and ProposalEnded."""
    async with deps.database.connection() as conn:
        found = await multisig_proposals.get(conn, proposal)
    if found is None:
        raise unknown_proposal(proposal)
    match found.state:
        case ProposalState.EXPIRED:
            raise ProposalExpired(
                f"The proposal expired at {found.expires_at.isoformat()}; propose again."
            )
        case ProposalState.CANCELLED:
            raise cancelled()
        case ProposalState.SUBMITTED | ProposalState.EXECUTED:
            raise ProposalCompleted("The proposal has all its approvals and signatures already.")
    return found


async def check_multisig(deps: Dependencies, proposal: Proposal) -> None:
    """Raise ProposalCancelled if the vault's multisig has changed since the proposal."""
    owner = Pubkey.from_string(proposal.owner)
    now = await multisig_of(deps, owner, since=Slot(proposal.slot))
    signers = [Pubkey.from_string(each) for each in proposal.signers]
    if now is None or not now.same_as(proposal.threshold, signers):
        raise cancelled()


async def lock(conn: Connection, seen: Proposal) -> None:
    """Lock the proposal for a change. Raises StaleProposal."""
    if not await multisig_proposals.lock(conn, seen):
        raise StaleProposal


async def set_transaction(conn: Connection, seen: Proposal, built: BuiltTransaction) -> None:
    """Make this the proposal's transaction. Raises StaleProposal."""
    if not await multisig_proposals.set_transaction(
        conn,
        seen.id,
        message_hash=built.message_hash,
        message=bytes(built.message),
        last_valid_block_height=built.last_valid_block_height,
    ):
        raise StaleProposal


async def cancel(conn: Connection, seen: Proposal) -> None:
    """Cancel the proposal and notify its signers. Raises StaleProposal."""
    await lock(conn, seen)
    await multisig_proposals.cancel(conn, seen.id)
    await notify_signers(conn, "proposal.cancelled", await reload(conn, seen.id))


async def reload(conn: Connection, proposal: UUID) -> Proposal:
    """Return the proposal as this database transaction leaves it. Raises StaleProposal."""
    found = await multisig_proposals.get(conn, proposal)
    if found is None:
        raise StaleProposal
    return found


async def record_audit(
    conn: Connection,
    actor: str,
    action: str,
    proposal: Proposal,
    outcome: str,
    **details: Any,
) -> None:
    """Append to the audit log, last in the transaction."""
    await audit_log.record(
        conn,
        actor=actor,
        action=action,
        owner=proposal.owner,
        outcome=outcome,
        details={
            "proposal": str(proposal.id),
            "amount": proposal.amount,
            "approvals": list(proposal.approvals),
            **details,
        },
    )


def unknown_proposal(proposal: object) -> NotFound:
    return NotFound(f"There is no proposal {proposal}.")


def cancelled() -> ProposalCancelled:
    return ProposalCancelled("The vault's signers or threshold have changed since; propose again.")
