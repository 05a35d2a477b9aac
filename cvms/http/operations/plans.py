"""Plans: the transaction of a request, and whether the operator's signature alone is enough.

A plan follows the accounts as they are now. Whether it is allowed is for the program to say, in
simulation and then on chain.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from solders.instruction import Instruction
from solders.pubkey import Pubkey

from cvms.chain.program import instructions
from cvms.chain.program.accounts import (
    Vault,
    VaultAuthority,
    read_position_summary,
    read_token_account,
    read_vault,
    read_vault_authority,
)
from cvms.chain.program.addresses import (
    position_summary_address,
    token_account,
    vault_address,
    vault_authority_address,
)
from cvms.chain.transactions.chain_clock import chain_time
from cvms.chain.transactions.vault_builders import (
    fetch_vault,
    prepare_deposit,
    prepare_initialize,
    prepare_on_vault,
    prepare_withdraw,
)
from cvms.chain.transactions.versioned import BuiltTransaction, build_transaction
from cvms.chain.types import Commitment
from cvms.errors import Conflict, FieldProblem, InvalidRequest, NoMultisig, NotFound
from cvms.http.framework.dependencies import Dependencies
from cvms.http.framework.problems import unknown_vault
from cvms.signing.operator_key import BudgetScope
from cvms.store.postgres.driver.connection import Connection

Prepare = Callable[..., Awaitable[BuiltTransaction]]
"""Builds the transaction of one instruction, as `prepare_on_vault` does."""


@dataclass(frozen=True, slots=True)
class TransactionPlan:
    """A transaction to execute. With `operator_signs` no other signature is needed."""

    built: BuiltTransaction
    operator_signs: bool = False
    amount: int | None = None
    # For the audit log, beside the amount.
    details: Mapping[str, Any] = field(default_factory=dict)
    # If a submission of the same action and owner is pending, reply with that one instead.
    joins_pending: bool = False
    budget_scope: BudgetScope = BudgetScope.OWNER
    # Governance that is a program's address: only that program can sign, after a proposal there.
    proposed_to: Pubkey | None = None
    # Raises in the transaction that records it, if that must not be.
    check: Callable[[Connection], Awaitable[None]] | None = None

    @property
    def mode(self) -> Literal["submitted", "cosign", "proposal"]:
        """What the reply says of the transaction."""
        if self.proposed_to is not None:
            return "proposal"
        return "submitted" if self.operator_signs else "cosign"


async def initialize(deps: Dependencies, user: Pubkey) -> TransactionPlan:
    """Plan a vault for the user; the user pays its rent. Raises Conflict if it exists."""
    payer = deps.operator.payer_for(user)
    built = await prepare_initialize(deps.rpc, deps.programs, user=user, fee_payer=payer)
    return TransactionPlan(built)


async def deposit(deps: Dependencies, owner: Pubkey, amount: int) -> TransactionPlan:
    """Plan a transfer from the owner's wallet into the vault; the wallet always signs."""
    built = await prepare_deposit(
        deps.rpc,
        deps.programs,
        owner=owner,
        amount=amount,
        authority=owner,
        fee_payer=deps.operator.payer_for(owner),
    )
    return TransactionPlan(built, amount=amount)


async def withdraw(
    deps: Dependencies, owner: Pubkey, amount: int, recipient: Pubkey
) -> TransactionPlan:
    """Plan a transfer out of the vault, to the owner or to a whitelisted address."""
    vault, receives = await _vault_and_recipient(deps, owner, recipient)
    _check_recipient(recipient, owner, vault)
    delegate = operator_signing_alone(deps, vault) if receives else None
    built = await prepare_withdraw(
        deps.rpc,
        deps.programs,
        owner=owner,
        recipient=recipient,
        amount=amount,
        authority=delegate or owner,
        # A token account that the operator paid for could be closed for its rent and requested
        # again without end: where one has to be created the owner pays, and therefore signs.
        fee_payer=delegate or (deps.operator.payer_for(owner) if receives else owner),
    )
    return TransactionPlan(built, delegate is not None, amount)


async def by_owner(
    deps: Dependencies,
    owner: Pubkey,
    instruction: Instruction,
    *,
    amount: int | None = None,
    prepare: Prepare = prepare_on_vault,
    payer: Pubkey | None = None,
) -> TransactionPlan:
    """Plan an instruction on the vault that only its owner may give."""
    built = await prepare(
        deps.rpc,
        deps.programs,
        owner=owner,
        instruction=instruction,
        fee_payer=payer or deps.operator.payer_for(owner),
    )
    return TransactionPlan(built, amount=amount)


async def check_signers(deps: Dependencies, owner: Pubkey, signers: Sequence[Pubkey]) -> None:
    """Raise unless all of these are signers of the vault's multisig.

    No text that a wallet signs names them, so whoever altered the request on its way could choose
    them: only those whom the owner has put on chain are accepted.
    """
    if not signers:
        return
    vault = await fetch_vault(deps.rpc, deps.programs, owner)
    if vault.multisig_threshold == 0:
        raise NoMultisig(f"The vault of {owner} has no multisig: leave out `signers`.")
    strangers = [str(each) for each in signers if each not in vault.multisig_signers]
    if strangers:
        problem = FieldProblem("signers", "not signers of the vault's multisig")
        raise InvalidRequest(
            f"The multisig of {owner}'s vault has no signer {', '.join(strangers)}.", [problem]
        )


