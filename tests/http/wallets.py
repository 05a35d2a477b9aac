"""What a wallet does: sign a request's text, sign a transaction, hold SOL and tokens."""

from __future__ import annotations

import base64
from typing import Any

import httpx
import trio
from solders.keypair import Keypair

from cvms.chain.rpc import Rpc
from cvms.chain.transactions import attach_signature, parse_base64
from tests.http.conftest import Json, Served

SOL = 1_000_000_000
USDT = 1_000_000


async def funded(service: Served, *, tokens: int = 5_000 * USDT) -> Keypair:
    """A new wallet with 2 SOL and `tokens`."""
    wallet = Keypair()
    address, mint = str(wallet.pubkey()), str(service.config.programs.mint)
    signature = await service.rpc.call("requestAirdrop", [address, 2 * SOL])
    await landed(service.rpc, signature)
    if tokens:
        await service.rpc.call("surfnet_setTokenAccount", [address, mint, {"amount": tokens}])
    return wallet


async def landed(rpc: Rpc, signature: str) -> None:
    """Return once the transaction is confirmed. The chain's slots are 50 ms."""
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
    """A body with a fresh nonce and the owner's signature; `changes` come after signing."""
    nonce = changes.pop("nonce", None) or await service.nonce(owner)
    signer = changes.pop("signer", owner)
    body = {"owner": str(owner.pubkey()), **dict(fields), "nonce": nonce}
    text = ":".join([action, *(str(value) for value in body.values())])
    return body | {"signature": str(signer.sign_message(text.encode()))} | changes


def cosigned(wallet: Keypair, reply: httpx.Response) -> Json:
    """The body for POST /api/transactions: what the service built, with the wallet's signature."""
    assert reply.json()["mode"] == "cosign", reply.text
    transaction = attach_signature(parse_base64(reply.json()["transaction"]), wallet)
    return {"transaction": base64.b64encode(bytes(transaction)).decode()}


async def land(service: Served, wallet: Keypair, reply: httpx.Response) -> str:
    """Co-sign, submit, and wait until the chain has confirmed it."""
    assert reply.status_code == 200, reply.text
    submitted = await service.post("/api/transactions", cosigned(wallet, reply))
    assert submitted.status_code == 202, submitted.text
    signature: str = submitted.json()["signature"]
    await settled(service, signature)
    return signature


async def settled(service: Served, signature: str) -> Json:
    """The submission once it is confirmed."""
    with trio.fail_after(20):
        while True:
            state: Json = (await service.get(f"/api/transactions/{signature}")).json()
            if state["status"] in {"confirmed", "finalized"}:
                return state
            assert state["status"] in {"pending", "submitted"}, state
            await trio.sleep(0.02)
