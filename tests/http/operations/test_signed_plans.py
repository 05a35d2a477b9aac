"""Transactions that a wallet has changed: what is accepted lands once, for what was planned."""

from __future__ import annotations

import base64
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import httpx
import pytest
from solders.compute_budget import (
    request_heap_frame,
    set_compute_unit_limit,
    set_compute_unit_price,
)
from solders.hash import Hash
from solders.instruction import Instruction
from solders.keypair import Keypair
from solders.message import to_bytes_versioned
from solders.pubkey import Pubkey
from solders.signature import Signature

from cvms.chain.program.addresses import token_account
from cvms.chain.rpc.responses import Simulation
from cvms.chain.rpc.rpc_client import RpcClient
from cvms.chain.transactions.sponsorship_policy import FeeCaps, fee_within
from cvms.chain.transactions.versioned import (
    AnyMessage,
    instructions_of,
    message_of,
    parse_base64,
    parse_wire,
)
from cvms.chain.types import Lamports
from cvms.config.operator_settings import Sponsoring
from cvms.localnet.ledger.recent_blocks import MAX_HASH_AGE
from cvms.signing.guarded_signer import GuardedSigner
from tests.harness.guard_program import GUARD, HOSTILE, deploy_guards
from tests.harness.localnet import Localnet
from tests.harness.service import Json, Served, Service, running
from tests.http.operations import plan_attacks
from tests.http.operations.plan_attacks import STRANGER, Made
from tests.http.operations.wallet_rewrites import (
    Rewrite,
    body_of,
    compiled,
    legacy,
    phantom,
    phantom_around,
    reordered,
    solflare,
)
from tests.http.wallets import (
    USDT,
    at_once,
    confirmed_submission,
    cosigned,
    deposit,
    funded,
    initialize,
    land,
    landed,
    rows,
    with_vault,
)
from tests.nursery.world import held_clock

TRANSACTIONS = "/api/transactions"


@pytest.fixture
async def guarded(database_url: str, localnet: Localnet) -> AsyncIterator[Service]:
    """The front end, and guard programs on its chain: an approving one and a hostile one."""
    deploy_guards(localnet)
    sponsoring = Sponsoring(guard_programs=(GUARD, HOSTILE))
    async with running(database_url, sponsoring=sponsoring, **localnet.settings) as service:
        yield service


def planned(reply: httpx.Response) -> AnyMessage:
    assert reply.status_code == 200, reply.text
    return message_of(parse_base64(reply.json()["transaction"]))


def tokens_of(front: Service, wallet: Keypair) -> Pubkey:
    return token_account(wallet.pubkey(), front.config.programs.mint)


async def submission(front: Service) -> Json:
    (row,) = await rows(front, "SELECT state, signature, wire FROM submissions")
    return row


def phantom_of(front: Service, wallet: Keypair, reply: httpx.Response) -> AnyMessage:
    return phantom(planned(reply), wallet.pubkey(), tokens_of(front, wallet))


async def land_stored(front: Service) -> None:
    row = await submission(front)
    await landed(front.rpc, await front.rpc.send_transaction(row["wire"]))


@pytest.mark.parametrize("rewrite", [phantom, phantom_around, solflare, legacy, reordered])
async def test_what_wallets_make_of_a_transaction_lands_for_its_fee(
    guarded: Service, rewrite: Rewrite
) -> None:
    wallet = await with_vault(guarded)
    message = planned(await deposit(guarded, wallet, 50 * USDT))
    changed = rewrite(message, wallet.pubkey(), tokens_of(guarded, wallet))
    assert bytes(changed) != bytes(message)
    reply = await guarded.post(TRANSACTIONS, body_of(changed, wallet))
    assert reply.status_code == 202, reply.text
    row = await submission(guarded)
    assert (row["state"], row["signature"]) == ("pending", reply.json()["signature"])
    assert bytes(message_of(parse_wire(row["wire"]))) == bytes(changed)

    operator = guarded.operator.pubkey()
    before = await guarded.rpc.get_balance(operator)
    await land_stored(guarded)
    assert before - await guarded.rpc.get_balance(operator) == fee_within(changed, FeeCaps())


async def test_a_refreshed_blockhash_is_tracked_until_it_expires(
    guarded: Service, localnet: Localnet
) -> None:
    wallet = await with_vault(guarded)
    reply = await deposit(guarded, wallet, 50 * USDT)
    message = planned(reply)
    chain = localnet.running.chain
    with held_clock(chain):
        chain.advance(3)
        blockhash = chain.tip.blockhash
        latest = chain.tip.height + MAX_HASH_AGE
        changed = compiled(message, instructions_of(message), blockhash=blockhash)
        posted = await guarded.post(TRANSACTIONS, body_of(changed, wallet))
        assert posted.status_code == 202, posted.text
        (row,) = await rows(guarded, "SELECT last_valid_block_height AS last FROM submissions")
        # No block was skipped, so the bound is exact but for what is not finalized.
        assert reply.json()["last_valid_block_height"] < row["last"]
        assert latest <= row["last"] <= latest + 1
    await landed(
        guarded.rpc, await guarded.rpc.send_transaction((await submission(guarded))["wire"])
    )