async def by_owner_or_delegate(
    deps: Dependencies, owner: Pubkey, instruction: Callable[[Pubkey], Instruction], *, amount: int
) -> TransactionPlan:
    """Plan an instruction on the vault, given by the operator where it is a delegate.

    `instruction` takes the address of whoever gives it.
    """
    vault = await fetch_vault(deps.rpc, deps.programs, owner)
    delegate = operator_signing_alone(deps, vault)
    given = instruction(delegate or owner)
    plan = await by_owner(deps, owner, given, amount=amount, payer=delegate)
    return replace(plan, operator_signs=delegate is not None)


async def by_governance(
    deps: Dependencies,
    governance: Pubkey,
    instruction: Instruction,
    *,
    details: Mapping[str, Any],
    amount: int | None = None,
    setup: Sequence[Instruction] = (),
) -> TransactionPlan:
    """Plan an instruction that `governance` signs; the program checks that it is.

    The operator signs where it is governance. Another key signs as a wallet does and pays the fee.
    """
    program = not governance.is_on_curve()
    blockhash = await deps.rpc.get_latest_blockhash(Commitment.CONFIRMED)
    # A simulation needs a payer that has SOL, which a program's address need not have.
    payer = deps.operator.own_payer() or deps.operator.address if program else governance
    built = build_transaction(instruction, fee_payer=payer, blockhash=blockhash, setup=setup)
    return TransactionPlan(
        built,
        operator_signs=deps.operator.holds(governance),
        amount=amount,
        details=details,
        budget_scope=BudgetScope.OPERATOR,
        proposed_to=governance if program else None,
    )


async def vault_authority(deps: Dependencies) -> VaultAuthority:
    """Return the vault authority. Raises NotFound while there is none."""
    address = vault_authority_address(deps.programs)
    found = await deps.rpc.get_accounts([address], commitment=Commitment.CONFIRMED)
    authority = read_vault_authority(found.accounts[0], deps.programs)
    if authority is None:
        raise NotFound("the vault authority is not initialized")
    return authority


async def release_timelocks(deps: Dependencies, owner: Pubkey) -> TransactionPlan:
    """Plan the release of the vault's matured timelocks; anybody may ask, and the operator pays.

    Raises Conflict if none has matured, SponsorshipPaused while the operator does not pay.
    """
    operator = deps.operator.require_payer()
    vault = await fetch_vault(deps.rpc, deps.programs, owner)
    now = await chain_time(deps.rpc)
    first = min((entry.unlock_time for entry in vault.timelocks), default=None)
    if first is None or first > now:
        when = "it has none" if first is None else f"the first one matures in {first - now} s"
        raise Conflict(f"No timelock of this vault has matured: {when}.")
    instruction = instructions.release_timelocks(deps.programs, authority=operator, owner=owner)
    built = await prepare_on_vault(
        deps.rpc, deps.programs, owner=owner, instruction=instruction, fee_payer=operator
    )
    return TransactionPlan(
        built,
        operator_signs=True,
        joins_pending=True,
        budget_scope=BudgetScope.ALL_OWNERS,
    )


async def settle_positions(deps: Dependencies, owner: Pubkey) -> TransactionPlan:
    """Plan that the position summary claims no more than the vault has locked; anybody may ask.

    Raises Conflict if it does not, SponsorshipPaused while the operator does not pay.
    """
    payer = deps.operator.require_payer()
    programs, address = deps.programs, vault_address(deps.programs, owner)
    addresses = [address, position_summary_address(programs.position_manager, address)]
    found = await deps.rpc.get_accounts(addresses, commitment=Commitment.CONFIRMED)
    vault = read_vault(found.accounts[0], programs)
    if vault is None:
        raise unknown_vault(str(owner))
    summary = read_position_summary(found.accounts[1], programs)
    if summary is None or summary.locked_amount <= vault.locked_balance:
        raise Conflict("The positions of this vault claim no more than is locked.")
    built = await prepare_on_vault(
        deps.rpc,
        programs,
        owner=owner,
        instruction=instructions.settle_position_summary(programs, owner=owner),
        fee_payer=payer,
    )
    return TransactionPlan(
        built,
        operator_signs=True,
        joins_pending=True,
        budget_scope=BudgetScope.ALL_OWNERS,
    )


def operator_signing_alone(deps: Dependencies, vault: Vault) -> Pubkey | None:
    """Return the operator's key that is a delegate of the vault without a multisig, and pays."""
    if vault.multisig_threshold:
        return None
    return deps.operator.paying_delegate(vault.delegates)


async def has_token_account(deps: Dependencies, wallet: Pubkey) -> bool:
    """Return whether the wallet has a token account for the vaults' mint."""
    address = token_account(wallet, deps.programs.mint)
    found = await deps.rpc.get_accounts([address], commitment=Commitment.CONFIRMED)
    return read_token_account(found.accounts[0]) is not None


def _check_recipient(recipient: Pubkey, owner: Pubkey, vault: Vault) -> None:
    # The signed text does not name the recipient, so whoever altered the request on its way could
    # choose it: only addresses that the owner has put on chain are accepted.
    if recipient != owner and recipient not in vault.withdraw_whitelist:
        problem = FieldProblem("recipient", "neither the owner nor on the vault's whitelist")
        raise InvalidRequest(
            f"The vault of {owner} does not pay out to {recipient}; whitelist it first.", [problem]
        )


async def _vault_and_recipient(
    deps: Dependencies, owner: Pubkey, recipient: Pubkey
) -> tuple[Vault, bool]:
    """Return the vault and whether the recipient has a token account. Raises VaultNotFound."""
    programs = deps.programs
    addresses = (vault_address(programs, owner), token_account(recipient, programs.mint))
    found = await deps.rpc.get_accounts(addresses, commitment=Commitment.CONFIRMED)
    vault_account, destination = found.accounts
    vault = read_vault(vault_account, programs)
    if vault is None:
        raise unknown_vault(str(owner))
    return vault, read_token_account(destination) is not None
