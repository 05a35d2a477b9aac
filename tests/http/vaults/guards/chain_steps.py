"""Steps on the chain around the routes of an owner's guards."""

from __future__ import annotations

import base64
from collections.abc import Sequence

import httpx
from solders.keypair import Keypair
from solders.pubkey import Pubkey

from cvms.chain.program.accounts import Vault, read_token_account
from cvms.chain.program.addresses import token_account
from cvms.chain.transactions.vault_builders import fetch_vault
from cvms.chain.transactions.versioned import attach_signature, parse_base64
from cvms.chain.types import Commitment
from tests.harness.localnet import Localnet
from tests.harness.service import Json, Service
from tests.http.wallets import landed, rows, signed

DAY = 24 * 60 * 60
WEEK = 7 * DAY


def pass_time(localnet: Localnet, seconds: int) -> None:
    """Move the chain's clock."""
    chain = localnet.running.chain
    chain.move_time(chain.time.now() + seconds)
    chain.advance(2)


async def vault_of(front: Service, wallet: Keypair) -> Vault:
    return await fetch_vault(front.rpc, front.config.programs, wallet.pubkey())


async def tokens_of(front: Service, wallet: Pubkey, mint: Pubkey | None = None) -> int | None:
    """Return what the associated token account of a wallet or a vault holds, None without one."""
    address = token_account(wallet, mint or front.config.programs.mint)
    found = await front.rpc.get_accounts([address], commitment=Commitment.CONFIRMED)
    tokens = read_token_account(found.accounts[0])
    return None if tokens is None else tokens.amount


async def lock(front: Service, wallet: Keypair, amount: int) -> None:
    """Open a position."""
    body = await signed(front, wallet, "pm_lock", ("amount", amount))
    await sent_by(front, [wallet], await front.post("/api/pm/lock", body))


async def sent_by(front: Service, signers: Sequence[Keypair], reply: httpx.Response) -> None:
    """Let all of them sign the transaction, submit it, and send it as the submitter would."""
    assert reply.status_code == 200, reply.text
    transaction = parse_base64(reply.json()["transaction"])
    for signer in signers:
        transaction = attach_signature(transaction, signer)
    body = {"transaction": base64.b64encode(bytes(transaction)).decode()}
    submitted = await front.post("/api/transactions", body)
    assert submitted.status_code == 202, submitted.text
    await send_pending(front)


async def send_pending(front: Service) -> None:
    """Send the pending submission, and forget it once it has landed."""
    (row,) = await rows(front, "SELECT wire FROM submissions WHERE state = 'pending'")
    await landed(front.rpc, await front.rpc.send_transaction(row["wire"]))
    async with front.database.connection() as conn:
        await conn.execute("DELETE FROM submissions")


def refusal(reply: httpx.Response) -> str:
    """Return the name of the program's error."""
    assert reply.status_code == 422, reply.text
    problem: Json = reply.json()
    return str(problem["program_error"]["name"])