@pytest.mark.parametrize("known", [False, True])
async def test_a_blockhash_that_no_node_has_or_that_has_expired_is_refused(
    guarded: Service, localnet: Localnet, known: bool
) -> None:
    wallet = await with_vault(guarded)
    chain = localnet.running.chain
    blockhash = chain.tip.blockhash if known else Hash.new_unique()
    with held_clock(chain):
        chain.advance(MAX_HASH_AGE + 5)
        message = planned(await deposit(guarded, wallet, 50 * USDT))
        changed = compiled(message, instructions_of(message), blockhash=blockhash)
        reply = await guarded.post(TRANSACTIONS, body_of(changed, wallet))
    assert (reply.status_code, reply.json()["code"]) == (422, "transaction_expired")
    assert (await submission(guarded))["state"] == "built"


async def test_a_plan_that_has_expired_is_submitted_in_no_form(guarded: Service) -> None:
    wallet = await with_vault(guarded)
    changed = phantom_of(guarded, wallet, await deposit(guarded, wallet, 50 * USDT))
    async with guarded.database.connection() as conn:
        await conn.execute("UPDATE submissions SET last_valid_block_height = 0")
    reply = await guarded.post(TRANSACTIONS, body_of(changed, wallet))
    assert (reply.status_code, reply.json()["code"]) == (422, "transaction_expired")


# --- one plan, one effect ----------------------------------------------------------------------


async def test_posted_again_in_either_form_a_plan_gets_the_same_answer(guarded: Service) -> None:
    wallet = await with_vault(guarded)
    reply = await deposit(guarded, wallet, 50 * USDT)
    changed = body_of(phantom_of(guarded, wallet, reply), wallet)
    first = await guarded.post(TRANSACTIONS, changed)
    again = await guarded.post(TRANSACTIONS, changed)
    as_planned = await guarded.post(TRANSACTIONS, cosigned(wallet, reply))
    assert first.status_code == again.status_code == as_planned.status_code == 202
    assert first.json() == again.json() == as_planned.json()
    await landed(
        guarded.rpc, await guarded.rpc.send_transaction((await submission(guarded))["wire"])
    )
    assert (await guarded.post(TRANSACTIONS, changed)).json() == first.json()


async def test_another_form_of_a_submitted_plan_is_refused(guarded: Service) -> None:
    wallet = await with_vault(guarded)
    message = planned(await deposit(guarded, wallet, 50 * USDT))
    forms = [
        body_of(rewrite(message, wallet.pubkey(), tokens_of(guarded, wallet)), wallet)
        for rewrite in (phantom, legacy)
    ]
    assert (await guarded.post(TRANSACTIONS, forms[0])).status_code == 202
    reply = await guarded.post(TRANSACTIONS, forms[1])
    assert (reply.status_code, reply.json()["code"]) == (422, "unknown_transaction")
    assert (await submission(guarded))["state"] == "pending"


async def test_of_many_forms_of_one_plan_at_once_one_is_submitted(guarded: Service) -> None:
    wallet = await with_vault(guarded)
    reply = await deposit(guarded, wallet, 50 * USDT)
    message, tokens = planned(reply), tokens_of(guarded, wallet)
    forms = [
        body_of(reordered(message, wallet.pubkey(), tokens, seed=seed), wallet)
        for seed in range(2, 8)
    ]
    answers = await at_once(guarded, TRANSACTIONS, [*forms, *forms, cosigned(wallet, reply)])
    accepted = {each.json()["signature"] for each in answers if each.status_code == 202}
    assert accepted == {(await submission(guarded))["signature"]}
    refused = {each.json()["code"] for each in answers if each.status_code != 202}
    assert refused <= {"unknown_transaction", "conflict"}


async def test_of_equal_plans_each_changed_transaction_takes_one(guarded: Service) -> None:
    wallet = await with_vault(guarded)
    plans = [planned(await deposit(guarded, wallet, 5 * USDT)) for _ in range(3)]
    forms = [
        body_of(phantom(each, wallet.pubkey(), tokens_of(guarded, wallet)), wallet)
        for each in plans
    ]
    answers = await at_once(guarded, TRANSACTIONS, [*forms, *forms])
    assert {each.status_code for each in answers} == {202}
    states = await rows(guarded, "SELECT state, signature FROM submissions")
    assert [each["state"] for each in states] == ["pending"] * 3
    assert {each["signature"] for each in states} == {e.json()["signature"] for e in answers}
    (charged,) = await rows(guarded, "SELECT count(sponsored_lamports) AS n FROM submissions")
    assert charged["n"] == 3


