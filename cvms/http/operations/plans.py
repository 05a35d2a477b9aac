"""What a request comes to on chain: the transaction, and whether the service may sign it alone.

A plan follows the accounts as they are now; whether it may be carried out is for the program to
say, in simulation and then on chain.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from solders.instruction import Instruction
from solders.pubkey import Pubkey

from cvms.chain.program import instructions
from cvms.chain.program.accounts import Vault, read_token_account, read_vault
from cvms.chain.program.addresses import token_account, vault_address
from cvms.chain.transactions.chain_clock import chain_time
from cvms.chain.transactions.vault_builders import (
    fetch_vault,
    prepare_add_delegate,
    prepare_deposit,
    prepare_initialize,
    prepare_on_vault,
    prepare_position,
    prepare_remove_delegate,
    prepare_withdraw,
)
from cvms.chain.transactions.versioned import BuiltTransaction, build_transaction
from cvms.chain.types import Commitment
from cvms.errors import Conflict, FieldProblem, InvalidRequest, VaultNotFound
from cvms.http.framework.dependencies import Dependencies
from cvms.operator_key import BudgetScope


@dataclass(frozen=True, slots=True)
class TransactionPlan:
    """A transaction to carry out. `delegated`: the service's own signature is enough."""

    action: str
    owner: Pubkey
    built: BuiltTransaction
    operator_signs: bool = False
    amount: int | None = None
    # What the audit trail is to hold beside the amount.
    details: Mapping[str, Any] = field(default_factory=dict)
    # An unfinished submission of the same action and owner answers for this one.
    joins_pending: bool = False
    # Whose allowance of paid fees it uses up.
    budget_scope: BudgetScope = BudgetScope.OWNER


async def initialize(deps: Dependencies, user: Pubkey) -> TransactionPlan:
    """Create the user's vault; the user pays its rent. Raises Conflict if it is there."""
    payer = deps.operator.payer_for(user)
    built = await prepare_initialize(deps.rpc, deps.programs, user=user, fee_payer=payer)
    return TransactionPlan("initialize", user, built)


async def deposit(deps: Dependencies, owner: Pubkey, amount: int) -> TransactionPlan:
    """Move tokens from the owner's wallet into the vault: the wallet always signs."""
    built = await prepare_deposit(
        deps.rpc,
        deps.programs,
        owner=owner,
        amount=amount,
        authority=owner,
        fee_payer=deps.operator.payer_for(owner),
    )
    return TransactionPlan("deposit", owner, built, amount=amount)


async def add_delegate(deps: Dependencies, owner: Pubkey, delegate: Pubkey) -> TransactionPlan:
    """Let `delegate` act for the vault."""
    built = await prepare_add_delegate(
        deps.rpc,
        deps.programs,
        owner=owner,
        delegate=delegate,
        fee_payer=deps.operator.payer_for(owner),
    )
    return TransactionPlan("delegate_add", owner, built)


async def remove_delegate(deps: Dependencies, owner: Pubkey, delegate: Pubkey) -> TransactionPlan:
    """Take that back."""
    built = await prepare_remove_delegate(
        deps.rpc,
        deps.programs,
        owner=owner,
        delegate=delegate,
        fee_payer=deps.operator.payer_for(owner),
    )
    return TransactionPlan("delegate_remove", owner, built)


async def withdraw(
    deps: Dependencies, owner: Pubkey, amount: int, recipient: Pubkey
) -> TransactionPlan:
    """Move tokens out of the vault, to the owner or to a whitelisted address."""
    operator = deps.operator.address
    vault, receives = await _vault_and_recipient(deps, owner, recipient)
    _check_recipient(recipient, owner, vault)
    delegated = operator_may_sign_alone(deps, vault) and receives
    built = await prepare_withdraw(
        deps.rpc,
        deps.programs,
        owner=owner,
        recipient=recipient,
        amount=amount,
        authority=operator if delegated else owner,
        # A token account that we paid for could be closed for its rent, and asked for again, for
        # ever: where one has to be made the owner pays, and so signs.
        fee_payer=deps.operator.payer_for(owner) if receives else owner,
    )
    return TransactionPlan("withdraw", owner, built, delegated, amount)


async def by_owner(
    deps: Dependencies,
    action: str,
    owner: Pubkey,
    instruction: Instruction,
    *,
    amount: int | None = None,
) -> TransactionPlan:
    """An instruction on the vault that only its owner may give."""
    built = await prepare_on_vault(
        deps.rpc,
        deps.programs,
        owner=owner,
        instruction=instruction,
        fee_payer=deps.operator.payer_for(owner),
    )
    return TransactionPlan(action, owner, built, amount=amount)


