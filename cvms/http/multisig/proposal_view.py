"""The state of a proposal as clients see it: in replies and in webhook messages."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Literal

import msgspec
from msgspec import UNSET, UnsetType
from solders.instruction import Instruction
from solders.pubkey import Pubkey

from cvms.amounts import Amount
from cvms.chain.transactions.versioned import instructions_of
from cvms.chain.transactions.versioned import unsigned as unsigned_transaction
from cvms.chain.types import Commitment
from cvms.http.framework import schemas
from cvms.http.multisig.chain_state import cosigners, message_in
from cvms.http.operations.execute import base64_text, instruction_reply
from cvms.store.messaging import outbox, webhook_deliveries
from cvms.store.messaging.outbox import OutboxMessage
from cvms.store.messaging.topics import Topic
from cvms.store.postgres.driver.connection import Connection
from cvms.store.submissions.multisig_proposals import LiveTransaction, Proposal, ProposalState


class Approval(msgspec.Struct, frozen=True):
    """A signer who has approved."""

    signer: str
    approved_at: datetime


class ProposalView(msgspec.Struct, frozen=True, kw_only=True):
    """A proposed withdrawal: its approvals, and once there are enough, the transaction to sign.

    `missing` lists the signers who have not approved or, once there is a transaction, those who
    have not signed it. `mode` is present with a transaction: `cosign` while signatures are being
    collected, then `submitted`, with its `signature` and `status`.
    """

    proposal_id: str
    owner: str
    amount: Amount
    threshold: int
    signers: list[str]
    state: ProposalState
    approvals: list[Approval]
    missing: list[str]
    created_at: datetime
    expires_at: datetime
    mode: Literal["cosign", "submitted"] | UnsetType = UNSET
    transaction: str | UnsetType = UNSET
    instruction: schemas.Instruction | UnsetType = UNSET
    last_valid_block_height: int | UnsetType = UNSET
    must_sign: list[str] | UnsetType = UNSET
    signature: str | UnsetType = UNSET
    status: str | UnsetType = UNSET


class Notice(msgspec.Struct, frozen=True, kw_only=True):
    """The message to a signer's webhook. The proposal's route returns the rest."""

    event: str
    proposal_id: str
    owner: str
    amount: int
    threshold: int
    state: ProposalState
    missing: list[str]
    expires_at: datetime


def proposal_view(proposal: Proposal, vault_program: Pubkey) -> ProposalView:
    """Return the proposal with its transaction, if it has one."""
    view = ProposalView(
        proposal_id=str(proposal.id),
        owner=proposal.owner,
        amount=proposal.amount,
        threshold=proposal.threshold,
        signers=list(proposal.signers),
        state=proposal.state,
        approvals=[Approval(signer, at) for signer, at in proposal.approvals.items()],
        missing=missing(proposal),
        created_at=proposal.created_at,
        expires_at=proposal.expires_at,
    )
    live = proposal.transaction
    if live is None:
        return view
    if live.submission is not None:
        return msgspec.structs.replace(
            view,
            mode="submitted",
            must_sign=cosigners(live),
            signature=live.signature or "",
            status=live.submission,
        )
    if proposal.state not in {ProposalState.APPROVED, ProposalState.COLLECTING}:
        return view
    return msgspec.structs.replace(
        view,
        mode="cosign",
        transaction=unsigned(live),
        instruction=instruction_reply(_withdrawal(live, vault_program)),
        last_valid_block_height=live.last_valid_block_height,
        must_sign=cosigners(live),
    )


def missing(proposal: Proposal) -> list[str]:
    """Return who has not approved or, once there is a transaction, who has not signed it."""
    live = proposal.transaction
    if live is not None and live.submission is None:
        return [each for each in cosigners(live) if each not in live.signatures]
    return [each for each in proposal.signers if each not in proposal.approvals]


def unsigned(live: LiveTransaction) -> str:
    """Return the transaction in base64, without signatures."""
    return base64_text(bytes(unsigned_transaction(message_in(live))))


class ProposalEvent(msgspec.Struct, frozen=True, kw_only=True):
    """A change of a proposal, on the topic `multisig_event`. `signer` is who has caused it."""

    event: str | None = None
    proposal_id: str
    owner: str
    amount: int
    threshold: int
    signers: list[str]
    state: ProposalState
    approvals: list[str]
    missing: list[str]
    signer: str | None = None
    created_at: datetime
    expires_at: datetime


def proposal_event(
    proposal: Proposal, event: str | None = None, *, signer: str | None = None
) -> dict[str, Any]:
    """Return the data of a proposal's event; without one, of a snapshot."""
    data: dict[str, Any] = msgspec.to_builtins(
        ProposalEvent(
            event=event,
            proposal_id=str(proposal.id),
            owner=proposal.owner,
            amount=proposal.amount,
            threshold=proposal.threshold,
            signers=list(proposal.signers),
            state=proposal.state,
            approvals=list(proposal.approvals),
            missing=missing(proposal),
            signer=signer,
            created_at=proposal.created_at,
            expires_at=proposal.expires_at,
        )
    )
    return data


async def publish(
    conn: Connection, event: str, proposal: Proposal, *, signer: str | None = None
) -> None:
    """Publish the event on the topic `multisig_event`, late in the transaction."""
    message = OutboxMessage(
        topic=Topic.MULTISIG,
        owner=proposal.owner,
        slot=proposal.slot,
        signature=None,
        commitment=Commitment.CONFIRMED,
        data=proposal_event(proposal, event, signer=signer),
    )
    await outbox.append(conn, [message])


async def notify_signers(conn: Connection, event: str, proposal: Proposal) -> None:
    """Publish the event, and queue a webhook message about it to every signer."""
    notice = Notice(
        event=event,
        proposal_id=str(proposal.id),
        owner=proposal.owner,
        amount=proposal.amount,
        threshold=proposal.threshold,
        state=proposal.state,
        missing=missing(proposal),
        expires_at=proposal.expires_at,
    )
    body = msgspec.json.encode(notice).decode()
    await webhook_deliveries.add(conn, proposal.signers, event=event, body=body)
    await publish(conn, event, proposal)


def _withdrawal(live: LiveTransaction, vault_program: Pubkey) -> Instruction:
    """Return the instruction of the vault program; the others prepare for it, or guard it."""
    return next(
        each for each in instructions_of(message_in(live)) if each.program_id == vault_program
    )
