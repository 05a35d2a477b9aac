"""The plan that a signed transaction carries out, whatever the wallet has changed around it.

A plan is submitted once, in the form that comes first. What is signed stands in `wire` of its row,
and `message_hash` stays that of the plan: so a restart and every replica find the row by the plan,
by its form as it was planned, and by the message of the submitted form.
"""

from __future__ import annotations

from dataclasses import dataclass

from solders.instruction import Instruction
from solders.pubkey import Pubkey
from solders.transaction import VersionedTransaction

from cvms.chain.transactions.blockhash_age import last_height_of
from cvms.chain.transactions.sponsorship_policy import fee_within
from cvms.chain.transactions.versioned import (
    AnyMessage,
    message_hash,
    message_of,
    parse_wire,
    stored_message,
)
from cvms.chain.transactions.wallet_changes import find_difference, kept, planned_instructions
from cvms.chain.types import Commitment
from cvms.errors import InvalidRequest, TransactionExpired, UnknownTransaction
from cvms.http.framework.dependencies import Dependencies
from cvms.store.submissions import submissions
from cvms.store.submissions.submissions import State, Submission

EXPIRED = "The block hash of the transaction has expired; request a new one and sign that."


@dataclass(frozen=True, slots=True)
class SignedPlan:
    """A signed transaction, the submission of its plan, and until when it can land.

    `changed` if its message is not the planned one.
    """

    transaction: VersionedTransaction
    plan: Submission
    last_valid_block_height: int
    changed: bool = False


async def find_plan(deps: Dependencies, transaction: VersionedTransaction) -> SignedPlan:
    """Return the plan of a transaction; if it is submitted, as it was submitted.

    Raises UnknownTransaction without one, NotSponsored for a fee beyond the caps, and
    TransactionExpired for a plan or a blockhash that has expired.
    """
    message = message_of(transaction)
    async with deps.database.connection() as conn:
        exact = await submissions.get_by_message(conn, message_hash(message))
    if exact is not None:
        return SignedPlan(transaction, exact, exact.last_valid_block_height)
    instructions = _planned(deps, message)
    async with deps.database.connection() as conn:
        plans = await submissions.get_plans(
            conn,
            owners=[str(each) for each in message.account_keys],
            data=bytes(instructions[-1].data),
            submitted=message_hash(message),
        )
    for each in plans:
        if each.wire is not None and message_of(parse_wire(each.wire)) == message:
            return SignedPlan(transaction, each, each.last_valid_block_height, changed=True)
    plan = _closest(deps, message, plans)
    if await deps.rpc.get_block_height(Commitment.CONFIRMED) > plan.last_valid_block_height:
        raise TransactionExpired(EXPIRED)
    last = await changed_until(deps, message_in(plan), message, plan.last_valid_block_height)
    return SignedPlan(transaction, plan, last, changed=True)


async def changed_until(
    deps: Dependencies, planned: AnyMessage, message: AnyMessage, last_valid_block_height: int
) -> int:
    """Return the height until which a changed message can land.

    Raises NotSponsored for a fee beyond the caps, TransactionExpired for an unknown blockhash.
    """
    fee_within(message, deps.operator.caps)
    if message.recent_blockhash == planned.recent_blockhash:
        return last_valid_block_height
    last = await last_height_of(deps.rpc, message.recent_blockhash)
    if last is None:
        raise TransactionExpired(
            "The block hash that the wallet has put into the transaction is not valid: it has "
            "expired, or is newer than what this service has seen. Sign and post it again."
        )
    return last


def _planned(deps: Dependencies, message: AnyMessage) -> list[Instruction]:
    try:
        instructions = planned_instructions(message, deps.operator.guards)
    except InvalidRequest as refused:
        raise unknown(str(refused)) from None
    if not instructions:
        raise unknown("it has no instruction of a plan")
    return instructions


def _closest(deps: Dependencies, message: AnyMessage, plans: list[Submission]) -> Submission:
    """Return the plan that the message carries out: of equal plans, the one that it was made from.

    If that cannot be known, it is the newest that is not submitted. Raises UnknownTransaction
    without one.
    """
    found, difference = [], "there is no plan with its instructions that is not submitted"
    for plan in plans:
        planned = message_in(plan)
        reason = find_difference(
            planned,
            message,
            operator=deps.operator.payer_in(planned),
            owner=Pubkey.from_string(plan.owner),
            programs=deps.programs,
            guards=deps.operator.guards,
        )
        if reason is None:
            found.append(plan)
        else:
            difference = reason
    if not found:
        raise unknown(difference)
    closest = max(found, key=lambda each: (*kept(message_in(each), message), _is_open(each)))
    if not _is_open(closest):
        raise unknown("its plan has been submitted, in another form")
    return closest


def _is_open(plan: Submission) -> bool:
    return plan.state is State.BUILT


def message_in(plan: Submission) -> AnyMessage:
    """Return the message as it was planned."""
    return stored_message(plan.message, plan.message_hash)


def unknown(reason: str) -> UnknownTransaction:
    return UnknownTransaction(
        "This service did not plan this transaction, or the wallet has changed what it must not: "
        f"{reason}. Sign the transaction of a reply."
    )