async def by_owner_or_delegate(
    deps: Dependencies,
    action: str,
    owner: Pubkey,
    instruction: Callable[[Pubkey], Instruction],
    *,
    amount: int | None = None,
) -> TransactionPlan:
    """An instruction on the vault, by the service where it is a delegate; `instruction` takes who
    gives it.
    """
    operator = deps.operator.address
    vault = await fetch_vault(deps.rpc, deps.programs, owner)
    delegated = operator_may_sign_alone(deps, vault)
    built = await prepare_on_vault(
        deps.rpc,
        deps.programs,
        owner=owner,
        instruction=instruction(operator if delegated else owner),
        fee_payer=deps.operator.payer_for(owner),
    )
    return TransactionPlan(action, owner, built, delegated, amount)


async def by_governance(
    deps: Dependencies,
    action: str,
    instruction: Instruction,
    *,
    owner: Pubkey | None = None,
    amount: int | None = None,
    setup: Sequence[Instruction] = (),
    details: Mapping[str, Any] | None = None,
) -> TransactionPlan:
    """An instruction that the operator signs as governance; the program says whether it is that."""
    operator = deps.operator.address
    blockhash = await deps.rpc.get_latest_blockhash(Commitment.CONFIRMED)
    built = build_transaction(instruction, fee_payer=operator, blockhash=blockhash, setup=setup)
    return TransactionPlan(
        action,
        owner or operator,
        built,
        operator_signs=True,
        amount=amount,
        details=details or {},
        budget_scope=BudgetScope.OPERATOR,
    )


async def position(
    deps: Dependencies, action: str, owner: Pubkey, instruction: Instruction, *, amount: int
) -> TransactionPlan:
    """An instruction of the position manager: the owner signs, since it binds collateral."""
    built = await prepare_position(
        deps.rpc,
        deps.programs,
        owner=owner,
        instruction=instruction,
        fee_payer=deps.operator.payer_for(owner),
    )
    return TransactionPlan(action, owner, built, amount=amount)


async def release_timelocks(deps: Dependencies, owner: Pubkey) -> TransactionPlan:
    """Give matured timelocks back, by the service. Raises Conflict when none has matured: anybody
    may ask, and the service pays; SponsorshipPaused while it does not.
    """
    deps.operator.require_pays()
    operator = deps.operator.address
    vault = await fetch_vault(deps.rpc, deps.programs, owner)
    now = await chain_time(deps.rpc)
    if not any(entry.unlock_time <= now for entry in vault.timelocks):
        first = min((entry.unlock_time for entry in vault.timelocks), default=None)
        when = "there is none" if first is None else f"the first does in {first - now} s"
        raise Conflict(f"No timelock of this vault has matured: {when}.")
    instruction = instructions.release_timelocks(deps.programs, authority=operator, owner=owner)
    built = await prepare_on_vault(
        deps.rpc,
        deps.programs,
        owner=owner,
        instruction=instruction,
        fee_payer=operator,
    )
    return TransactionPlan(
        "release_timelocks",
        owner,
        built,
        operator_signs=True,
        joins_pending=True,
        budget_scope=BudgetScope.ALL_OWNERS,
    )


def operator_may_sign_alone(deps: Dependencies, vault: Vault) -> bool:
    """Whether the operator's signature is enough for the vault, and the operator pays for it."""
    delegate = deps.operator.address in vault.delegates
    return delegate and vault.multisig_threshold == 0 and deps.operator.pays


async def has_token_account(deps: Dependencies, wallet: Pubkey) -> bool:
    """Whether the wallet can receive the vaults' tokens already."""
    address = token_account(wallet, deps.programs.mint)
    found = await deps.rpc.get_accounts([address], commitment=Commitment.CONFIRMED)
    return read_token_account(found.accounts[0]) is not None


def _check_recipient(recipient: Pubkey, owner: Pubkey, vault: Vault) -> None:
    # The text that the wallet signs does not name the recipient, so whoever altered the request on
    # its way could choose it: only addresses that the owner has put on chain are taken.
    if recipient != owner and recipient not in vault.withdraw_whitelist:
        problem = FieldProblem("recipient", "neither the owner nor on the vault's whitelist")
        raise InvalidRequest("This vault does not pay out to that recipient.", [problem])


async def _vault_and_recipient(
    deps: Dependencies, owner: Pubkey, recipient: Pubkey
) -> tuple[Vault, bool]:
    """The owner's vault, and whether the recipient has a token account. Raises VaultNotFound."""
    programs = deps.programs
    addresses = (vault_address(programs, owner), token_account(recipient, programs.mint))
    found = await deps.rpc.get_accounts(addresses, commitment=Commitment.CONFIRMED)
    vault_account, destination = found.accounts
    vault = read_vault(vault_account, programs)
    if vault is None:
        raise VaultNotFound(f"{owner} has no vault; initialize one first.")
    return vault, read_token_account(destination) is not None
