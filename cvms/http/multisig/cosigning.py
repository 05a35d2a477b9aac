"""Co-signing of a proposal's transaction: each signer posts a signature, the service adds the last.

A transaction whose block hash has expired is replaced once it can never land; the signatures of the
old one are void then. What the wallet of the first signer makes of the transaction takes its place:
the others sign that. Nothing is signed by the service twice, so at most one of them lands.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from uuid import UUID

import structlog
from solders.pubkey import Pubkey
from solders.signature import Signature
from solders.transaction import VersionedTransaction

from cvms.chain.program.program_errors import to_program_error
from cvms.chain.transactions.signed_simulation import payer_spends, simulate_signed
from cvms.chain.transactions.versioned import (
    AnyMessage,
    BuiltTransaction,
    message_hash,
    message_of,
    required_signers,
    stored_message,
    verify_signatures,
)
from cvms.chain.transactions.wallet_changes import find_difference, kept, planned_instructions
from cvms.errors import InvalidRequest, InvalidSignature, ProposalCancelled, ProposalCompleted
from cvms.http.framework.dependencies import Dependencies
from cvms.http.framework.request import request_origin
from cvms.http.framework.response import Reply
from cvms.http.framework.schemas import Accepted
from cvms.http.multisig.approval import (
    StaleProposal,
    cancel,
    check_multisig,
    lock,
    open_proposal,
    record_audit,
    reload,
    retry_if_stale,
    set_transaction,
)
from cvms.http.multisig.chain_state import cosigners, message_in, next_transaction
from cvms.http.multisig.proposal_view import missing, notify_signers, publish, unsigned
from cvms.http.operations.signed_plans import changed_until
from cvms.log.fields import bind_log_fields
from cvms.store.postgres.driver.connection import Connection
from cvms.store.submissions import multisig_proposals, submissions
from cvms.store.submissions.multisig_proposals import LiveTransaction, Proposal
from cvms.store.submissions.submissions import Submission

log = structlog.get_logger(__name__)

KIND = "multisig_withdraw"
EMPTY = Signature.default()


@dataclass(frozen=True, slots=True)
class CoSigningRun:
    """One posted copy of a proposal's transaction, with at least one valid signature.

    `changed` if no such transaction was built: a wallet has changed the proposal's.
    """

    deps: Dependencies
    proposal: UUID
    message: AnyMessage
    signatures: Mapping[str, bytes]
    changed: bool = False

    @property
    def message_hash(self) -> bytes:
        return message_hash(self.message)

    @property
    def actor(self) -> str:
        """The first of the signers, for the audit log."""
        return min(self.signatures)

    async def run(self) -> Reply:
        """Store new signatures, submit a complete transaction, replace an expired one.

        Raises ProposalEnded, ProgramRefused, and TransactionExpired while an expired transaction
        may still land.
        """
        try:
            return await retry_if_stale(self._run_once)
        except ProposalCompleted:
            # An equal request may have been faster, after this one has looked.
            submitted = await self._submitted()
            if submitted is None:
                raise
            return submitted

    async def _run_once(self) -> Reply:
        submitted = await self._submitted()
        if submitted is not None:
            return submitted
        seen = await open_proposal(self.deps, self.proposal)
        try:
            await check_multisig(self.deps, seen)
        except ProposalCancelled:
            await self._cancel(seen)
            raise
        rebuilt = await next_transaction(self.deps, seen, list(seen.approvals))
        if rebuilt is not None:
            return await self._replace(seen, rebuilt)
        live = seen.transaction
        assert live is not None, "a posted transaction has not been removed, only replaced"
        if self.changed and not live.signatures:
            live = await self._as_changed(live)
        if live.message_hash != self.message_hash:
            return collecting(seen, rebuilt=True)
        together = {**self.signatures, **live.signatures}
        if set(together) == set(cosigners(live)):
            return await self._submit(seen, live, together)
        if together.keys() == live.signatures.keys():
            return collecting(seen, rebuilt=False)
        return await self._keep(seen, live)

    async def _as_changed(self, live: LiveTransaction) -> LiveTransaction:
        """Return the proposal's transaction as the wallet of its first signer has changed it.

        Raises ProgramRefused if it fails, so that no signer blocks the others with it.
        """
        last = await changed_until(
            self.deps, message_in(live), self.message, live.last_valid_block_height
        )
        result = await simulate_signed(self.deps.rpc, self.message, last_valid_block_height=last)
        if result.err is not None:
            raise to_program_error(result.err, result.logs, self.deps.programs)
        return replace(
            live,
            message_hash=self.message_hash,
            message=bytes(self.message),
            last_valid_block_height=last,
        )

    async def _lock(self, conn: Connection, seen: Proposal, live: LiveTransaction) -> None:
        """Lock the proposal, and make `live` its transaction. Raises StaleProposal."""
        await lock(conn, seen)
        if live is not seen.transaction and not await multisig_proposals.set_transaction(
            conn,
            seen.id,
            message_hash=live.message_hash,
            message=live.message,
            last_valid_block_height=live.last_valid_block_height,
        ):
            raise StaleProposal

    async def _submitted(self) -> Reply | None:
        """Return the earlier reply if this transaction has been submitted already."""
        async with self.deps.database.connection() as conn:
            found = await submissions.get_by_message(conn, self.message_hash)
        if found is None or found.state is submissions.State.EXPIRED:
            return None
        return Reply(Accepted(found.signature, found.state), 202)

    async def _keep(self, seen: Proposal, live: LiveTransaction) -> Reply:
        async with self.deps.database.transaction() as conn:
            await self._lock(conn, seen, live)
            await multisig_proposals.sign(conn, self.message_hash, self.signatures)
            now = await reload(conn, seen.id)
            signers = sorted(self.signatures)
            await publish(conn, "proposal.signature", now, signer=self.actor)
            await record_audit(conn, self.actor, "cosign", now, "accepted", signers=signers)
        return collecting(now, rebuilt=False)

    async def _submit(
        self, seen: Proposal, live: LiveTransaction, signatures: Mapping[str, bytes]
    ) -> Reply:
        """Add the operator's signature, store the signed bytes, and wake the submitter."""
        assembled = _assembled(live, signatures)
        message = message_of(assembled)
        result = await simulate_signed(
            self.deps.rpc, message, last_valid_block_height=live.last_valid_block_height
        )
        if result.err == "AlreadyProcessed":
            raise StaleProposal  # an equal request was faster, and its transaction has landed
        if result.err is not None:
            raise to_program_error(result.err, result.logs, self.deps.programs)
        spends = await payer_spends(self.deps.rpc, message, result)
        self.deps.operator.check_spending(message, spends)
        signed = await self.deps.operator.sign(assembled, acts=False)

        async def store(conn: Connection) -> Submission:
            await self._lock(conn, seen, live)
            await multisig_proposals.sign(conn, live.message_hash, self.signatures)
            stored = await submissions.record_signed(
                conn,
                message_hash=live.message_hash,
                kind=KIND,
                owner=seen.owner,
                message=live.message,
                signature=signed.signature,
                wire=signed.wire,
                last_valid_block_height=live.last_valid_block_height,
                amount=seen.amount,
                # The transaction was built after the proposal.
                since_slot=seen.slot,
                origin=request_origin(),
            )
            await self.deps.operator.charge(conn, signed, owner=seen.owner)
            now = await reload(conn, seen.id)
            await notify_signers(conn, "proposal.submitted", now)
            details = {"kind": KIND, "tx": signed.signature, "signers": sorted(signatures)}
            await record_audit(conn, self.actor, "submit", now, "accepted", **details)
            return stored

        stored = await self.deps.database.transact(store)
        bind_log_fields(owner=seen.owner, signature=signed.signature)
        log.info("submission_changed", kind=KIND, state=stored.state.value)
        self.deps.submit_wake.wake()
        return Reply(Accepted(stored.signature, stored.state), 202)

    async def _replace(self, seen: Proposal, built: BuiltTransaction) -> Reply:
        async with self.deps.database.transaction() as conn:
            await lock(conn, seen)
            await set_transaction(conn, seen, built)
            now = await reload(conn, seen.id)
            await notify_signers(conn, "proposal.rebuilt", now)
            await record_audit(conn, self.actor, "rebuild", now, "accepted")
        return collecting(now, rebuilt=True)

    async def _cancel(self, seen: Proposal) -> None:
        async with self.deps.database.transaction() as conn:
            await cancel(conn, seen)
            await record_audit(conn, self.actor, "cosign", seen, "cancelled")


