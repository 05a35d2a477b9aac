"""A vault with a multisig, and the actions of its signers."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import httpx
from solders.instruction import Instruction
from solders.keypair import Keypair

from cvms.chain.program.instructions import set_vault_multisig
from cvms.chain.transactions.versioned import (
    attach_signature,
    build_transaction,
    parse_base64,
    sign_as,
)
from tests.harness.localnet import Localnet
from tests.harness.service import Json, Served, Service
from tests.http.wallets import USDT, landed, rows, signed, with_vault

PROPOSE = "/api/vault/propose-withdraw"
APPROVE = "/api/vault/approve-withdraw"
SUBMIT = "/api/transactions"


@dataclass(frozen=True, slots=True)
class Shared:
    """A vault with 100 USDT, its owner, and the signers, of whom `threshold` must sign."""

    owner: Keypair
    signers: tuple[Keypair, ...]


async def shared_vault(
    front: Service, *, signers: int = 3, threshold: int = 2, with_owner: bool = False
) -> Shared:
    """Create a vault with 100 USDT and a multisig of new keys, optionally with the owner's."""
    owner = await with_vault(front, amount=100 * USDT)
    others = tuple(Keypair() for _ in range(signers - with_owner))
    shared = Shared(owner, ((owner,) if with_owner else ()) + others)
    await set_multisig(front, shared.owner, shared.signers, threshold)
    return shared


async def set_multisig(
    service: Served,
    owner: Keypair,
    signers: Sequence[Keypair],
    threshold: int,
    *,
    co_signers: Sequence[Keypair] = (),
) -> None:
    """Set the multisig on chain. Signers of the one before have to sign."""
    instruction = set_vault_multisig(
        service.config.programs,
        owner=owner.pubkey(),
        signers=[each.pubkey() for each in signers],
        threshold=threshold,
        extra_signers=[each.pubkey() for each in co_signers],
    )
    await on_chain(service, owner, instruction, *co_signers)


async def change_multisig(
    service: Served, shared: Shared, signers: Sequence[Keypair], threshold: int
) -> None:
    """Set another multisig on chain, which two signers of the present one sign at once."""
    await set_multisig(service, shared.owner, signers, threshold, co_signers=shared.signers[:2])


async def on_chain(
    service: Served, owner: Keypair, instruction: Instruction, *co_signers: Keypair
) -> None:
    """Send an instruction signed by the owner and co-signers, without the service."""
    blockhash = await service.rpc.get_latest_blockhash()
    built = build_transaction(instruction, fee_payer=owner.pubkey(), blockhash=blockhash)
    transaction = sign_as(built.message, owner)
    for signer in co_signers:
        transaction = attach_signature(transaction, signer)
    await landed(service.rpc, await service.rpc.send_transaction(bytes(transaction)))


async def proposal_body(
    service: Served, shared: Shared, *, amount: int = 40 * USDT, threshold: int = 2, **changes: Any
) -> Json:
    """Return the body of a proposal. `threshold` is part of the signed text, `changes` are not."""
    fields = ("amount", amount), ("threshold", threshold)
    return await signed(service, shared.owner, "propose_withdraw", *fields, **changes)


async def propose(service: Served, shared: Shared, **fields: Any) -> str:
    """Propose a withdrawal and return its id."""
    reply = await service.post(PROPOSE, await proposal_body(service, shared, **fields))
    assert reply.status_code == 200, reply.text
    proposal: str = reply.json()["proposal_id"]
    return proposal


async def approval_body(
    service: Served, proposal: str, signer: Keypair, *, by: Keypair | None = None, **changes: Any
) -> Json:
    """Return the body of an approval, signed with the key `by`; `changes` follow the signing."""
    nonce = changes.pop("nonce", None) or await service.nonce(signer)
    text = f"approve_withdraw:{proposal}:{nonce}"
    signature = str((by or signer).sign_message(text.encode()))
    body = {"proposal_id": proposal, "signer": str(signer.pubkey()), "nonce": nonce}
    return body | {"signature": signature} | changes


async def approve(service: Served, proposal: str, signer: Keypair) -> httpx.Response:
    return await service.post(APPROVE, await approval_body(service, proposal, signer))


async def approved(service: Served, shared: Shared, *approvers: int) -> Json:
    """Propose, have the signers at these indexes approve, and return the last reply."""
    proposal = await propose(service, shared)
    for place in approvers:
        reply = await approve(service, proposal, shared.signers[place])
        assert reply.status_code == 200, reply.text
    last: Json = reply.json()
    return last


async def standing(service: Served, proposal: str) -> Json:
    reply = await service.get(f"/api/vault/proposal/{proposal}")
    assert reply.status_code == 200, reply.text
    found: Json = reply.json()
    return found


def with_signatures(transaction: str, *wallets: Keypair) -> Json:
    """Return the body for POST /api/transactions with exactly these signatures."""
    parsed = parse_base64(transaction)
    for wallet in wallets:
        parsed = attach_signature(parsed, wallet)
    return {"transaction": base64.b64encode(bytes(parsed)).decode()}


async def send_pending(front: Service) -> str:
    """Send the only stored transaction, as the submitter would, and return its signature."""
    [row] = await rows(front, "SELECT wire FROM submissions WHERE state = 'pending'")
    signature = await front.rpc.send_transaction(row["wire"])
    await landed(front.rpc, signature)
    return signature


def let_block_hashes_expire(localnet: Localnet) -> None:
    """Produce and finalize enough blocks for every blockhash to expire."""
    localnet.running.chain.advance(160)
