"""Multisig withdrawals: proposed, approved, signed and executed on chain."""

from __future__ import annotations

from typing import Any

import pytest
import trio
from solders.keypair import Keypair

from cvms.chain.program.addresses import token_account
from cvms.chain.transactions.vault_builders import fetch_vault
from cvms.chain.transactions.versioned import parse_base64
from tests.harness.service import Json, Served, Service, running
from tests.http.multisig.signers import (
    APPROVE,
    PROPOSE,
    SUBMIT,
    approval_body,
    approve,
    approved,
    change_multisig,
    proposal_body,
    propose,
    send_pending,
    shared_vault,
    standing,
    with_signatures,
)
from tests.http.wallets import USDT, at_once, landed, rows


async def test_two_of_three_withdraw_together(front: Service) -> None:
    shared = await shared_vault(front)
    one, _two, three = shared.signers
    keys = [str(each.pubkey()) for each in shared.signers]
    proposal = await propose(front, shared)
    opened = await standing(front, proposal)
    assert (opened["state"], opened["threshold"]) == ("open", 2)
    assert sorted(opened["signers"]) == sorted(keys)
    assert sorted(opened["missing"]) == sorted(keys)
    assert "transaction" not in opened

    first = (await approve(front, proposal, three)).json()
    assert (first["state"], "mode" in first) == ("open", False)
    assert [each["signer"] for each in first["approvals"]] == [keys[2]]

    ready = (await approve(front, proposal, one)).json()
    assert (ready["state"], ready["mode"]) == ("approved", "cosign")
    assert set(ready["must_sign"]) == set(ready["missing"]) == {keys[0], keys[2]}
    payer = parse_base64(ready["transaction"]).message.account_keys[0]
    assert payer == front.operator.pubkey()
    assert ready["instruction"]["program_id"] == str(front.config.programs.vault)
    assert await standing(front, proposal) == ready

    half = await front.post(SUBMIT, with_signatures(ready["transaction"], one))
    assert half.status_code == 202, half.text
    assert half.json() == {
        "signature": None,
        "status": "collecting",
        "proposal_id": proposal,
        "missing": [keys[2]],
        "rebuilt": False,
        "transaction": ready["transaction"],
        "last_valid_block_height": ready["last_valid_block_height"],
    }
    assert (await standing(front, proposal))["state"] == "collecting"
    assert not await rows(front, "SELECT 1 FROM submissions")

    whole = await front.post(SUBMIT, with_signatures(ready["transaction"], three))
    assert (whole.status_code, whole.json()["status"]) == (202, "pending")
    submitted = await standing(front, proposal)
    assert (submitted["state"], submitted["mode"]) == ("submitted", "submitted")
    assert submitted["signature"] == whole.json()["signature"] == await send_pending(front)
    vault = await fetch_vault(front.rpc, front.config.programs, shared.owner.pubkey())
    assert vault.total_balance == 60 * USDT
    audit = await rows(front, "SELECT actor, action, outcome FROM audit_logs ORDER BY id DESC")
    assert [(row["action"], row["outcome"]) for row in reversed(audit[:5])] == [
        ("propose_withdraw", "accepted"),
        ("approve_withdraw", "accepted"),
        ("approve_withdraw", "accepted"),
        ("cosign", "accepted"),
        ("submit", "accepted"),
    ]


async def test_the_whole_service_executes_a_proposal(front: Service, system: Served) -> None:
    shared = await shared_vault(front, with_owner=True)
    owner, other, _ = shared.signers
    ready = await approved(system, shared, 0, 1)
    body = with_signatures(ready["transaction"], owner, other)
    signature = (await system.post(SUBMIT, body)).json()["signature"]
    await landed(system.rpc, signature)
    while (found := await standing(system, ready["proposal_id"]))["state"] == "submitted":
        assert found["signature"] == signature
    assert (found["state"], found["signature"]) == ("executed", signature)


@pytest.mark.parametrize("threshold", [1, 7])
async def test_one_or_seven_signers_sign_together(front: Service, threshold: int) -> None:
    shared = await shared_vault(front, signers=7, threshold=threshold)
    proposal = await propose(front, shared, threshold=threshold)
    for signer in shared.signers[:threshold]:
        reply = await approve(front, proposal, signer)
    ready = reply.json()
    body = with_signatures(ready["transaction"], *shared.signers[:threshold])
    assert (await front.post(SUBMIT, body)).json()["status"] == "pending"
    await send_pending(front)


