"""Matured timelocks of several vaults, given back in one transaction by whoever pays for it."""

from __future__ import annotations

from collections.abc import Sequence

from solders.pubkey import Pubkey

from cvms.chain.program import instructions
from cvms.chain.program.accounts import read_vault
from cvms.chain.program.addresses import vault_address
from cvms.chain.rpc.rpc_client import RpcClient
from cvms.chain.transactions.versioned import BuiltTransaction, build_transaction
from cvms.chain.types import Commitment, Programs

VAULTS_PER_TRANSACTION = 12
"""As many as 1,232 bytes hold, at 78 for each; they use a twentieth of a transaction's compute."""


async def with_matured(
    rpc: RpcClient, programs: Programs, owners: Sequence[Pubkey], *, now: int
) -> list[Pubkey]:
    """Those of the owners whose vaults hold timelocks, on chain, that have matured at `now`."""
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
    """Release the timelocks of up to VAULTS_PER_TRANSACTION vaults; one at least."""
    steps = [
        instructions.release_timelocks(programs, authority=payer, owner=owner) for owner in owners
    ]
    blockhash = await rpc.get_latest_blockhash(Commitment.CONFIRMED)
    return build_transaction(steps[-1], fee_payer=payer, blockhash=blockhash, setup=steps[:-1])
