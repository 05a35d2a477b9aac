"""The transaction of a proposal collects signatures, and is submitted once or replaced."""

from __future__ import annotations

import base64
from typing import Any

import httpx
import pytest
import trio
from solders.keypair import Keypair

from cvms.chain.transactions.vault_builders import fetch_vault
from cvms.chain.transactions.versioned import instructions_of, message_of, parse_base64
from cvms.chain.types import Commitment
from cvms.http.multisig import cosigning
from tests.harness.guard_program import deploy_guards
from tests.harness.localnet import Localnet
from tests.harness.service import Json, Service
from tests.http.multisig.signers import (
    APPROVE,
    SUBMIT,
    Shared,
    approval_body,
    approve,
    approved,
    let_block_hashes_expire,
    proposal_body,
    send_pending,
    shared_vault,
    standing,
    with_signatures,
)
from tests.http.operations.wallet_rewrites import body_of, compiled, legacy, phantom
from tests.http.wallets import USDT, at_once, rows

WAITING = """
SELECT pid
FROM pg_stat_activity
WHERE wait_event_type = 'Lock'
  AND datname = current_database()
"""


def corrupted(body: Json, place: int) -> Json:
    """Return the body with one bit of the signature at `place` inverted."""
    wire = bytearray(base64.b64decode(body["transaction"]))
    wire[1 + 64 * place + 5] ^= 1
    return {"transaction": base64.b64encode(bytes(wire)).decode()}


def place_of(ready: Json, wallet: Keypair) -> int:
    return parse_base64(ready["transaction"]).message.account_keys.index(wallet.pubkey())


async def test_wrong_signatures_are_refused_and_change_nothing(front: Service) -> None:
    shared = await shared_vault(front)
    ready = await approved(front, shared, 0, 1)
    one, two, _ = shared.signers
    unsigned = {"transaction": ready["transaction"]}
    of_one = with_signatures(ready["transaction"], one)
    of_two = with_signatures(ready["transaction"], one, two)
    moved = base64.b64decode(of_one["transaction"])
    first, second = place_of(ready, one), place_of(ready, two)
    wire = bytearray(moved)
    wire[1 + 64 * second : 65 + 64 * second] = moved[1 + 64 * first : 65 + 64 * first]
    borrowed = {"transaction": base64.b64encode(bytes(wire)).decode()}
    for body in (unsigned, corrupted(of_one, first), corrupted(of_two, second), borrowed):
        reply = await front.post(SUBMIT, body)
        assert (reply.status_code, reply.json()["code"]) == (401, "invalid_signature")
        assert not await rows(front, "SELECT 1 FROM multisig_signatures")
    # The service ignores what is in its own place, since it signs itself.
    reply = await front.post(SUBMIT, corrupted(of_one, 0))
    assert reply.json()["missing"] == [str(two.pubkey())]
    kept = await rows(front, "SELECT signer FROM multisig_signatures")
    assert kept == [{"signer": str(one.pubkey())}]


async def test_what_the_first_signers_wallet_makes_of_it_is_what_the_others_sign(
    front: Service, localnet: Localnet
) -> None:
    deploy_guards(localnet)
    shared = await shared_vault(front)
    ready = await approved(front, shared, 0, 1)
    one, two, _ = shared.signers
    planned = message_of(parse_base64(ready["transaction"]))
    changed = phantom(planned, one.pubkey(), one.pubkey())
    other = phantom(planned, two.pubkey(), two.pubkey())

    first = await front.post(SUBMIT, body_of(changed, one))
    assert (first.status_code, first.json()["status"]) == (202, "collecting"), first.text
    assert first.json()["rebuilt"] is False
    assert first.json()["missing"] == [str(two.pubkey())]
    assert message_of(parse_base64(first.json()["transaction"])) == changed
    shown = await standing(front, ready["proposal_id"])
    assert shown["instruction"] == ready["instruction"]
    assert (await front.post(SUBMIT, body_of(changed, one))).json() == first.json()

    for late in (body_of(other, two), body_of(planned, two)):
        again = await front.post(SUBMIT, late)
        assert (again.status_code, again.json()["rebuilt"]) == (202, True)
        assert again.json()["transaction"] == first.json()["transaction"]
    last = await front.post(SUBMIT, with_signatures(first.json()["transaction"], two))
    assert last.status_code == 202
    assert last.json()["signature"] is not None
    await send_pending(front)
    ended = await standing(front, ready["proposal_id"])
    assert (ended["state"], ended["signature"]) == ("submitted", last.json()["signature"])
    reply = await front.post(SUBMIT, body_of(other, one, two))
    assert (reply.status_code, reply.json()["code"]) == (409, "proposal_completed")
    assert len(await rows(front, "SELECT 1 FROM submissions")) == 1