async def test_a_proposal_with_too_many_signatures_for_a_transaction_is_refused(
    front: Service,
) -> None:
    shared = await shared_vault(front, signers=10, threshold=8)
    reply = await front.post(PROPOSE, await proposal_body(front, shared, threshold=8))
    assert (reply.status_code, reply.json()["code"]) == (400, "invalid_request")
    assert "the limit is 1232" in reply.json()["detail"]
    assert not await rows(front, "SELECT 1 FROM multisig_proposals")


async def test_where_the_owners_token_account_is_missing_a_signer_pays_for_it(
    front: Service,
) -> None:
    shared = await shared_vault(front, with_owner=True)
    ata = token_account(shared.owner.pubkey(), front.config.programs.mint)
    empty = {"lamports": 0, "data": "", "owner": "11111111111111111111111111111111"}
    await front.rpc.call("surfnet_setAccount", [str(ata), empty])
    ready = await approved(front, shared, 1, 0)
    before = await front.rpc.get_balance(shared.owner.pubkey())
    body = with_signatures(ready["transaction"], *shared.signers[:2])
    assert (await front.post(SUBMIT, body)).json()["status"] == "pending"
    await send_pending(front)
    assert await front.rpc.get_balance(shared.owner.pubkey()) < before


# --- proposing ---------------------------------------------------------------------------------


async def test_a_proposal_follows_the_multisig_on_chain(front: Service) -> None:
    shared = await shared_vault(front)
    signers = [str(each.pubkey()) for each in shared.signers]
    other = [*signers[:2], str(Keypair().pubkey())]
    right = await proposal_body(front, shared, signers=signers[::-1])
    left_out = await proposal_body(front, shared)
    del left_out["threshold"]
    for body in (right, left_out):
        reply = await front.post(PROPOSE, body)
        assert (reply.status_code, reply.json()["threshold"]) == (200, 2), reply.text
    mismatched = [
        await proposal_body(front, shared, threshold=3),
        await proposal_body(front, shared, signers=other),
        await proposal_body(front, shared, signers=signers[:2]),
        await proposal_body(front, shared, signers=[*signers, signers[0]]),
    ]
    for body in mismatched:
        reply = await front.post(PROPOSE, body)
        assert (reply.status_code, reply.json()["code"]) == (409, "multisig_mismatch"), body
        assert "2 of these" in reply.json()["detail"]
    assert len(await rows(front, "SELECT 1 FROM multisig_proposals")) == 2
    unused = await rows(front, "SELECT 1 FROM nonces WHERE used_at IS NULL")
    assert len(unused) == len(mismatched)


async def test_a_proposal_for_a_vault_without_multisig_is_refused(front: Service) -> None:
    shared = await shared_vault(front)
    await change_multisig(front, shared, (), 0)
    body = await proposal_body(front, shared)
    for each in (body, {key: body[key] for key in body if key != "threshold"}):
        reply = await front.post(PROPOSE, each)
        assert (reply.status_code, reply.json()["code"]) == (409, "no_multisig")
    nobody = await front.post(PROPOSE, body | {"owner": str(Keypair().pubkey())})
    assert (nobody.status_code, nobody.json()["code"]) == (401, "invalid_signature")


async def test_twenty_equal_proposals_at_once_create_one(front: Service) -> None:
    shared = await shared_vault(front)
    body = await proposal_body(front, shared)
    replies = await at_once(front, PROPOSE, [body] * 20)
    assert sorted(reply.status_code for reply in replies) == [200] + [409] * 19
    assert {reply.json()["code"] for reply in replies if reply.status_code == 409} == {"nonce_used"}
    assert len(await rows(front, "SELECT 1 FROM multisig_proposals")) == 1


async def copy_proposal(front: Service, copies: int) -> None:
    """Add copies of the only proposal, without its approvals and transaction."""
    async with front.database.connection() as conn:
        await conn.execute(
            """
            INSERT INTO multisig_proposals (id, owner, amount, threshold, signers, slot, expires_at)
            SELECT gen_random_uuid(), owner, amount, threshold, signers, slot, expires_at
            FROM multisig_proposals, generate_series(1, %(copies)s)
            """,
            {"copies": copies},
        )