async def test_a_restarted_replica_answers_for_what_another_one_has_stored(
    guarded: Service, database_url: str, localnet: Localnet
) -> None:
    wallet = await with_vault(guarded)
    changed = phantom_of(guarded, wallet, await deposit(guarded, wallet, 50 * USDT))
    first = await guarded.post(TRANSACTIONS, body_of(changed, wallet))
    async with running(database_url, **localnet.settings) as other:
        again = await other.post(TRANSACTIONS, body_of(changed, wallet))
    assert (again.status_code, again.json()) == (202, first.json())


async def test_what_the_owner_pays_for_may_be_changed_as_well(guarded: Service) -> None:
    wallet = await with_vault(guarded)
    guarded.resources.signers.preferred.funds.lamports = 0
    message = planned(await deposit(guarded, wallet, 50 * USDT))
    assert message.account_keys[0] == wallet.pubkey()
    changed = solflare(message, wallet.pubkey(), tokens_of(guarded, wallet))
    reply = await guarded.post(TRANSACTIONS, body_of(changed, wallet))
    assert reply.status_code == 202, reply.text
    await land_stored(guarded)


async def test_one_that_has_landed_without_the_service_is_the_effect_of_no_plan(
    guarded: Service,
) -> None:
    """It may be of an equal plan made before, and this one would be used up without an effect."""
    wallet = await with_vault(guarded)
    guarded.resources.signers.preferred.funds.lamports = 0
    message = planned(await deposit(guarded, wallet, 50 * USDT))
    body = body_of(legacy(message, wallet.pubkey(), wallet.pubkey()), wallet)
    wire = base64.b64decode(body["transaction"])
    await landed(guarded.rpc, await guarded.rpc.send_transaction(wire))
    reply = await guarded.post(TRANSACTIONS, body)
    assert (reply.status_code, reply.json()["code"]) == (409, "conflict"), reply.text
    assert (await submission(guarded))["state"] == "built"


async def test_the_service_brings_a_changed_transaction_to_its_end(
    system: Served, localnet: Localnet
) -> None:
    deploy_guards(localnet)
    wallet = await funded(system)
    await land(system, wallet, await initialize(system, wallet))
    message = planned(await deposit(system, wallet, 50 * USDT))
    changed = legacy(
        phantom(message, wallet.pubkey(), wallet.pubkey()), wallet.pubkey(), wallet.pubkey()
    )
    reply = await system.post(TRANSACTIONS, body_of(changed, wallet))
    assert reply.status_code == 202, reply.text
    state = await confirmed_submission(system, reply.json()["signature"])
    assert (state["kind"], state["amount"], state["error"]) == ("deposit", 50 * USDT, None)


# --- refusals ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "attack",
    plan_attacks.ATTACKS,
)
async def test_what_is_not_the_plan_is_not_signed(
    guarded: Service, attack: plan_attacks.Attack
) -> None:
    wallet = await with_vault(guarded)
    made = Made.of_plan(guarded, wallet, planned(await deposit(guarded, wallet, 50 * USDT)))
    reply = await guarded.post(TRANSACTIONS, body_of(attack(made), wallet, STRANGER))
    problem = reply.json()
    assert (reply.status_code, problem["code"]) == (422, "unknown_transaction"), problem
    assert (await submission(guarded))["state"] == "built"


@pytest.mark.parametrize(
    "budget",
    [
        [],
        [set_compute_unit_price(1)],
        [set_compute_unit_limit(200_000), set_compute_unit_price(100_001)],
        [set_compute_unit_limit(1_400_000), set_compute_unit_price(90_000)],
        [set_compute_unit_limit(200_000), set_compute_unit_limit(200_000)],
        [set_compute_unit_limit(200_000), request_heap_frame(64 * 1024)],
    ],
)
async def test_a_compute_budget_beyond_the_caps_is_not_paid_for(
    guarded: Service, budget: list[Instruction]
) -> None:
    wallet = await with_vault(guarded)
    made = Made.of_plan(guarded, wallet, planned(await deposit(guarded, wallet, 50 * USDT)))
    reply = await guarded.post(TRANSACTIONS, body_of(made.of([*budget, made.ours]), wallet))
    assert (reply.status_code, reply.json()["code"]) == (422, "not_sponsored"), reply.text
    assert (await submission(guarded))["state"] == "built"


