"""The operator's key: the only module that signs with it.

Every transaction that the service pays for or submits gets its signature here, after a check of
what the key is used for and what the transaction costs, and is charged to a daily budget here.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum, auto

from solders.keypair import Keypair
from solders.message import to_bytes_versioned
from solders.pubkey import Pubkey
from solders.transaction import VersionedTransaction

from cvms.chain.transactions.sponsorship_policy import Cost, FeeCaps, check_sponsored
from cvms.chain.transactions.versioned import (
    AnyMessage,
    attach_signature,
    message_hash,
    message_of,
    required_signers,
    signature_of,
)
from cvms.chain.types import Programs
from cvms.errors import NotSponsored, SponsorshipPaused
from cvms.nursery.channels.status_board import OperatorFunds
from cvms.store.postgres.driver.connection import Connection
from cvms.store.security.audit_heads import AuditKey
from cvms.store.submissions import fee_budget
from cvms.store.submissions.fee_budget import FeeBudget


class BudgetScope(Enum):
    """Whose daily budget a transaction is charged to."""

    OWNER = auto()
    ALL_OWNERS = auto()  # anybody may ask for it, so it must not use up the owner's budget
    OPERATOR = auto()  # no budget may stop an administrator's decision


def audit_key(keypair: Keypair) -> AuditKey:
    """Return the key that signs the audit trail's heads. It is derived from the operator's key."""
    return AuditKey(keypair.secret())


@dataclass(frozen=True, slots=True)
class SignedByOperator:
    """A transaction with the operator's signature, and what it costs the operator."""

    transaction: VersionedTransaction
    cost: Cost

    @property
    def message(self) -> AnyMessage:
        return message_of(self.transaction)

    @property
    def signature(self) -> str:
        return signature_of(self.transaction)

    @property
    def wire(self) -> bytes:
        return bytes(self.transaction)


@dataclass(frozen=True, slots=True)
class OperatorKey:
    """The operator's key, with the caps and the budget that bound its use."""

    keypair: Keypair = field(repr=False)
    programs: Programs
    caps: FeeCaps
    budget: FeeBudget
    funds: OperatorFunds = field(default_factory=OperatorFunds)
    guards: frozenset[Pubkey] = frozenset()
    """Programs of which wallets may add instructions to what they sign."""

    @property
    def address(self) -> Pubkey:
        return self.keypair.pubkey()

    @property
    def pays(self) -> bool:
        """False while the operator has too little SOL to pay for others."""
        return self.funds.enough

    def payer_for(self, owner: Pubkey) -> Pubkey:
        """Return who pays the fee of a transaction that the owner signs anyway."""
        return self.address if self.pays else owner

    def require_pays(self) -> None:
        """Raise SponsorshipPaused unless the operator pays for others."""
        if not self.pays:
            raise SponsorshipPaused(
                "The service has too little SOL to pay fees for others at present. What its owner "
                "can pay for may be asked for anew; the rest has to wait."
            )

    def is_payer_of(self, message: AnyMessage) -> bool:
        """Return whether the operator pays the fee of the message."""
        return required_signers(message)[0] == self.address

    def sign(self, transaction: VersionedTransaction, *, acts: bool) -> SignedByOperator:
        """Add the operator's signature; the signatures of others stay.

        With `acts` the operator decides too, as a vault's delegate or as governance; without, it is
        the fee payer of what an owner decided. Raises NotSponsored if the transaction breaks the
        policy, SponsorshipPaused if it was built before the operator ran short of SOL.
        """
        if not acts:
            self.require_pays()
        cost = self._check(message_of(transaction), acts=acts)
        return SignedByOperator(attach_signature(transaction, self.keypair), cost)

    def id_of(self, message: AnyMessage) -> str:
        """Return the id under which the message lands: the operator's signature, its fee payer's.

        The signature of a message is always the same, so nothing is given away that `sign` has not
        given before.
        """
        return str(self.keypair.sign_message(to_bytes_versioned(message)))

    def id_if_sponsored(self, message: AnyMessage) -> str | None:
        """Return the id under which the message lands, None if the operator would not sign it.

        The id is a signature: it exists of no message that could take more than a fee.
        """
        try:
            self._check(message, acts=False)
        except NotSponsored:
            return None
        return self.id_of(message)

    async def charge(
        self,
        conn: Connection,
        signed: SignedByOperator,
        *,
        owner: str,
        scope: BudgetScope = BudgetScope.OWNER,
        plan: bytes | None = None,
    ) -> None:
        """Charge the cost in the database transaction that stores the signature, once a submission.

        `plan` is the hash of the planned message, if a wallet has changed it. Raises
        SponsorshipExhausted.
        """
        if scope is not BudgetScope.OPERATOR:
            await fee_budget.charge(
                conn,
                plan or message_hash(signed.message),
                signed.cost.lamports,
                owner=owner if scope is BudgetScope.OWNER else None,
                budget=self.budget,
            )

    async def check_budget(self, conn: Connection, message: AnyMessage, *, owner: str) -> None:
        """Raise SponsorshipExhausted or NotSponsored if the operator could not sign the message.

        Asked before the wallet signs, so that its signature is not in vain.
        """
        if self.is_payer_of(message):
            cost = self._check(message, acts=False)
            await fee_budget.check(conn, owner, cost.lamports, self.budget)

    def check_spending(self, message: AnyMessage, lamports: int) -> None:
        """Raise NotSponsored if a simulation took more from the operator than a fee payer pays."""
        if self.is_payer_of(message):
            cost = self._check(message, acts=False)
            if lamports > cost.lamports:
                raise NotSponsored(
                    f"it takes {lamports} lamports of the operator's, not {cost.fee}"
                )

    def _check(self, message: AnyMessage, *, acts: bool) -> Cost:
        return check_sponsored(
            message,
            operator=self.address,
            programs=self.programs,
            caps=self.caps,
            acts=acts,
            guards=self.guards,
        )