async def test_the_unfinished_proposals_of_a_vault_are_limited(front: Service) -> None:
    shared = await shared_vault(front)
    proposal = await propose(front, shared)
    await copy_proposal(front, 63)
    body = await proposal_body(front, shared)
    reply = await front.post(PROPOSE, body)
    assert (reply.status_code, reply.json()["code"]) == (409, "conflict")
    await expire(front, proposal)
    assert (await front.post(PROPOSE, body)).status_code == 200


@pytest.mark.parametrize(
    ("state", "status"),
    [("pending", 409), ("quarantined", 409), ("confirmed", 200), ("finalized", 200)],
)
async def test_an_executed_proposal_is_not_unfinished(
    front: Service, state: str, status: int
) -> None:
    shared = await shared_vault(front)
    ready = await approved(front, shared, 0, 1)
    await copy_proposal(front, 63)
    await front.post(SUBMIT, with_signatures(ready["transaction"], *shared.signers[:2]))
    async with front.database.connection() as conn:
        await conn.execute("UPDATE submissions SET state = %(state)s", {"state": state})
    reply = await front.post(PROPOSE, await proposal_body(front, shared))
    assert reply.status_code == status, reply.text


async def test_a_proposal_that_a_change_of_the_multisig_cancelled_is_not_unfinished(
    front: Service, system: Served
) -> None:
    shared = await shared_vault(front)
    proposal = await propose(system, shared)
    await copy_proposal(front, 63)
    await change_multisig(system, shared, shared.signers, 1)
    with trio.fail_after(20):
        while (await standing(system, proposal))["state"] != "cancelled":
            await trio.lowlevel.checkpoint()
    assert await propose(system, shared, threshold=1)


# --- approving ---------------------------------------------------------------------------------


async def test_each_signer_counts_once(front: Service) -> None:
    shared = await shared_vault(front)
    proposal = await propose(front, shared)
    signer = shared.signers[0]
    body = await approval_body(front, proposal, signer)
    same = await at_once(front, APPROVE, [body] * 20)
    assert sorted(reply.status_code for reply in same) == [200] + [409] * 19
    bodies = [await approval_body(front, proposal, signer) for _ in range(20)]
    others = await at_once(front, APPROVE, bodies)
    assert {reply.status_code for reply in others} == {200}
    assert {reply.json()["state"] for reply in others} == {"open"}
    counted = await rows(front, "SELECT signer FROM multisig_approvals")
    assert counted == [{"signer": str(signer.pubkey())}]


async def test_concurrent_approvals_are_all_counted_and_build_one_transaction(
    front: Service,
) -> None:
    shared = await shared_vault(front, signers=6, threshold=4)
    proposal = await propose(front, shared, threshold=4)
    bodies = [await approval_body(front, proposal, each) for each in shared.signers]
    replies = await at_once(front, APPROVE, bodies)
    assert {reply.status_code for reply in replies} == {200}
    states = sorted(reply.json()["state"] for reply in replies)
    assert states == ["approved"] * 3 + ["open"] * 3
    assert len(await rows(front, "SELECT 1 FROM multisig_approvals")) == 6
    assert len(await rows(front, "SELECT 1 FROM multisig_transactions")) == 1
    assert len((await standing(front, proposal))["must_sign"]) == 4


async def test_an_approval_repeated_with_its_key_gets_the_first_answer(front: Service) -> None:
    shared = await shared_vault(front)
    proposal = await propose(front, shared)
    body = await approval_body(front, proposal, shared.signers[0])
    headers = {"Idempotency-Key": "one"}
    first = await front.http.post(front.url + APPROVE, json=body, headers=headers)
    await approve(front, proposal, shared.signers[1])
    again = await front.http.post(front.url + APPROVE, json=body, headers=headers)
    assert first.status_code == again.status_code == 200
    assert again.content == first.content
    assert again.json()["state"] == "open"


async def test_the_last_approval_does_not_count_if_the_chain_would_refuse(
    front: Service,
) -> None:
    shared = await shared_vault(front)
    proposal = await propose(front, shared, amount=101 * USDT)
    await approve(front, proposal, shared.signers[0])
    body = await approval_body(front, proposal, shared.signers[1])
    reply = await front.post(APPROVE, body)
    assert (reply.status_code, reply.json()["code"]) == (422, "program_error")
    assert reply.json()["program_error"]["name"] == "InsufficientFunds"
    assert (await front.post(APPROVE, body)).json()["code"] == "nonce_used"
    assert len((await standing(front, proposal))["approvals"]) == 1
    [last] = await rows(front, "SELECT action, outcome FROM audit_logs ORDER BY id DESC LIMIT 1")
    assert last == {"action": "approve_withdraw", "outcome": "refused"}