@pytest.mark.parametrize("says_before", [True, False])
async def test_a_simulation_that_takes_more_than_the_fee_is_not_signed(
    guarded: Service, monkeypatch: pytest.MonkeyPatch, says_before: bool
) -> None:
    """No accepted message can, so a node that says so stands for what nobody has thought of."""
    wallet = await with_vault(guarded)
    simulate = RpcClient.simulate
    taken = 0

    async def taking(rpc: RpcClient, wire: bytes, **options: Any) -> Simulation:
        found = await simulate(rpc, wire, **options)
        assert found.payer_after is not None
        before = found.payer_before if says_before else None
        return replace(found, payer_before=before, payer_after=Lamports(found.payer_after - taken))

    reply = await deposit(guarded, wallet, 50 * USDT)
    monkeypatch.setattr(RpcClient, "simulate", taking)
    taken = 1
    refused = await guarded.post(TRANSACTIONS, cosigned(wallet, reply))
    assert (refused.status_code, refused.json()["code"]) == (422, "not_sponsored")
    assert (await submission(guarded))["state"] == "built"
    taken = 0
    assert (await guarded.post(TRANSACTIONS, cosigned(wallet, reply))).status_code == 202


async def test_the_key_signs_nothing_to_look_up_what_it_would_not_sign(
    guarded: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its signature would be known, and the transaction is the attacker's to send."""
    wallet = await with_vault(guarded)
    made = Made.of_plan(guarded, wallet, planned(await deposit(guarded, wallet, 50 * USDT)))
    signed: list[bytes] = []
    sign = GuardedSigner.sign

    async def recording(signer: GuardedSigner, message: bytes) -> Signature:
        signed.append(message)
        return await sign(signer, message)

    monkeypatch.setattr(GuardedSigner, "sign", recording)
    for attack in (plan_attacks.a_transfer_besides, plan_attacks.a_guard_that_gets_the_operator):
        await guarded.post(TRANSACTIONS, body_of(attack(made), wallet))
    assert signed == []
    phantoms = phantom(made.message, wallet.pubkey(), wallet.pubkey())
    for _ in range(2):
        reply = await guarded.post(TRANSACTIONS, body_of(phantoms, wallet))
        assert reply.status_code == 202, reply.text
    assert signed == [to_bytes_versioned(phantoms)], "what is submitted is found by its message"


async def test_a_changed_transaction_that_its_wallet_has_not_signed_is_refused(
    guarded: Service,
) -> None:
    wallet = await with_vault(guarded)
    changed = phantom_of(guarded, wallet, await deposit(guarded, wallet, 50 * USDT))
    reply = await guarded.post(TRANSACTIONS, body_of(changed))
    assert (reply.status_code, reply.json()["code"]) == (401, "invalid_signature")


async def test_without_guard_programs_none_is_accepted(
    database_url: str, localnet: Localnet
) -> None:
    deploy_guards(localnet)
    async with running(
        database_url, sponsoring=Sponsoring(guard_programs=()), **localnet.settings
    ) as front:
        wallet = await with_vault(front)
        changed = phantom_of(front, wallet, await deposit(front, wallet, 50 * USDT))
        reply = await front.post(TRANSACTIONS, body_of(changed, wallet))
        assert (reply.status_code, reply.json()["code"]) == (422, "unknown_transaction")


@pytest.mark.parametrize("refreshed", [False, True])
async def test_another_form_of_a_submitted_plan_takes_no_equal_plan(
    guarded: Service, refreshed: bool
) -> None:
    """Whoever signs the transaction of one reply twice has asked for one effect."""
    wallet = await with_vault(guarded)
    plans = [planned(await deposit(guarded, wallet, 5 * USDT)) for _ in range(2)]
    first = phantom(plans[1], wallet.pubkey(), tokens_of(guarded, wallet))
    assert (await guarded.post(TRANSACTIONS, body_of(first, wallet))).status_code == 202
    latest = (await guarded.rpc.get_latest_blockhash()).blockhash
    again = compiled(
        plans[1],
        instructions_of(plans[1]),
        legacy=True,
        blockhash=latest if refreshed else None,
    )
    reply = await guarded.post(TRANSACTIONS, body_of(again, wallet))
    assert (reply.status_code, reply.json()["code"]) == (422, "unknown_transaction"), reply.text
    states = await rows(guarded, "SELECT state FROM submissions ORDER BY created_at")
    assert [each["state"] for each in states] == ["built", "pending"]


async def test_many_plans_that_have_expired_hide_none(guarded: Service) -> None:
    wallet = await funded(guarded)
    reply = await initialize(guarded, wallet)
    async with guarded.database.connection() as conn:
        await conn.execute(
            "INSERT INTO submissions (message_hash, kind, owner, state, message,"
            " last_valid_block_height, since_slot, created_at)"
            " SELECT sha256(message || n::text::bytea), kind, owner, state, message, 0, 0,"
            " created_at - INTERVAL '5 minutes' FROM submissions, generate_series(1, 150) AS n"
        )
    changed = phantom_of(guarded, wallet, reply)
    posted = await guarded.post(TRANSACTIONS, body_of(changed, wallet))
    assert posted.status_code == 202, posted.text