async def find_changed(deps: Dependencies, transaction: VersionedTransaction) -> UUID | None:
    """Return the proposal whose transaction the wallets that have signed have changed to this.

    Of equal ones it is the one that it was made from; if that cannot be known, the oldest open one.
    """
    message, wallets = message_of(transaction), verify_signatures(transaction)
    guards = deps.operator.guards
    try:
        planned = planned_instructions(message, guards)
    except InvalidRequest:
        return None
    if not planned:
        return None
    data, signers = bytes(planned[-1].data), [str(each) for each in wallets]
    found = []
    async with deps.database.connection() as conn:
        for each in await multisig_proposals.by_data(conn, signers=signers, data=data):
            proposal = await multisig_proposals.get(conn, each)
            if proposal is not None and proposal.transaction is not None:
                planned_message = message_in(proposal.transaction)
                difference = find_difference(
                    planned_message,
                    message,
                    operator=deps.operator.payer_in(planned_message),
                    owner=Pubkey.from_string(proposal.owner),
                    programs=deps.programs,
                    guards=guards,
                    wallets=wallets,
                )
                if difference is None:
                    forms = [
                        kept(stored_message(past.message, past.message_hash), message)
                        for past in await multisig_proposals.messages(conn, each)
                    ]
                    # A limit alone tells nothing: a wallet has made some of them, with its own.
                    same_blockhash = any(blockhash for _, blockhash in forms)
                    rank = (same_blockhash, (True, True) in forms, not proposal.transaction.final)
                    found.append((rank, each))
    return max(found, key=lambda each: each[0])[1] if found else None


