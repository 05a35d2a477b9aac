"""The operator's signature as a fee payer: what it is given to, and on whose account."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum, auto

from solders.keypair import Keypair
from solders.message import MessageV0
from solders.pubkey import Pubkey
from solders.transaction import VersionedTransaction

from cvms.chain.transactions.sponsorship_policy import Cost, FeeCaps, check_sponsored
from cvms.chain.transactions.versioned import (
    attach_signature,
    message_hash,
    message_of,
    required_signers,
)
from cvms.chain.types import Programs
from cvms.errors import SponsorshipPaused
from cvms.nursery.channels.status_board import OperatorFunds
from cvms.store.postgres.driver.connection import Connection
from cvms.store.submissions import fee_budget
from cvms.store.submissions.fee_budget import FeeBudget


class BudgetScope(Enum):
    """Whose allowance a transaction uses up."""

    OWNER = auto()
    ALL_OWNERS = auto()  # anybody may ask for it, so it must not use up the owner's
    OPERATOR = auto()  # an administrator's decision is not for lack of an allowance to stop


@dataclass(frozen=True, slots=True)
class FeeSponsor:
    """The operator as a fee payer."""

    operator: Keypair
    programs: Programs
    caps: FeeCaps
    budget: FeeBudget
    funds: OperatorFunds

    @property
    def pays(self) -> bool:
        """False while the operator has too little SOL to pay for others."""
        return self.funds.enough

    def payer_for(self, owner: Pubkey) -> Pubkey:
        """Who pays the fee of what the owner signs anyway."""
        return self.operator.pubkey() if self.pays else owner

    def require(self) -> None:
        """Raise SponsorshipPaused unless the operator pays."""
        if not self.pays:
            raise SponsorshipPaused(
                "The service has too little SOL to pay fees for others at present. What its owner "
                "can pay for may be asked for anew; the rest has to wait."
            )

    def is_payer_of(self, message: MessageV0) -> bool:
        return required_signers(message)[0] == self.operator.pubkey()

    def cost_of(self, message: MessageV0, *, acts: bool) -> Cost:
        """What it costs the operator. Raises NotSponsored where it breaks the policy."""
        return check_sponsored(
            message,
            operator=self.operator.pubkey(),
            programs=self.programs,
            caps=self.caps,
            acts=acts,
        )

    def sign(
        self, transaction: VersionedTransaction, *, acts: bool = False
    ) -> tuple[VersionedTransaction, Cost]:
        """The transaction with the operator's signature, and what it costs the operator.

        The only place where that key signs a transaction. `acts`: as a delegate or as governance
        too, not as its fee payer alone. Raises NotSponsored, and SponsorshipPaused for what was
        built while the operator still paid.
        """
        if not acts:
            self.require()
        cost = self.cost_of(message_of(transaction), acts=acts)
        return attach_signature(transaction, self.operator), cost

    async def charge(
        self,
        conn: Connection,
        message: MessageV0,
        cost: Cost,
        *,
        owner: str,
        account: BudgetScope = BudgetScope.OWNER,
    ) -> None:
        """Count it in the database transaction that keeps the signature, once for each message.

        Raises SponsorshipExhausted.
        """
        if account is not BudgetScope.OPERATOR:
            await fee_budget.charge(
                conn,
                message_hash(message),
                cost.lamports,
                owner=owner if account is BudgetScope.OWNER else None,
                budget=self.budget,
            )

    async def check(self, conn: Connection, message: MessageV0, *, owner: str) -> None:
        """Raise SponsorshipExhausted where the signature would be refused, had all others signed.

        Better now than after the wallet has signed.
        """
        if self.is_payer_of(message):
            cost = self.cost_of(message, acts=False)
            await fee_budget.check(conn, owner, cost.lamports, self.budget)
