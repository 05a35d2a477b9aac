"""A withdrawal by several signers, on the chain's side.

The service always pays the fee, so that no transaction of a proposal lands without its signature,
which is added last and stored before anything is sent: what became of each is known.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum, auto

from solders.message import MessageV0
from solders.pubkey import Pubkey

from cvms.chain.program.accounts import read_vault
from cvms.chain.program.addresses import vault_address
from cvms.chain.rpc.chain_tips import read_tips
from cvms.chain.transactions.vault_builders import prepare_withdraw
from cvms.chain.transactions.versioned import BuiltTransaction, required_signers
from cvms.chain.types import Commitment, Slot
from cvms.errors import ProposalCompleted, TransactionExpired
from cvms.http.framework.dependencies import Dependencies
from cvms.http.operations.execute import simulate
from cvms.store.submissions.multisig_proposals import LiveTransaction, Proposal


@dataclass(frozen=True, slots=True)
class Multisig:
    """A vault's multisig as it was in `slot`; with a threshold of zero there is none."""

    threshold: int
    signers: tuple[Pubkey, ...]
    slot: Slot

    def same_as(self, threshold: int, signers: Sequence[Pubkey]) -> bool:
        """Whether it is this one; the order of the signers means nothing."""
        return self.threshold == threshold and sorted(map(str, self.signers)) == sorted(
            map(str, signers)
        )


async def multisig_of(
    deps: Dependencies, owner: Pubkey, *, since: Slot | None = None
) -> Multisig | None:
    """The multisig of the owner's vault now, not before the slot `since`; None without a vault."""
    found = await deps.rpc.get_accounts(
        [vault_address(deps.programs, owner)],
        commitment=Commitment.CONFIRMED,
        min_context_slot=since,
    )
    vault = read_vault(found.accounts[0], deps.programs)
    if vault is None:
        return None
    return Multisig(vault.multisig_threshold, vault.multisig_signers, found.slot)


async def withdrawal(
    deps: Dependencies, owner: Pubkey, amount: int, signers: Sequence[Pubkey]
) -> BuiltTransaction:
    """A withdrawal to the owner by these signers. Raises InvalidRequest when they are too many,
    SponsorshipPaused while the service pays no fees.
    """
    deps.operator.require_pays()
    # Where the owner's token account has to be made, one who signs anyway pays for it: what the
    # service paid could be had by closing the account, again and again.
    authority, *others = sorted(signers, key=lambda each: each != owner)
    return await prepare_withdraw(
        deps.rpc,
        deps.programs,
        owner=owner,
        recipient=owner,
        amount=amount,
        authority=authority,
        fee_payer=deps.operator.address,
        rent_payer=authority,
        extra_signers=others,
    )


def cosigners(live: LiveTransaction) -> list[str]:
    """Who has to sign the transaction beside the service."""
    _operator, *others = required_signers(MessageV0.from_bytes(live.message))
    return [str(each) for each in others]


def to_sign(proposal: Proposal, approvers: Sequence[str]) -> list[str]:
    """Who of those who approved is to sign the next transaction: as many as must.

    First whoever has signed the last one, then whoever was not asked to, so that nobody who is
    away can hold it up for ever.
    """
    last = proposal.transaction
    signed, asked = (last.signatures, cosigners(last)) if last is not None else ({}, [])
    ranked = sorted(approvers, key=lambda each: (each not in signed, each in asked))
    return ranked[: proposal.threshold]


class Liveness(Enum):
    """Whether a transaction can land, or has."""

    VALID = auto()
    EXPIRING = auto()  # a block that holds it may still come out, on some fork
    LANDED = auto()
    EXPIRED = auto()


async def liveness_of(deps: Dependencies, live: LiveTransaction) -> Liveness:
    """Whether the transaction can still land, or has."""
    last = live.last_valid_block_height
    # The heights before the status: what is not there after its last block never will be.
    tips = await read_tips(deps.rpc)
    if tips.confirmed.height <= last:
        return Liveness.VALID
    if tips.finalized.height <= last:
        return Liveness.EXPIRING
    message = MessageV0.from_bytes(live.message)
    signature = deps.operator.id_of(message)
    seen = await deps.rpc.statuses_everywhere([signature], min_context_slot=tips.slot)
    [status] = seen.statuses
    if status is not None:
        return Liveness.LANDED if status.err is None else Liveness.EXPIRED
    # A node that is behind knows nothing of it either.
    return Liveness.EXPIRED if seen.slot >= tips.slot else Liveness.EXPIRING


async def next_transaction(
    deps: Dependencies, proposal: Proposal, approvers: Sequence[str]
) -> BuiltTransaction | None:
    """The transaction that these approvers are to sign now; None while it is not time for one, or
    the one that is there is good.

    Another is built only once the one before can never land. Raises TransactionExpired while that
    is not certain, ProgramRefused, and InvalidRequest.
    """
    if len(approvers) < proposal.threshold:
        return None
    live = proposal.transaction
    if live is not None:
        chance = await liveness_of(deps, live)
        if chance is Liveness.VALID and live.submission is None:
            return None
        if chance is Liveness.LANDED:
            raise ProposalCompleted("Its transaction has landed already.")
        if chance is not Liveness.EXPIRED:
            raise TransactionExpired(
                "Its transaction cannot be signed any more, and another can be built once it is "
                "certain that it has not landed. Ask again in a few seconds."
            )
    signers = [Pubkey.from_string(each) for each in to_sign(proposal, approvers)]
    owner = Pubkey.from_string(proposal.owner)
    return await simulate(deps, await withdrawal(deps, owner, proposal.amount, signers))