async def test_an_expired_proposal_takes_no_approvals_or_signatures(front: Service) -> None:
    shared = await shared_vault(front)
    ready = await approved(front, shared, 0, 1)
    proposal = ready["proposal_id"]
    await expire(front, proposal)
    late = await approval_body(front, proposal, shared.signers[2])
    reply = await front.post(APPROVE, late)
    assert (reply.status_code, reply.json()["code"]) == (409, "proposal_expired")
    body = with_signatures(ready["transaction"], *shared.signers[:2])
    reply = await front.post(SUBMIT, body)
    assert (reply.status_code, reply.json()["code"]) == (409, "proposal_expired")
    assert (await standing(front, proposal))["state"] == "expired"
    assert not await rows(front, "SELECT 1 FROM submissions")
    [nonce] = await rows(front, f"SELECT used_at FROM nonces WHERE nonce = '{late['nonce']}'")
    assert nonce["used_at"] is None


async def test_a_signer_who_was_removed_on_chain_cannot_approve(front: Service) -> None:
    shared = await shared_vault(front)
    proposal = await propose(front, shared)
    await approve(front, proposal, shared.signers[0])
    await change_multisig(front, shared, shared.signers[:2], 2)
    bodies = [await approval_body(front, proposal, each) for each in shared.signers[1:]]
    for body in bodies:
        reply = await front.post(APPROVE, body)
        assert (reply.status_code, reply.json()["code"]) == (409, "proposal_cancelled")
    assert (await standing(front, proposal))["state"] == "cancelled"
    assert len(await rows(front, "SELECT 1 FROM multisig_approvals")) == 1
    await change_multisig(front, shared, shared.signers, 2)
    reply = await approve(front, proposal, shared.signers[1])
    assert reply.json()["code"] == "proposal_cancelled"  # it stays so


async def test_signatures_are_void_once_the_multisig_changes(front: Service) -> None:
    shared = await shared_vault(front)
    ready = await approved(front, shared, 0, 1)
    await change_multisig(front, shared, shared.signers, 1)
    reply = await front.post(SUBMIT, with_signatures(ready["transaction"], *shared.signers[:2]))
    assert (reply.status_code, reply.json()["code"]) == (409, "proposal_cancelled")
    assert not await rows(front, "SELECT 1 FROM submissions")


async def test_a_change_of_the_multisig_cancels_the_proposal_without_a_request(
    front: Service, system: Served
) -> None:
    shared = await shared_vault(front)
    proposal = await propose(system, shared)
    await change_multisig(system, shared, shared.signers, 3)
    while (found := await standing(system, proposal))["state"] == "open":
        assert found["threshold"] == 2
    assert found["state"] == "cancelled"


async def test_a_submitted_proposal_takes_no_approvals(front: Service) -> None:
    shared = await shared_vault(front)
    ready = await approved(front, shared, 0, 1)
    await front.post(SUBMIT, with_signatures(ready["transaction"], *shared.signers[:2]))
    reply = await approve(front, ready["proposal_id"], shared.signers[2])
    assert (reply.status_code, reply.json()["code"]) == (409, "proposal_completed")


async def test_an_unknown_proposal_is_a_404(front: Service) -> None:
    unknown = "00000000-0000-0000-0000-000000000000"
    reply = await front.get(f"/api/vault/proposal/{unknown}")
    assert (reply.status_code, reply.json()["code"]) == (404, "not_found")
    reply = await approve(front, unknown, Keypair())
    assert (reply.status_code, reply.json()["code"]) == (404, "not_found")
    for malformed in ("1", unknown.upper() + "0", unknown.replace("-", "")):
        assert (await front.get(f"/api/vault/proposal/{malformed}")).status_code == 400
        assert (await approve(front, malformed, Keypair())).status_code == 400


# --- who may what ------------------------------------------------------------------------------