def collecting(proposal: Proposal, *, rebuilt: bool) -> Reply:
    """Return the reply that names the missing signers and has the transaction to sign."""
    live = proposal.transaction
    assert live is not None
    accepted = Accepted(
        None,
        "collecting",
        proposal_id=str(proposal.id),
        missing=missing(proposal),
        rebuilt=rebuilt,
        transaction=unsigned(live),
        last_valid_block_height=live.last_valid_block_height,
    )
    return Reply(accepted, 202)


def signatures_in(transaction: VersionedTransaction, operator: Pubkey) -> dict[str, bytes]:
    """Return the signatures in the transaction by signer, without the operator's.

    Raises InvalidSignature if there is none, or if one does not verify.
    """
    signers = [str(each) for each in required_signers(message_of(transaction))]
    valid = {str(each) for each in verify_signatures(transaction)}
    given = {
        signer: bytes(signature)
        for signer, signature in zip(signers, transaction.signatures, strict=True)
        if signature != EMPTY and signer != str(operator)
    }
    for signer in given:
        if signer not in valid:
            raise InvalidSignature(f"The signature of {signer} does not verify.")
    if not given:
        raise InvalidSignature("The transaction has no signature; add at least your own.")
    return given


def _assembled(live: LiveTransaction, signatures: Mapping[str, bytes]) -> VersionedTransaction:
    message = message_in(live)
    signers = map(str, required_signers(message))
    placed = [
        Signature.from_bytes(signatures[each]) if each in signatures else EMPTY for each in signers
    ]
    return VersionedTransaction.populate(message, placed)
