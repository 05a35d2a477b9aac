"""The operator's keys: the only module that signs transactions with them.

Every transaction that the service pays for or submits gets its signature here, after a check of
what the key is used for and what the transaction costs, and is charged to a daily budget here.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from enum import Enum, auto

from solders.message import to_bytes_versioned
from solders.pubkey import Pubkey
from solders.transaction import VersionedTransaction

from cvms.chain.transactions.sponsorship_policy import Cost, FeeCaps, check_sponsored
from cvms.chain.transactions.versioned import (
    AnyMessage,
    message_hash,
    message_of,
    place_signature,
    required_signers,
    signature_of,
)
from cvms.chain.types import Programs
from cvms.errors import NotSponsored, SignerUnavailable, SponsorshipPaused
from cvms.signing.guarded_signer import GuardedSigner
from cvms.signing.signer_set import SignerSet
from cvms.store.postgres.driver.connection import Connection
from cvms.store.submissions import fee_budget
from cvms.store.submissions.fee_budget import FeeBudget

_TOO_LITTLE_SOL = (
    "The service has too little SOL to pay fees for others at present. What its owner "
    "can pay for may be asked for anew; the rest has to wait."
)


class BudgetScope(Enum):
    """Whose daily budget a transaction is charged to."""

    OWNER = auto()
    ALL_OWNERS = auto()  # anybody may ask for it, so it must not use up the owner's budget
    OPERATOR = auto()  # no budget may stop an administrator's decision


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
    """The operator's keys, with the caps and the budget that bound their use.

    The first that is available and has enough SOL pays. Any of them signs what names it.
    """

    signers: SignerSet
    programs: Programs
    caps: FeeCaps
    budget: FeeBudget
    guards: frozenset[Pubkey] = frozenset()
    """Programs of which wallets may add instructions to what they sign."""

    @property
    def address(self) -> Pubkey:
        """The preferred key, which owners make their delegate."""
        return self.signers.preferred.address

    def holds(self, address: Pubkey) -> bool:
        """Return whether one of the operator's keys has the address."""
        return self.signers.find(address) is not None

    def payer_for(self, owner: Pubkey) -> Pubkey:
        """Return who pays the fee of a transaction that the owner signs anyway."""
        payer = self.signers.payer()
        return owner if payer is None else payer.address

    def require_payer(self) -> Pubkey:
        """Return who pays for others. Raises SponsorshipPaused if none of the keys does."""
        payer = self.signers.payer()
        if payer is not None:
            return payer.address
        if self.signers.signing() is None:
            raise SignerUnavailable("no signer of the operator is available")
        raise SponsorshipPaused(_TOO_LITTLE_SOL)

    def paying_delegate(self, delegates: Collection[Pubkey]) -> Pubkey | None:
        """Return which of the delegates acts and pays for others: a key of the operator's."""
        payer = self.signers.payer(delegates)
        return None if payer is None else payer.address

    def own_payer(self, among: Collection[Pubkey] | None = None) -> Pubkey | None:
        """Return who pays what the operator itself decides, None while no signer is available."""
        payer = self.signers.signing(among)
        return None if payer is None else payer.address

    def payer_in(self, message: AnyMessage) -> Pubkey:
        """Return the key that pays the message's fee, the preferred one if none of them does."""
        signer = self._payer(message)
        return self.address if signer is None else signer.address

    def is_payer_of(self, message: AnyMessage) -> bool:
        """Return whether the operator pays the fee of the message."""
        return self._payer(message) is not None

    def must_sign(self, message: AnyMessage) -> bool:
        """Return whether the message asks for a signature of the operator."""
        return any(map(self.holds, required_signers(message)))

    async def sign(self, transaction: VersionedTransaction, *, acts: bool) -> SignedByOperator:
        """Add the signature of the operator's key that pays; the signatures of others stay.

        With `acts` the operator decides too, as a vault's delegate or as governance; without, it is
        the fee payer of what an owner decided. Raises NotSponsored if the transaction breaks the
        policy, SponsorshipPaused if it was built before the key ran short of SOL, and
        SignerUnavailable.
        """
        message = message_of(transaction)
        signer = self._payer(message)
        if signer is None:
            raise NotSponsored("the operator is not its fee payer")
        if not acts and not signer.funds.enough:
            raise SponsorshipPaused(_TOO_LITTLE_SOL)
        cost = self._check(message, acts=acts)
        signature = await signer.sign(to_bytes_versioned(message))
        return SignedByOperator(place_signature(transaction, signer.address, signature), cost)

    async def id_of(self, message: AnyMessage) -> str | None:
        """Return the id under which the message lands: the operator's signature, its fee payer's.

        The signature of a message is always the same, so nothing is given away that `sign` has not
        given before. None if it is not known to be: then there may be several. Raises
        SignerUnavailable.
        """
        signer = self._payer(message)
        if signer is None or not signer.deterministic:
            return None
        return str(await signer.sign(to_bytes_versioned(message)))

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

    def _payer(self, message: AnyMessage) -> GuardedSigner | None:
        return self.signers.find(required_signers(message)[0])

    def _check(self, message: AnyMessage, *, acts: bool) -> Cost:
        return check_sponsored(
            message,
            operator=self.payer_in(message),
            programs=self.programs,
            caps=self.caps,
            acts=acts,
            guards=self.guards,
        )
