"""Multisig withdrawals on chain: the vault's multisig, and the transactions of a proposal.

The service always pays the fee, so no transaction of a proposal lands without its signature. It
signs last and stores the transaction before sending it, so the outcome of each is known.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum, auto

from solders.pubkey import Pubkey

from cvms.chain.program.accounts import read_vault
from cvms.chain.program.addresses import vault_address
from cvms.chain.rpc.evidence.chain_tips import read_tips
from cvms.chain.transactions.vault_builders import prepare_withdraw
from cvms.chain.transactions.versioned import (
    AnyMessage,
    BuiltTransaction,
    required_signers,
    stored_message,
)
from cvms.chain.types import Commitment, Slot
from cvms.errors import ProposalCompleted, TransactionExpired
from cvms.http.framework.dependencies import Dependencies
from cvms.http.operations.execute import simulate
from cvms.store.submissions.multisig_proposals import LiveTransaction, Proposal
from cvms.store.submissions.submissions import State


@dataclass(frozen=True, slots=True)
class Multisig:
    """A vault's multisig as of `slot`. A threshold of zero means that there is none."""

    threshold: int
    signers: tuple[Pubkey, ...]
    slot: Slot

    def same_as(self, threshold: int, signers: Sequence[Pubkey]) -> bool:
        """Return whether the threshold and the signers are these, in any order."""
        return self.threshold == threshold and sorted(map(str, self.signers)) == sorted(
            map(str, signers)
        )


async def multisig_of(
    deps: Dependencies, owner: Pubkey, *, since: Slot | None = None
) -> Multisig | None:
    """Read the multisig of the owner's vault, as of `since` or later; None without a vault."""
    fetched = await deps.rpc.get_accounts(
        [vault_address(deps.programs, owner)],
        commitment=Commitment.CONFIRMED,
        min_context_slot=since,
    )
    vault = read_vault(fetched.accounts[0], deps.programs)
    if vault is None:
        return None
    return Multisig(vault.multisig_threshold, vault.multisig_signers, fetched.slot)


async def build_withdrawal(
    deps: Dependencies, owner: Pubkey, amount: int, signers: Sequence[Pubkey]
) -> BuiltTransaction:
    """Build a withdrawal to the owner, signed by these signers.

    Raises InvalidRequest if they are too many, SponsorshipPaused while the service pays no fees.
    """
    payer = deps.operator.require_payer()
    # If the owner's token account must be created, one of the signers pays its rent. If the service
    # paid it, the owner could collect it by closing the account, again and again.
    authority, *others = sorted(signers, key=lambda each: each != owner)
    return await prepare_withdraw(
        deps.rpc,
        deps.programs,
        owner=owner,
        recipient=owner,
        amount=amount,
        authority=authority,
        fee_payer=payer,
        rent_payer=authority,
        extra_signers=others,
    )


def message_in(live: LiveTransaction) -> AnyMessage:
    """Return the message of the transaction."""
    return stored_message(live.message, live.message_hash)


def cosigners(live: LiveTransaction) -> list[str]:
    """Return who must sign the transaction besides the service."""
    _operator, *others = required_signers(message_in(live))
    return [str(each) for each in others]


def to_sign(proposal: Proposal, approvers: Sequence[str]) -> list[str]:
    """Return which approvers sign the next transaction: as many as the threshold.

    Those who signed the previous transaction come first, then those who were not asked to, so that
    an absent signer cannot block the withdrawal for ever.
    """
    previous = proposal.transaction
    signed, asked = (previous.signatures, cosigners(previous)) if previous is not None else ({}, [])
    ranked = sorted(approvers, key=lambda each: (each not in signed, each in asked))
    return ranked[: proposal.threshold]


class Liveness(Enum):
    """State of a transaction on chain: it can still land, has landed, or neither."""

    VALID = auto()
    EXPIRING = auto()  # a block that contains it may still appear, on some fork
    LANDED = auto()
    EXPIRED = auto()


async def liveness_of(deps: Dependencies, live: LiveTransaction) -> Liveness:
    """Return whether the transaction can still land, or has landed."""
    last = live.last_valid_block_height
    # Read the heights before the status: what is absent after its last block will never land.
    tips = await read_tips(deps.rpc)
    if tips.confirmed.height <= last:
        return Liveness.VALID
    if tips.finalized.height <= last:
        return Liveness.EXPIRING
    # Also of what is not stored: the database may have been restored.
    signature = live.signature or await deps.operator.id_of(message_in(live))
    if signature is not None:
        merged = await deps.rpc.statuses_everywhere([signature], min_context_slot=tips.slot)
        [status] = merged.statuses
        if status is not None:
            return Liveness.LANDED if status.err is None else Liveness.EXPIRED
    # That it is not found proves nothing. It lands only after the service has signed and stored it,
    # and of what is stored the submitter proves the end.
    cannot_land = live.submission in (None, State.EXPIRED, State.FAILED)
    return Liveness.EXPIRED if cannot_land else Liveness.EXPIRING


async def next_transaction(
    deps: Dependencies, proposal: Proposal, approvers: Sequence[str]
) -> BuiltTransaction | None:
    """Build the next transaction for these approvers to sign.

    Return None while there are too few approvers or the current transaction is valid. A
    replacement is built only once the previous transaction can never land. Raises
    TransactionExpired while that is not certain, ProposalCompleted if it has landed, and what
    building and simulating raise, such as ProgramRefused and InvalidRequest.
    """
    if len(approvers) < proposal.threshold:
        return None
    live = proposal.transaction
    if live is not None:
        liveness = await liveness_of(deps, live)
        if liveness is Liveness.VALID and live.submission is None:
            return None
        if liveness is Liveness.LANDED:
            raise ProposalCompleted("The proposal's transaction has already landed.")
        if liveness is not Liveness.EXPIRED:
            raise TransactionExpired(
                "The proposal's transaction can no longer be signed. A new one is built once it is "
                "certain that it has not landed: try again in a few seconds."
            )
    signers = [Pubkey.from_string(each) for each in to_sign(proposal, approvers)]
    owner = Pubkey.from_string(proposal.owner)
    return await simulate(deps, await build_withdrawal(deps, owner, proposal.amount, signers))
