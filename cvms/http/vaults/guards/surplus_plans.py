"""Plans that pay out tokens which the vault's balances do not count."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from solders.pubkey import Pubkey

from cvms.chain.program import instructions
from cvms.chain.program.accounts import SplTokenAccount, read_token_account
from cvms.chain.program.addresses import token_account, vault_address
from cvms.chain.transactions.vault_builders import fetch_vault, prepare_on_vault, prepare_payout
from cvms.chain.types import Commitment
from cvms.errors import DecodeError, NotFound
from cvms.http.framework.dependencies import Dependencies
from cvms.http.operations import plans
from cvms.http.operations.plans import TransactionPlan


async def sweep(
    deps: Dependencies, owner: Pubkey, swept: Pubkey, signers: Sequence[Pubkey]
) -> TransactionPlan:
    """Plan a payment of all stray tokens of an account to the owner's associated token account.

    Raises NotFound unless it is an SPL token account of the vault, and what `check_signers` does.
    """
    await plans.check_signers(deps, owner, signers)
    tokens = await _tokens(deps, swept)
    if tokens is None or tokens.owner != vault_address(deps.programs, owner):
        raise NotFound(f"The vault of {owner} has no SPL token account {swept}.")
    instruction = instructions.sweep(
        deps.programs,
        owner=owner,
        token_account=swept,
        recipient_token_account=token_account(owner, tokens.mint),
        extra_signers=signers,
    )
    prepare = partial(prepare_payout, mint=tokens.mint)
    return await plans.by_owner(deps, owner, instruction, prepare=prepare)


async def close(deps: Dependencies, owner: Pubkey, signers: Sequence[Pubkey]) -> TransactionPlan:
    """Plan the end of an empty vault, with a payment of the tokens that it holds nevertheless."""
    await plans.check_signers(deps, owner, signers)
    vault = await fetch_vault(deps.rpc, deps.programs, owner)
    tokens = await _tokens(deps, vault.token_account)
    if vault.total_balance or tokens is None or tokens.amount == 0:
        instruction = instructions.close_vault(deps.programs, owner)
        return await plans.by_owner(deps, owner, instruction, prepare=prepare_on_vault)
    instruction = instructions.close_vault(
        deps.programs,
        owner,
        surplus_account=token_account(owner, deps.programs.mint),
        extra_signers=signers,
    )
    return await plans.by_owner(deps, owner, instruction, prepare=prepare_payout)


async def _tokens(deps: Dependencies, address: Pubkey) -> SplTokenAccount | None:
    """Return what an SPL token account holds, None if the address is of something else."""
    found = await deps.rpc.get_accounts([address], commitment=Commitment.CONFIRMED)
    try:
        return read_token_account(found.accounts[0])
    except DecodeError:
        return None