async def test_a_legacy_transaction_with_all_signatures_is_submitted(front: Service) -> None:
    shared = await shared_vault(front)
    ready = await approved(front, shared, 0, 1)
    one, two, _ = shared.signers
    planned = message_of(parse_base64(ready["transaction"]))
    changed = legacy(planned, one.pubkey(), one.pubkey())
    bodies = [body_of(changed, one, two)] * 3
    replies = await at_once(front, SUBMIT, bodies)
    assert {each.status_code for each in replies} == {202}
    assert len({each.json()["signature"] for each in replies}) == 1
    await send_pending(front)


async def test_a_changed_transaction_that_fails_takes_the_place_of_none(
    front: Service,
) -> None:
    shared = await shared_vault(front)  # the guard program is not deployed
    ready = await approved(front, shared, 0, 1)
    one = shared.signers[0]
    planned = message_of(parse_base64(ready["transaction"]))
    reply = await front.post(SUBMIT, body_of(phantom(planned, one.pubkey(), one.pubkey()), one))
    assert (reply.status_code, reply.json()["code"]) == (422, "program_error")
    assert (await standing(front, ready["proposal_id"]))["transaction"] == ready["transaction"]


async def test_a_guard_gets_no_signer_who_has_not_signed_yet(
    front: Service, localnet: Localnet
) -> None:
    deploy_guards(localnet)
    shared = await shared_vault(front)
    ready = await approved(front, shared, 0, 1)
    one, two, _ = shared.signers
    planned = message_of(parse_base64(ready["transaction"]))
    changed = phantom(planned, two.pubkey(), two.pubkey())
    reply = await front.post(SUBMIT, body_of(changed, one))
    assert (reply.status_code, reply.json()["code"]) == (422, "unknown_transaction")
    assert not await rows(front, "SELECT 1 FROM multisig_signatures")


async def test_concurrent_co_signers_lose_no_signature_and_submit_once(front: Service) -> None:
    shared = await shared_vault(front, signers=5, threshold=5)
    proposal = await propose_all(front, shared, 5)
    transaction = (await standing(front, proposal))["transaction"]
    bodies = [with_signatures(transaction, each) for each in shared.signers]
    replies = await at_once(front, SUBMIT, bodies * 3)
    assert {reply.status_code for reply in replies} == {202}
    final = {reply.json()["signature"] for reply in replies if reply.json()["signature"]}
    assert len(final) == 1
    assert len(await rows(front, "SELECT 1 FROM submissions")) == 1
    submitted = (
        "SELECT 1 FROM audit_logs WHERE action = 'submit' AND details->>'proposal' IS NOT NULL"
    )
    assert len(await rows(front, submitted)) == 1
    assert final == {await send_pending(front)}
    again = await front.post(SUBMIT, bodies[0])
    assert again.json() == {"signature": final.pop(), "status": "pending"}


async def test_twenty_equal_last_signatures_at_once_get_one_answer(front: Service) -> None:
    shared = await shared_vault(front)
    ready = await approved(front, shared, 0, 1)
    await front.post(SUBMIT, with_signatures(ready["transaction"], shared.signers[0]))
    last = with_signatures(ready["transaction"], shared.signers[1])
    replies = await at_once(front, SUBMIT, [last] * 20)
    assert {reply.status_code for reply in replies} == {202}
    assert len({reply.json()["signature"] for reply in replies}) == 1
    assert len(await rows(front, "SELECT 1 FROM submissions")) == 1


