"""Rules for what a wallet may change in a planned transaction before it signs it.

The instructions of the plan stay, in their order, with their accounts, privileges and data, and so
do the signers and the fee payer. The order of accounts, the version of the message and the
blockhash are free. Besides there are only compute budget instructions, within the caps of any fee,
and instructions of guard programs, which get no account of the service.

A program can use an account only if the instruction names it, and then with every privilege that
the message gives to the account anywhere. So what protects an account is that no instruction but
the planned ones names it: the operator's signs the whole transaction.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable

from solders.compute_budget import ID as COMPUTE_BUDGET_PROGRAM
from solders.instruction import Instruction
from solders.pubkey import Pubkey

from cvms.chain.program.addresses import (
    token_account,
    vault_address,
    vault_authority_address,
)
from cvms.chain.transactions.versioned import AnyMessage, instructions_of, required_signers
from cvms.chain.types import Programs
from cvms.errors import InvalidRequest

_SET_LIMIT = b"\2"  # first byte of a compute budget instruction


def planned_instructions(message: AnyMessage, guards: Iterable[Pubkey]) -> list[Instruction]:
    """Return the instructions that are neither of the compute budget program nor of guards.

    Raises InvalidRequest, as `instructions_of`.
    """
    others = {COMPUTE_BUDGET_PROGRAM, *guards}
    return [each for each in instructions_of(message) if each.program_id not in others]


def kept(plan: AnyMessage, given: AnyMessage) -> tuple[bool, bool]:
    """Return whether `given` has the compute unit limit of the plan, and its blockhash.

    Equal plans differ in both, so what a wallet has kept tells which of them it has signed.
    """
    limits = [
        {
            bytes(each.data)
            for each in instructions_of(message)
            if each.program_id == COMPUTE_BUDGET_PROGRAM and bytes(each.data)[:1] == _SET_LIMIT
        }
        for message in (plan, given)
    ]
    return limits[0] == limits[1], plan.recent_blockhash == given.recent_blockhash


def find_difference(
    plan: AnyMessage,
    given: AnyMessage,
    *,
    operator: Pubkey,
    owner: Pubkey,
    programs: Programs,
    guards: frozenset[Pubkey],
    wallets: Collection[Pubkey] | None = None,
) -> str | None:
    """Return in what `given` is not the plan for the vault of `owner`, None if it is the plan.

    `wallets` have signed it as it is, by default all signers but the operator: their accounts are
    at the disposal of guards.
    """
    try:
        instructions = instructions_of(given)
    except InvalidRequest as refused:
        return str(refused)
    signers = required_signers(plan)
    if required_signers(given)[0] != signers[0]:
        return "it names another fee payer"
    if set(required_signers(given)) != set(signers):
        return "it names other signers"
    if planned_instructions(given, guards) != planned_instructions(plan, guards):
        return "its instructions are not the planned ones, in their order, with their accounts"
    theirs = set(signers if wallets is None else wallets) - {operator}
    protected = _protected(plan, wallets=theirs, owner=owner, programs=programs)
    for each in instructions:
        if each.program_id not in guards:
            continue
        for account in each.accounts:
            used = account.is_writable or account.is_signer
            if account.pubkey == operator or (used and account.pubkey in protected):
                return f"an added instruction takes {account.pubkey}, which is not the wallet's"
    return None


def _protected(
    plan: AnyMessage, *, wallets: Collection[Pubkey], owner: Pubkey, programs: Programs
) -> set[Pubkey]:
    """Return the accounts that guards must not use: the vault's, signers', and all that is written.

    Of the latter two, guards may have the wallets, and their token accounts.
    """
    written = {
        account.pubkey
        for each in instructions_of(plan)
        for account in each.accounts
        if account.is_writable
    }
    theirs = {*wallets, *(token_account(each, programs.mint) for each in wallets)}
    vault = vault_address(programs, owner)
    return ({*written, *required_signers(plan)} - theirs) | {
        vault,
        token_account(vault, programs.mint),
        vault_authority_address(programs),
    }