async def test_only_the_owner_proposes(front: Service) -> None:
    shared = await shared_vault(front)
    mallory, stolen = Keypair(), await front.nonce(shared.owner)
    foreign = await front.nonce(mallory)
    attempts: list[tuple[Json, int, str]] = [
        (await proposal_body(front, shared, signer=mallory), 401, "invalid_signature"),
        (await proposal_body(front, shared, signer=shared.signers[0]), 401, "invalid_signature"),
        *[
            (await proposal_body(front, shared) | change, 401, "invalid_signature")
            for change in changes(mallory)
        ],
        (
            await proposal_body(front, shared, nonce=stolen, signer=mallory)
            | {"owner": str(mallory.pubkey())},
            401,
            "invalid_signature",
        ),
        (await proposal_body(front, shared, nonce="x" * 32), 401, "invalid_nonce"),
        (
            await proposal_body(front, shared, nonce=foreign),
            401,
            "invalid_nonce",
        ),
    ]
    await refused(front, PROPOSE, attempts)
    assert not await rows(front, "SELECT 1 FROM multisig_proposals")
    body = await proposal_body(front, shared, nonce=stolen)
    assert (await front.post(PROPOSE, body)).status_code == 200
    assert (await front.post(PROPOSE, body)).json()["code"] == "nonce_used"
    late = await proposal_body(front, shared)
    await let_nonces_expire(front)
    await refused(front, PROPOSE, [(late, 401, "nonce_expired")])


def changes(mallory: Keypair) -> list[dict[str, Any]]:
    """Return the requests that somebody could alter in transit."""
    return [
        {"amount": 41 * USDT},
        {"threshold": 1},
        {"owner": str(mallory.pubkey())},
        {"nonce": "x" * 32},
    ]


async def test_only_a_signer_approves(front: Service) -> None:
    shared = await shared_vault(front)
    mallory, signer = Keypair(), shared.signers[0]
    proposal, other = await propose(front, shared), await propose(front, shared)
    stolen = await front.nonce(signer)
    forged = await approval_body(front, proposal, signer, by=mallory)
    attempts: list[tuple[Json, int, str]] = [
        (forged, 401, "invalid_signature"),
        (await approval_body(front, proposal, signer, proposal_id=other), 401, "invalid_signature"),
        (
            await approval_body(front, proposal, signer)
            | {"signer": str(shared.signers[1].pubkey())},
            401,
            "invalid_signature",
        ),
        (await approval_body(front, proposal, mallory, nonce=stolen), 401, "invalid_nonce"),
        (
            await approval_body(front, proposal, shared.signers[1], nonce=stolen),
            401,
            "invalid_nonce",
        ),
        (await approval_body(front, proposal, signer, nonce="x" * 32), 401, "invalid_nonce"),
        (await approval_body(front, proposal, mallory), 403, "not_a_signer"),
        (await approval_body(front, proposal, shared.owner), 403, "not_a_signer"),
    ]
    await refused(front, APPROVE, attempts)
    assert not await rows(front, "SELECT 1 FROM multisig_approvals")
    body = await approval_body(front, proposal, signer, nonce=stolen)
    assert (await front.post(APPROVE, body)).status_code == 200
    await refused(front, APPROVE, [(body, 409, "nonce_used")])
    late = await approval_body(front, proposal, shared.signers[1])
    await let_nonces_expire(front)
    await refused(front, APPROVE, [(late, 401, "nonce_expired")])


async def test_an_unavailable_chain_leaves_the_nonces_unused(
    front: Service, database_url: str
) -> None:
    shared = await shared_vault(front)
    proposal = await propose(front, shared)
    proposing = await proposal_body(front, shared)
    approving = await approval_body(front, proposal, shared.signers[0])
    async with running(database_url, operator=front.operator) as cut_off:
        for route, body in ((PROPOSE, proposing), (APPROVE, approving)):
            reply = await cut_off.post(route, body)
            assert (reply.status_code, reply.json()["code"]) == (503, "chain_unavailable")
    assert (await front.post(PROPOSE, proposing)).status_code == 200
    assert (await front.post(APPROVE, approving)).status_code == 200


# --- what the tests are made of ----------------------------------------------------------------


async def refused(front: Service, route: str, attempts: list[tuple[Json, int, str]]) -> None:
    for body, status, code in attempts:
        reply = await front.post(route, body)
        assert (reply.status_code, reply.json()["code"]) == (status, code), body


async def expire(front: Service, proposal: str) -> None:
    async with front.database.connection() as conn:
        await conn.execute(
            "UPDATE multisig_proposals SET expires_at = clock_timestamp() WHERE id = %s",
            (proposal,),
        )


async def let_nonces_expire(front: Service) -> None:
    async with front.database.connection() as conn:
        await conn.execute("UPDATE nonces SET expires_at = now() WHERE used_at IS NULL")
