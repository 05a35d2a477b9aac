"""The actions of wallets: signing texts and transactions, and getting SOL and tokens."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from typing import Any

import httpx
import trio
from psycopg.rows import dict_row
from solders.keypair import Keypair

from cvms.chain.rpc.rpc_client import RpcClient
from cvms.chain.transactions.versioned import attach_signature, parse_base64
from tests.harness.processes import HANG_SECONDS
from tests.harness.service import Json, Served, Service
from tests.nursery.world import until

SOL = 1_000_000_000
USDT = 1_000_000


async def funded(service: Served, *, tokens: int = 5_000 * USDT) -> Keypair:
    """Create a wallet with 2 SOL and `tokens`."""
    wallet = Keypair()
    address, mint = str(wallet.pubkey()), str(service.config.programs.mint)
    signature = await service.rpc.call("requestAirdrop", [address, 2 * SOL])
    await landed(service.rpc, signature)
    if tokens:
        await service.rpc.call("surfnet_setTokenAccount", [address, mint, {"amount": tokens}])
    return wallet


async def landed(rpc: RpcClient, signature: str) -> None:
    """Wait until the transaction is confirmed. The chain's slots are 50 ms."""
    with trio.fail_after(20):
        while True:
            (status,) = await rpc.get_signature_statuses([signature])
            if status is not None and status.commitment != "processed":
                assert status.err is None, status
                return
            await trio.sleep(0.02)


async def signed(
    service: Served, owner: Keypair, action: str, *fields: tuple[str, Any], **changes: Any
) -> Json:
    """Return a body with a new nonce and the owner's signature; `changes` follow the signing."""
    nonce = changes.pop("nonce", None) or await service.nonce(owner)
    signer = changes.pop("signer", owner)
    body = {"owner": str(owner.pubkey()), **dict(fields), "nonce": nonce}
    text = ":".join([action, *(str(value) for value in body.values())])
    return body | {"signature": str(signer.sign_message(text.encode()))} | changes


def cosigned(wallet: Keypair, reply: httpx.Response) -> Json:
    """Return the body for POST /api/transactions, with the wallet's signature."""
    assert reply.json()["mode"] == "cosign", reply.text
    transaction = attach_signature(parse_base64(reply.json()["transaction"]), wallet)
    return {"transaction": base64.b64encode(bytes(transaction)).decode()}


async def land(service: Served, wallet: Keypair, reply: httpx.Response) -> str:
    """Co-sign, submit, and wait until the chain has confirmed it."""
    assert reply.status_code == 200, reply.text
    submitted = await service.post("/api/transactions", cosigned(wallet, reply))
    assert submitted.status_code == 202, submitted.text
    signature: str = submitted.json()["signature"]
    await confirmed_submission(service, signature)
    return signature


async def confirmed_submission(service: Served, signature: str) -> Json:
    """Wait until the submission is confirmed, and return it."""
    with trio.fail_after(20):
        while True:
            state: Json = (await service.get(f"/api/transactions/{signature}")).json()
            if state["status"] in {"confirmed", "finalized"}:
                return state
            assert state["status"] in {"pending", "submitted"}, state
            await trio.sleep(0.02)


async def initialize(service: Served, wallet: Keypair) -> httpx.Response:
    return await service.post("/api/vault/initialize", {"user_pubkey": str(wallet.pubkey())})


async def deposit(service: Served, wallet: Keypair, amount: int) -> httpx.Response:
    return await service.post(
        "/api/vault/deposit", await signed(service, wallet, "deposit", ("amount", amount))
    )


async def submit(service: Served, wallet: Keypair, reply: httpx.Response) -> httpx.Response:
    return await service.post("/api/transactions", cosigned(wallet, reply))


async def with_vault(front: Service, *, amount: int = 0, delegate: bool = False) -> Keypair:
    """Create a wallet with tokens in a vault, optionally with the operator as its delegate."""
    wallet = await funded(front)
    await sent(front, wallet, await initialize(front, wallet))
    if amount:
        await sent(front, wallet, await deposit(front, wallet, amount))
    if delegate:
        operator = str(front.operator.pubkey())
        body = await signed(front, wallet, "delegate_add", ("delegate", operator))
        await sent(front, wallet, await front.post("/api/vault/delegate/add", body))
    return wallet


async def sent(front: Service, wallet: Keypair, reply: httpx.Response) -> None:
    """Submit, and send the stored transaction as the submitter would."""
    submitted = await submit(front, wallet, reply)
    assert submitted.status_code == 202, submitted.text
    (row,) = await rows(front, "SELECT wire FROM submissions WHERE state = 'pending'")
    signature = await front.rpc.send_transaction(row["wire"])
    await landed(front.rpc, signature)
    async with front.database.connection() as conn:
        await conn.execute("DELETE FROM submissions")


async def rows(service: Served, query: str) -> list[dict[str, Any]]:
    async with (
        service.database.connection() as conn,
        conn.cursor(row_factory=dict_row) as cursor,
    ):
        await cursor.execute(query.encode())
        return await cursor.fetchall()


async def until_settled(service: Served) -> None:
    """Wait until each row was read again at finality, which puts right what was altered before."""

    async def settled() -> bool:
        return not await rows(service, "SELECT 1 FROM vaults WHERE slot > settled_slot")

    await until(settled, seconds=HANG_SECONDS)


async def at_once(service: Served, route: str, bodies: Sequence[Json]) -> list[httpx.Response]:
    """POST all of them concurrently."""
    replies: list[httpx.Response] = []

    async def ask(body: Json) -> None:
        replies.append(await service.post(route, body))

    async with trio.open_nursery() as nursery:
        for body in bodies:
            nursery.start_soon(ask, body)
    return replies
