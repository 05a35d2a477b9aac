"""Test funds for wallets on a local chain."""

from __future__ import annotations

from dataclasses import dataclass

import trio
from solders.keypair import Keypair
from solders.message import MessageV0
from solders.pubkey import Pubkey
from solders.transaction import VersionedTransaction
from spl.token.constants import TOKEN_PROGRAM_ID
from spl.token.instructions import create_idempotent_associated_token_account, mint_to
from spl.token.models import MintToParams

from cvms.chain.program.addresses import token_account
from cvms.chain.rpc.rpc_client import RpcClient, open_rpc
from cvms.chain.types import Commitment, Programs
from cvms.errors import ChainTimeout, ConfigurationError, RpcError

LAMPORTS = 1_000_000_000
MINT_DECIMALS = 6
LANDING_DEADLINE = 30.0
METHOD_NOT_FOUND = -32601


@dataclass(frozen=True, slots=True)
class Funds:
    """What a wallet gets, in SOL and in USDT.

    With a `mint_authority` the USDT is minted, on any cluster. Without one the local chain sets
    what the wallet has.
    """

    sol: float
    usdt: float
    mint_authority: Keypair | None = None


def fund_wallet(address: Pubkey, funds: Funds, *, rpc_url: str, programs: Programs) -> None:
    """Give the wallet SOL of the cluster's faucet, and test USDT.

    Raises ConfigurationError for a chain that gives none, and ChainUnavailable.
    """

    async def fund() -> None:
        async with open_rpc([rpc_url]) as rpc:
            await _fund(rpc, address, funds, programs)

    try:
        trio.run(fund)
    except RpcError as error:
        if error.code != METHOD_NOT_FOUND:
            raise
        raise ConfigurationError(
            f"{rpc_url} is not a local chain: it gives no test USDT; on a test cluster name the "
            "key that mints it in --mint-authority"
        ) from None
    except trio.TooSlowError:
        raise ChainTimeout(f"{rpc_url} confirms no transaction") from None


async def _fund(rpc: RpcClient, address: Pubkey, funds: Funds, programs: Programs) -> None:
    if funds.sol:
        await airdrop(rpc, address, round(funds.sol * LAMPORTS))
    units = round(funds.usdt * 10**MINT_DECIMALS)
    if funds.mint_authority is not None:
        await _mint(rpc, address, units, funds.mint_authority, programs.mint)
    elif units:
        amount = {"amount": units}
        await rpc.call("surfnet_setTokenAccount", [str(address), str(programs.mint), amount])


async def _mint(
    rpc: RpcClient, address: Pubkey, units: int, authority: Keypair, mint: Pubkey
) -> None:
    payer, tokens = authority.pubkey(), token_account(address, mint)
    steps = [
        create_idempotent_associated_token_account(payer, address, mint),
        mint_to(
            MintToParams(
                program_id=TOKEN_PROGRAM_ID,
                mint=mint,
                dest=tokens,
                mint_authority=payer,
                amount=units,
            )
        ),
    ]
    latest = await rpc.get_latest_blockhash()
    message = MessageV0.try_compile(payer, steps, [], latest.blockhash)
    wire = bytes(VersionedTransaction(message, [authority]))
    await confirm(rpc, await rpc.send_transaction(wire, skip_preflight=False))


async def airdrop(rpc: RpcClient, address: Pubkey, lamports: int) -> None:
    """Ask the chain for SOL, and wait until it is confirmed."""
    signature = await rpc.call("requestAirdrop", [str(address), lamports])
    await confirm(rpc, str(signature))


async def confirm(rpc: RpcClient, signature: str) -> None:
    """Wait until the transaction is confirmed."""
    with trio.fail_after(LANDING_DEADLINE):
        while True:
            (status,) = await rpc.get_signature_statuses([signature])
            if status is not None and status.commitment is not Commitment.PROCESSED:
                return
            await trio.sleep(0.05)
