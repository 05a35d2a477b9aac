"""Setup of a local chain for the service: programs, mint, governance, yield pool. Idempotent."""

from __future__ import annotations

import struct
from collections.abc import Sequence

from solders.instruction import Instruction
from solders.keypair import Keypair
from solders.message import MessageV0, to_bytes_versioned
from solders.pubkey import Pubkey
from solders.transaction import VersionedTransaction
from spl.token.constants import TOKEN_PROGRAM_ID

from cvms.bootstrap.authority import AuthorityState, WantedAuthority, missing_changes
from cvms.chain.program.accounts import read_token_account, read_vault_authority
from cvms.chain.program.addresses import token_account, vault_authority_address
from cvms.chain.program.bundled_programs import PROGRAM_NAMES, bundled_elf
from cvms.chain.program.instructions import yield_pool
from cvms.chain.program.yield_pool_accounts import pool_address, read_pool, reserve_address
from cvms.chain.rpc.rpc_client import RpcClient
from cvms.chain.types import Account, Commitment, Programs
from cvms.dev.wallets import MINT_DECIMALS, airdrop, confirm
from cvms.localnet import Deployment
from cvms.signing.signer import Signer, as_signer

OPERATOR_LAMPORTS = 100_000_000_000
POOL_RATE_BPS = 500
POOL_RESERVE = 1_000_000_000_000  # a million USDT


def bundled_programs(
    programs: Programs, *, upgrade_authority: Pubkey | None = None
) -> tuple[Deployment, ...]:
    """Return the programs of this package, to be deployed at the ids in `programs`.

    Only the upgrade authority can initialize the vault authority.
    """
    ids = (programs.vault, programs.position_manager, programs.yield_pool)
    return tuple(
        Deployment(program_id, bundled_elf(name), upgrade_authority)
        for name, program_id in zip(PROGRAM_NAMES, ids, strict=True)
    )


async def prepare_chain(rpc: RpcClient, programs: Programs, operator: Signer | Keypair) -> None:
    """Fund the operator, and create what is missing: the USDT mint, the vault authority with the
    operator as governance, and a yield pool of the operator's. The operator has deployed the vault
    program.
    """
    operator = as_signer(operator)
    governance = operator.address
    await _fund(rpc, governance)
    (mint,) = await _accounts(rpc, programs.mint)
    if mint is None:
        await make_mint(rpc, programs.mint, authority=governance)
    steps = [
        *await _authority_steps(rpc, programs, governance),
        *await _pool_steps(rpc, programs, governance),
    ]
    if steps:
        await land(rpc, operator, steps)


def local_yield_sources(programs: Programs, operator: Pubkey) -> str:
    """Return the value of YIELD_SOURCES that names that pool."""
    return f"yield_pool:{pool_address(programs, mint=programs.mint, admin=operator)}"


async def _authority_steps(
    rpc: RpcClient, programs: Programs, governance: Pubkey
) -> list[Instruction]:
    """Create the vault authority, authorize the position manager, whitelist the yield pool."""
    (account,) = await _accounts(rpc, vault_authority_address(programs))
    authority = read_vault_authority(account, programs)
    state = AuthorityState(authority, limits=None, upgrade_authority=governance)
    wanted = WantedAuthority(governance=None, limits=None, yield_program=True)
    return [each.instruction for each in missing_changes(programs, state, wanted, keys={})]


async def _pool_steps(rpc: RpcClient, programs: Programs, admin: Pubkey) -> list[Instruction]:
    """Create the admin's pool, and fill the reserve that pays its interest."""
    mint = programs.mint
    pool = pool_address(programs, mint=mint, admin=admin)
    admin_tokens = token_account(admin, mint)
    accounts = await _accounts(rpc, pool, reserve_address(programs, pool), admin_tokens)
    reserve, wallet = map(read_token_account, accounts[1:])
    steps = []
    if read_pool(accounts[0], programs) is None:
        steps.append(
            yield_pool.initialize_pool(programs, admin=admin, mint=mint, rate_bps=POOL_RATE_BPS)
        )
    if reserve is None or reserve.amount < POOL_RESERVE // 2:
        amount = (wallet.amount if wallet else 0) + POOL_RESERVE
        await rpc.call("surfnet_setTokenAccount", [str(admin), str(mint), {"amount": amount}])
        steps.append(
            yield_pool.fund_reserve(
                programs, funder=admin, pool=pool, mint=mint, amount=POOL_RESERVE
            )
        )
    return steps


async def _accounts(rpc: RpcClient, *addresses: Pubkey) -> tuple[Account | None, ...]:
    return (await rpc.get_accounts(addresses, commitment=Commitment.CONFIRMED)).accounts


async def _fund(rpc: RpcClient, address: Pubkey) -> None:
    if await rpc.get_balance(address) < OPERATOR_LAMPORTS // 2:
        await airdrop(rpc, address, OPERATOR_LAMPORTS)


async def make_mint(rpc: RpcClient, mint: Pubkey, *, authority: Pubkey) -> None:
    """Create a mint of SPL Token without supply and without a freeze authority."""
    data = struct.pack("<I32sQBBI32s", 1, bytes(authority), 0, MINT_DECIMALS, 1, 0, bytes(32))
    lamports = await rpc.call("getMinimumBalanceForRentExemption", [len(data)])
    account = {"lamports": lamports, "owner": str(TOKEN_PROGRAM_ID), "data": data.hex()}
    await rpc.call("surfnet_setAccount", [str(mint), account])


async def land(rpc: RpcClient, signer: Signer | Keypair, steps: Sequence[Instruction]) -> None:
    """Send the steps in one transaction, and wait until it is confirmed."""
    signer = as_signer(signer)
    latest = await rpc.get_latest_blockhash()
    message = MessageV0.try_compile(signer.address, list(steps), [], latest.blockhash)
    signature = await signer.sign(to_bytes_versioned(message))
    wire = bytes(VersionedTransaction.populate(message, [signature]))
    await confirm(rpc, await rpc.send_transaction(wire, skip_preflight=False))
