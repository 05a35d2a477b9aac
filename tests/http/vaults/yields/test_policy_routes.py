"""Yield policies: what is stored is what the owner signed."""

from __future__ import annotations

from typing import Any

import httpx
import pytest
from solders.keypair import Keypair

from tests.harness.service import Service, running
from tests.http.wallets import rows, signed
from tests.store.examples import store_vault, vault_row

POST = "/api/vault/yield-policy"


@pytest.fixture
async def front(database_url: str) -> Any:
    """Run the front end without a chain, with a pool."""
    async with running(database_url, yield_sources=f"yield_pool:{Keypair().pubkey()}") as service:
        yield service


async def with_row(front: Service, **changes: Any) -> Keypair:
    """Return an owner whose vault is in the database."""
    wallet = Keypair()
    async with front.database.connection() as conn:
        await store_vault(conn, vault_row(owner=str(wallet.pubkey()), **changes))
    return wallet


async def say(
    front: Service, wallet: Keypair, switch: Any, least: int, program: str | None = None
) -> httpx.Response:
    """Sign and send a policy; the text contains on or off, the body true or false."""
    chosen = program or str(front.config.programs.yield_pool)
    fields = ("yield_program", chosen), ("auto_compound", switch), ("min_amount", least)
    body = await signed(front, wallet, "yield_policy", *fields, auto_compound=switch == "on")
    return await front.post(POST, body)


async def kept(front: Service, wallet: Keypair) -> Any:
    reply = await front.get(f"{POST}/{wallet.pubkey()}")
    assert reply.status_code == 200, reply.text
    return reply.json()


async def test_the_last_policy_applies_and_the_audit_trail_has_all(front: Service) -> None:
    operator = str(front.operator.pubkey())
    wallet = await with_row(front, delegates=(operator,))
    assert (await kept(front, wallet))["policies"] == []
    for switch, least in (("on", 5_000), ("on", 7_000), ("off", 7_000)):
        reply = await say(front, wallet, switch, least)
        assert reply.status_code == 200, reply.text
        [policy] = (await kept(front, wallet))["policies"]
        assert policy == reply.json()
        assert (policy["auto_compound"], policy["min_amount"]) == (switch == "on", least)
    trail = await rows(front, "SELECT actor, action, details FROM audit_logs ORDER BY id")
    assert {(each["actor"], each["action"]) for each in trail} == {
        (str(wallet.pubkey()), "yield_policy")
    }
    assert [each["details"]["auto_compound"] for each in trail] == [True, True, False]


@pytest.mark.parametrize(("threshold", "delegate"), [(0, True), (1, True), (0, False)])
async def test_the_reply_says_whether_the_service_may_act(
    front: Service, threshold: int, delegate: bool
) -> None:
    delegates = (str(front.operator.pubkey()),) if delegate else ()
    wallet = await with_row(front, delegates=delegates, multisig_threshold=threshold)
    told = await kept(front, wallet)
    assert told["delegated"] is (delegate and not threshold)
    assert told["least"] == front.config.yield_compound_min_amount


async def test_a_policy_signed_as_off_does_not_enable_compounding(front: Service) -> None:
    wallet = await with_row(front)
    program = str(front.config.programs.yield_pool)
    fields = ("yield_program", program), ("auto_compound", "off"), ("min_amount", 1)
    body = await signed(front, wallet, "yield_policy", *fields, auto_compound=True)
    reply = await front.post(POST, body)
    assert (reply.status_code, reply.json()["code"]) == (401, "invalid_signature")
    assert not await rows(front, "SELECT 1 FROM yield_policies")


async def test_without_a_vault_or_a_pool_nothing_is_stored_and_the_nonce_stays_valid(
    front: Service,
) -> None:
    stranger = await say(front, Keypair(), "on", 1)
    assert (stranger.status_code, stranger.json()["code"]) == (404, "vault_not_found")
    wallet = await with_row(front)
    other = await say(front, wallet, "on", 1, str(Keypair().pubkey()))
    assert (other.status_code, other.json()["code"]) == (422, "yield_program_unsupported")
    assert not await rows(front, "SELECT 1 FROM yield_policies")
    assert not await rows(front, "SELECT 1 FROM nonces WHERE used_at IS NOT NULL")


@pytest.mark.parametrize("least", [0, -1, 2**63, "1.5", None])
async def test_the_minimum_amount_is_an_integer_of_token_units(front: Service, least: Any) -> None:
    wallet = await with_row(front)
    reply = await say(front, wallet, "on", least)
    assert (reply.status_code, reply.json()["errors"][0]["path"]) == (400, "min_amount")