@pytest.mark.parametrize("step", ["open_proposal", "simulate_signed"])
async def test_the_same_last_signature_posted_meanwhile_gets_the_same_answer(
    front: Service, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    shared = await shared_vault(front)
    ready = await approved(front, shared, 0, 1)
    body = with_signatures(ready["transaction"], *shared.signers[:2])
    original = getattr(cosigning, step)
    faster: list[httpx.Response] = []

    async def late(*args: Any, **named: Any) -> Any:
        """Let an equal request be faster: it is complete, and lands, before this step."""
        monkeypatch.setattr(cosigning, step, original)
        faster.append(await front.post(SUBMIT, body))
        await send_pending(front)
        return await original(*args, **named)

    monkeypatch.setattr(cosigning, step, late)
    slower = await front.post(SUBMIT, body)
    assert faster[0].status_code == 202
    assert (slower.status_code, slower.json()) == (202, faster[0].json())


async def test_the_last_signature_wakes_the_submitter(front: Service) -> None:
    shared = await shared_vault(front)
    ready = await approved(front, shared, 0, 1)
    await front.post(SUBMIT, with_signatures(ready["transaction"], *shared.signers[:2]))
    with trio.fail_after(1):
        assert await front.submit_wake.wait(1)


async def test_a_withdrawal_that_the_chain_refuses_by_now_is_not_submitted(front: Service) -> None:
    shared = await shared_vault(front)
    first, second = await approved(front, shared, 0, 1), await approved(front, shared, 0, 1)
    third = await approved(front, shared, 0, 1)  # 40 of 100 each
    for ready in (first, second):
        await front.post(SUBMIT, with_signatures(ready["transaction"], *shared.signers[:2]))
        await send_pending(front)
        async with front.database.connection() as conn:
            await conn.execute("UPDATE submissions SET state = 'confirmed'")
    reply = await front.post(SUBMIT, with_signatures(third["transaction"], *shared.signers[:2]))
    assert (reply.status_code, reply.json()["code"]) == (422, "program_error")
    assert len(await rows(front, "SELECT 1 FROM submissions")) == 2
    assert (await standing(front, third["proposal_id"]))["state"] == "approved"


async def test_a_transaction_that_is_too_old_is_replaced_and_its_signatures_dropped(
    front: Service, localnet: Localnet
) -> None:
    shared = await shared_vault(front)
    ready = await approved(front, shared, 0, 1)
    one, two, _ = shared.signers
    await front.post(SUBMIT, with_signatures(ready["transaction"], one))
    let_block_hashes_expire(localnet)
    late = with_signatures(ready["transaction"], two)
    replies = await at_once(front, SUBMIT, [late] * 5)
    assert {(reply.status_code, reply.json()["rebuilt"]) for reply in replies} == {(202, True)}
    [fresh] = {reply.json()["transaction"] for reply in replies}
    assert fresh != ready["transaction"]
    both = {str(one.pubkey()), str(two.pubkey())}
    assert set(replies[0].json()["missing"]) == both
    assert not await rows(front, "SELECT 1 FROM multisig_signatures")
    assert len(await rows(front, "SELECT 1 FROM multisig_transactions")) == 2
    assert (await standing(front, ready["proposal_id"]))["transaction"] == fresh
    done = await front.post(SUBMIT, with_signatures(fresh, one, two))
    assert done.json()["status"] == "pending"
    await send_pending(front)
    old = await front.post(SUBMIT, late)
    assert (old.status_code, old.json()["code"]) == (409, "proposal_completed")


async def test_nothing_replaces_a_transaction_before_it_is_certain_not_to_land(
    front: Service, localnet: Localnet
) -> None:
    shared = await shared_vault(front)
    ready = await approved(front, shared, 0, 1)
    body = with_signatures(ready["transaction"], shared.signers[0])
    chain = localnet.running.chain
    chain.pause()
    while (
        await front.rpc.get_block_height(Commitment.CONFIRMED) <= ready["last_valid_block_height"]
    ):
        chain.advance(1)
    assert (
        await front.rpc.get_block_height(Commitment.FINALIZED) <= ready["last_valid_block_height"]
    )
    again = await approval_body(front, ready["proposal_id"], shared.signers[0])
    for route, early in ((SUBMIT, body), (APPROVE, again)):
        reply = await front.post(route, early)
        assert (reply.status_code, reply.json()["code"]) == (422, "transaction_expired")
    assert len(await rows(front, "SELECT 1 FROM multisig_transactions")) == 1
    chain.advance(10)
    assert (await front.post(SUBMIT, body)).json()["rebuilt"] is True
    assert (await front.post(APPROVE, again)).json()["state"] == "approved"


async def test_a_submitted_transaction_is_replaced_only_when_it_has_expired(
    front: Service, localnet: Localnet
) -> None:
    shared = await shared_vault(front)
    ready = await approved(front, shared, 0, 1)
    body = with_signatures(ready["transaction"], *shared.signers[:2])
    signature = (await front.post(SUBMIT, body)).json()["signature"]
    let_block_hashes_expire(localnet)  # and nobody has sent it
    pending = await front.post(SUBMIT, body)
    assert pending.json() == {"signature": signature, "status": "pending"}
    late = await approve(front, ready["proposal_id"], shared.signers[2])
    assert late.json()["code"] == "proposal_completed"
    await submission_is(front, "expired")
    rebuilt = (await front.post(SUBMIT, body)).json()
    assert rebuilt["rebuilt"] is True
    fresh = with_signatures(rebuilt["transaction"], *shared.signers[:2])
    assert (await front.post(SUBMIT, fresh)).json()["status"] == "pending"
    assert len(await rows(front, "SELECT 1 FROM submissions")) == 2


async def test_a_landed_transaction_is_not_replaced_whatever_its_row_says(
    front: Service, localnet: Localnet
) -> None:
    shared = await shared_vault(front)
    ready = await approved(front, shared, 0, 1)
    body = with_signatures(ready["transaction"], *shared.signers[:2])
    await front.post(SUBMIT, body)
    await send_pending(front)
    let_block_hashes_expire(localnet)
    await submission_is(front, "expired")  # as if it had been taken for lost
    reply = await front.post(SUBMIT, body)
    assert (reply.status_code, reply.json()["code"]) == (409, "proposal_completed")
    assert len(await rows(front, "SELECT 1 FROM multisig_transactions")) == 1
    vault = await fetch_vault(front.rpc, front.config.programs, shared.owner.pubkey())
    assert vault.total_balance == 60 * USDT


async def test_after_a_failure_another_can_be_signed_once_the_first_cannot_land(
    front: Service, localnet: Localnet
) -> None:
    shared = await shared_vault(front)
    ready = await approved(front, shared, 0, 1)
    body = with_signatures(ready["transaction"], *shared.signers[:2])
    await front.post(SUBMIT, body)
    await submission_is(front, "failed")
    assert (await front.post(SUBMIT, body)).json()["status"] == "failed"
    early = await approve(front, ready["proposal_id"], shared.signers[0])
    assert early.json()["code"] == "transaction_expired"
    let_block_hashes_expire(localnet)
    again = (await approve(front, ready["proposal_id"], shared.signers[0])).json()
    assert (again["state"], again["mode"]) == ("approved", "cosign")
    assert again["transaction"] != ready["transaction"]


async def test_a_signer_who_is_late_is_replaced_by_another_who_approved(
    front: Service, localnet: Localnet
) -> None:
    shared = await shared_vault(front)
    one, away, three = shared.signers
    ready = await approved(front, shared, 0, 1)
    await front.post(SUBMIT, with_signatures(ready["transaction"], one))
    extra = (await approve(front, ready["proposal_id"], three)).json()
    assert extra["transaction"] == ready["transaction"]
    let_block_hashes_expire(localnet)
    rebuilt = await front.post(SUBMIT, with_signatures(ready["transaction"], one))
    assert set(rebuilt.json()["missing"]) == {str(one.pubkey()), str(three.pubkey())}
    assert str(away.pubkey()) not in (await standing(front, ready["proposal_id"]))["must_sign"]


async def test_approvals_that_race_the_end_of_a_proposal_leave_it_consistent(
    front: Service,
) -> None:
    shared = await shared_vault(front, signers=6, threshold=6)
    proposal = await propose_all(front, shared, 0)
    bodies = [await approval_body(front, proposal, each) for each in shared.signers]

    async def expire() -> None:
        async with front.database.connection() as conn:
            await conn.execute("UPDATE multisig_proposals SET expires_at = clock_timestamp()")

    async with trio.open_nursery() as nursery:
        nursery.start_soon(expire)
        replies = await at_once(front, APPROVE, bodies)
    accepted = [reply for reply in replies if reply.status_code == 200]
    others = {reply.json()["code"] for reply in replies if reply.status_code != 200}
    assert others <= {"proposal_expired"}
    assert len(await rows(front, "SELECT 1 FROM multisig_approvals")) == len(accepted)
    nonces = await rows(front, "SELECT nonce FROM nonces WHERE used_at IS NOT NULL")
    used = {row["nonce"] for row in nonces} & {body["nonce"] for body in bodies}
    assert len(used) == len(accepted)


async def test_a_killed_request_has_its_whole_effect_or_none(front: Service) -> None:
    shared = await shared_vault(front)
    proposal = await propose_all(front, shared, 1)
    body = await approval_body(front, proposal, shared.signers[1])
    # Blocked at the audit entry, the last write of the approval, and killed there.
    async with front.database.dedicated() as other, other.transaction():
        await other.execute("SELECT id FROM audit_head FOR UPDATE")
        with trio.move_on_after(10) as cut:

            async def ask() -> None:
                await front.post(APPROVE, body)

            async with trio.open_nursery() as nursery:
                nursery.start_soon(ask)
                while not (found := await rows(front, WAITING)):
                    await trio.lowlevel.checkpoint()
                await other.execute("SELECT pg_terminate_backend(%s)", (found[0]["pid"],))
        assert not cut.cancelled_caught
    assert len((await standing(front, proposal))["approvals"]) == 1
    assert not await rows(front, "SELECT 1 FROM multisig_transactions")
    again = await front.post(APPROVE, body)
    assert (again.status_code, again.json()["state"]) == (200, "approved")


# --- what the tests are made of ----------------------------------------------------------------


async def propose_all(front: Service, shared: Shared, approvals: int) -> str:
    """Return a proposal that all (or two) must sign and that so many have approved."""
    threshold = 2 if len(shared.signers) == 3 else len(shared.signers)
    body = await proposal_body(front, shared, threshold=threshold)
    reply = await front.post("/api/vault/propose-withdraw", body)
    assert reply.status_code == 200, reply.text
    proposal: str = reply.json()["proposal_id"]
    for signer in shared.signers[:approvals]:
        assert (await approve(front, proposal, signer)).status_code == 200
    return proposal


async def submission_is(front: Service, state: str) -> None:
    """Record the outcome, as the submitter would."""
    async with front.database.connection() as conn:
        await conn.execute("UPDATE submissions SET state = %s", (state,))


async def test_a_changed_transaction_is_of_the_open_one_of_equal_proposals(
    front: Service, localnet: Localnet
) -> None:
    deploy_guards(localnet)
    shared = await shared_vault(front)
    one, two, _ = shared.signers
    for _ in range(2):  # the first has been executed when the second is made
        ready = await approved(front, shared, 0, 1)
        planned = message_of(parse_base64(ready["transaction"]))
        changed = phantom(planned, one.pubkey(), one.pubkey())
        reply = await front.post(SUBMIT, body_of(changed, one))
        assert (reply.status_code, reply.json().get("rebuilt")) == (202, False), reply.text
        done = await front.post(SUBMIT, body_of(changed, two))
        assert done.json()["status"] == "pending"
        await send_pending(front)
        await submission_is(front, "confirmed")


async def test_a_changed_transaction_is_of_the_proposal_for_which_it_was_built(
    front: Service, localnet: Localnet
) -> None:
    deploy_guards(localnet)
    shared = await shared_vault(front)
    one = shared.signers[0]
    ready = [await approved(front, shared, 0, 1) for _ in range(2)]
    planned = message_of(parse_base64(ready[1]["transaction"]))
    reply = await front.post(SUBMIT, body_of(phantom(planned, one.pubkey(), one.pubkey()), one))
    assert (reply.status_code, reply.json()["rebuilt"]) == (202, False), reply.text
    states = [(await standing(front, each["proposal_id"]))["state"] for each in ready]
    assert states == ["approved", "collecting"]


async def test_another_form_of_a_submitted_transaction_is_of_no_equal_proposal(
    front: Service, localnet: Localnet
) -> None:
    """Signers who sign the transaction of one proposal twice have asked for one effect."""
    shared = await shared_vault(front)
    signers = shared.signers[:2]
    ready = await approved(front, shared, 0, 1)
    planned = message_of(parse_base64(ready["transaction"]))
    localnet.running.chain.advance(3)
    refreshed = compiled(
        planned,
        instructions_of(planned),
        blockhash=(await front.rpc.get_latest_blockhash()).blockhash,
    )
    first = await front.post(SUBMIT, body_of(refreshed, *signers))
    assert first.json()["status"] == "pending", first.text
    other = await approved(front, shared, 0, 1)
    again = legacy(planned, signers[0].pubkey(), signers[0].pubkey())
    reply = await front.post(SUBMIT, body_of(again, *signers))
    assert (reply.status_code, reply.json()["code"]) == (409, "proposal_completed"), reply.text
    assert (await standing(front, other["proposal_id"]))["state"] == "approved"


async def test_a_withdrawal_that_landed_before_the_database_was_restored_is_not_built_again(
    front: Service, localnet: Localnet
) -> None:
    shared = await shared_vault(front, signers=2, threshold=2)
    reply = await approved(front, shared, 0, 1)
    body = with_signatures(reply["transaction"], *shared.signers)
    assert (await front.post(SUBMIT, body)).status_code == 202
    await send_pending(front)
    async with front.database.connection() as conn:
        await conn.execute("DELETE FROM submissions")
    let_block_hashes_expire(localnet)
    again = await front.post(SUBMIT, body)
    assert (again.status_code, again.json()["code"]) == (409, "proposal_completed")
