"""What a fresh local chain needs before the service can work on it. Safe to run again."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from importlib.resources import files

import trio
from solders.instruction import Instruction
from solders.keypair import Keypair
from solders.message import MessageV0
from solders.pubkey import Pubkey
from solders.transaction import VersionedTransaction

from cvms.chain import instructions
from cvms.chain.rpc import Rpc
from cvms.chain.types import Commitment, Programs
from cvms.localnet import Deployment

TOKEN_PROGRAM = Pubkey.from_string("TokenkegQfeZyiNwAJbNbGKPFXCWuBvf9Ss623VQ5DA")
OPERATOR_LAMPORTS = 100_000_000_000
MINT_DECIMALS = 6
LANDING_DEADLINE = 30.0


def bundled_programs(programs: Programs) -> tuple[Deployment, ...]:
    """The programs of this package, at the ids they are to have."""
    built = files("cvms").joinpath("programs")
    return (
        Deployment(programs.vault, built.joinpath("collateral_vault.so").read_bytes()),
        Deployment(programs.position_manager, built.joinpath("position_manager.so").read_bytes()),
        Deployment(programs.yield_pool, built.joinpath("yield_pool.so").read_bytes()),
    )


async def prepare_chain(rpc: Rpc, programs: Programs, operator: Keypair) -> None:
    """Fund the operator, make the USDT mint, make the operator the vaults' governance."""
    await _fund(rpc, operator.pubkey())
    authority = instructions.vault_authority_address(programs)
    found = await rpc.get_accounts([programs.mint, authority], commitment=Commitment.CONFIRMED)
    mint, vault_authority = found.accounts
    if mint is None:
        await make_mint(rpc, programs.mint, authority=operator.pubkey())
    if vault_authority is None:
        await _send(
            rpc,
            operator,
            [
                instructions.initialize_vault_authority(
                    programs,
                    governance=operator.pubkey(),
                    authorized_programs=[programs.position_manager],
                    freeze=False,
                )
            ],
        )


async def _fund(rpc: Rpc, address: Pubkey) -> None:
    if await rpc.get_balance(address) < OPERATOR_LAMPORTS // 2:
        signature = await rpc.call("requestAirdrop", [str(address), OPERATOR_LAMPORTS])
        await _confirmed(rpc, str(signature))


async def make_mint(rpc: Rpc, mint: Pubkey, *, authority: Pubkey) -> None:
    """SPL Token's mint account: authority, supply, decimals, initialized, no freeze authority."""
    data = struct.pack("<I32sQBBI32s", 1, bytes(authority), 0, MINT_DECIMALS, 1, 0, bytes(32))
    lamports = await rpc.call("getMinimumBalanceForRentExemption", [len(data)])
    account = {"lamports": lamports, "owner": str(TOKEN_PROGRAM), "data": data.hex()}
    await rpc.call("surfnet_setAccount", [str(mint), account])


async def _send(rpc: Rpc, signer: Keypair, steps: Sequence[Instruction]) -> None:
    latest = await rpc.get_latest_blockhash()
    message = MessageV0.try_compile(signer.pubkey(), list(steps), [], latest.blockhash)
    wire = bytes(VersionedTransaction(message, [signer]))
    await _confirmed(rpc, await rpc.send_transaction(wire, skip_preflight=False))


async def _confirmed(rpc: Rpc, signature: str) -> None:
    with trio.fail_after(LANDING_DEADLINE):
        while True:
            (status,) = await rpc.get_signature_statuses([signature])
            if status is not None and status.commitment is not Commitment.PROCESSED:
                return
            await trio.sleep(0.05)
