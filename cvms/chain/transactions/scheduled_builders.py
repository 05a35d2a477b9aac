"""Transactions that the operator starts itself: releases, compoundings, and memos."""

from __future__ import annotations

from collections.abc import Sequence

from solders.instruction import Instruction
from solders.pubkey import Pubkey
from spl.memo.constants import MEMO_PROGRAM_ID

from cvms.chain.program import instructions
from cvms.chain.program.accounts import read_vault
from cvms.chain.program.addresses import vault_address
from cvms.chain.program.instructions import yield_pool
from cvms.chain.rpc.rpc_client import RpcClient
from cvms.chain.transactions.versioned import BuiltTransaction, build_transaction
from cvms.chain.types import Commitment, Programs

VAULTS_PER_TRANSACTION = 12
"""As many as fit into 1,232 bytes, at 78 each; they use a twentieth of the compute units."""


async def with_matured(
    rpc: RpcClient, programs: Programs, owners: Sequence[Pubkey], *, now: int
) -> list[Pubkey]:
    """Return the owners whose vaults on chain have timelocks that are mature at `now`."""
    addresses = [vault_address(programs, owner) for owner in owners]
    found = await rpc.get_accounts(addresses, commitment=Commitment.CONFIRMED)
    vaults = [read_vault(account, programs) for account in found.accounts]
    return [
        owner
        for owner, vault in zip(owners, vaults, strict=True)
        if vault is not None and any(entry.unlock_time <= now for entry in vault.timelocks)
    ]


async def prepare_releases(
    rpc: RpcClient, programs: Programs, owners: Sequence[Pubkey], *, payer: Pubkey
) -> BuiltTransaction:
    """Build the release of timelocks of 1 to VAULTS_PER_TRANSACTION vaults; anyone may pay."""
    steps = [
        instructions.release_timelocks(programs, authority=payer, owner=owner) for owner in owners
    ]
    blockhash = await rpc.get_latest_blockhash(Commitment.CONFIRMED)
    return build_transaction(steps[-1], fee_payer=payer, blockhash=blockhash, setup=steps[:-1])


async def prepare_memo(rpc: RpcClient, text: str, *, payer: Pubkey) -> BuiltTransaction:
    """Build a transaction that writes a text to the chain."""
    instruction = Instruction(MEMO_PROGRAM_ID, text.encode(), [])
    blockhash = await rpc.get_latest_blockhash(Commitment.CONFIRMED)
    return build_transaction(instruction, fee_payer=payer, blockhash=blockhash)


async def prepare_compound(
    rpc: RpcClient,
    programs: Programs,
    *,
    owner: Pubkey,
    pool: Pubkey,
    amount: int,
    delegate: Pubkey,
) -> BuiltTransaction:
    """Build a claim of `amount` of interest in a yield pool, and its deposit.

    The vault's delegate signs and pays.
    """
    vault = vault_address(programs, owner)
    instruction = instructions.compound_yield(
        programs,
        authority=delegate,
        owner=owner,
        yield_program=programs.yield_pool,
        compounded_amount=amount,
        yield_accounts=yield_pool.vault_yield_accounts(
            programs, vault=vault, pool=pool, mint=programs.mint
        ),
    )
    blockhash = await rpc.get_latest_blockhash(Commitment.CONFIRMED)
    return build_transaction(instruction, fee_payer=delegate, blockhash=blockhash)
