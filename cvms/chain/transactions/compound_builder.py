"""Transaction that claims a vault's interest in a yield pool and deposits it again."""

from __future__ import annotations

from solders.pubkey import Pubkey

from cvms.chain.program import instructions
from cvms.chain.program.addresses import vault_address
from cvms.chain.program.instructions import yield_pool
from cvms.chain.rpc.rpc_client import RpcClient
from cvms.chain.transactions.versioned import BuiltTransaction, build_transaction
from cvms.chain.types import Commitment, Programs


async def prepare_compound(
    rpc: RpcClient,
    programs: Programs,
    *,
    owner: Pubkey,
    pool: Pubkey,
    amount: int,
    delegate: Pubkey,
) -> BuiltTransaction:
    """Build the compounding of `amount` of interest. The vault's delegate signs and pays."""
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
