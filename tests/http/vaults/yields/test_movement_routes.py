"""Yield through the service, on the real pool: deposits, compounding, withdrawals and status."""

from __future__ import annotations

import json
from decimal import Decimal
from types import SimpleNamespace
from typing import Any, cast

import httpx
import pytest
import trio
from solders.instruction import Instruction
from solders.keypair import Keypair
from solders.pubkey import Pubkey

from cvms.chain.program import instructions
from cvms.chain.program.accounts import Vault, read_vault
from cvms.chain.program.addresses import vault_address
from cvms.chain.program.instructions import yield_pool
from cvms.chain.program.yield_pool_accounts import pool_address, position_address
from cvms.chain.transactions.compute_budget import simulate_and_limit
from cvms.chain.transactions.priority_fees import PriorityFees
from cvms.chain.transactions.sponsorship_policy import FeeCaps
from cvms.chain.transactions.vault_builders import fetch_vault
from cvms.chain.transactions.versioned import parse_base64
from cvms.chain.types import Commitment
from cvms.chain.yields import marginfi
from cvms.chain.yields.rate_cache import RateCache
from cvms.dev.chain_setup import land as land_on_chain
from cvms.dev.chain_setup import local_yield_sources
from cvms.errors import ConfigurationError, ProgramRefused
from cvms.http.framework.dependencies import Dependencies
from cvms.http.operations import yield_plans
from cvms.metrics import Metrics
from cvms.nursery.ledger.vault_rows import vault_row
from cvms.nursery.run import serve
from cvms.signing.operator_key import OperatorKey
from cvms.store.submissions.fee_budget import FeeBudget
from tests.chain.yields.accounts import bank, lent
from tests.harness.localnet import Localnet
from tests.harness.resources import config_for_tests, signers_of
from tests.harness.service import Json, Served, Service, running
from tests.http.wallets import (
    USDT,
    at_once,
    deposit,
    funded,
    initialize,
    land,
    landed,
    rows,
    sent,
    signed,
    with_vault,
)
from tests.store.examples import store_vault

YEAR = 365 * 24 * 60 * 60
DEPOSIT, WITHDRAW, COMPOUND = (
    f"/api/vault/{name}" for name in ("yield-deposit", "yield-withdraw", "compound")
)
ACTIONS = {DEPOSIT: "yield_deposit", WITHDRAW: "yield_withdraw", COMPOUND: "compound_yield"}


async def asking(
    service: Served,
    wallet: Keypair,
    route: str,
    amount: int,
    *,
    program: Pubkey | None = None,
    **changes: Any,
) -> Json:
    """Return a signed body; `changes` follow the signing."""
    field = "compounded_amount" if route == COMPOUND else "amount"
    chosen = str(program or service.config.programs.yield_pool)
    fields = (field, amount), ("yield_program", chosen)
    return await signed(service, wallet, ACTIONS[route], *fields, **changes)


async def move(
    service: Served, wallet: Keypair, route: str, amount: int, *, program: Pubkey | None = None
) -> httpx.Response:
    body = await asking(service, wallet, route, amount, program=program)
    return await service.post(route, body)


async def lending(front: Service, amount: int, *, delegate: bool = False) -> Keypair:
    """Create a wallet whose vault has 100 USDT, `amount` of it in the pool."""
    wallet = await with_vault(front, amount=100 * USDT, delegate=delegate)
    await sent(front, wallet, await move(front, wallet, DEPOSIT, amount))
    return wallet


async def lands(front: Service, reply: httpx.Response) -> None:
    """Send the transaction that the service signed alone, as the submitter would."""
    assert (reply.status_code, reply.json()["mode"]) == (202, "submitted"), reply.text
    (row,) = await rows(front, "SELECT wire FROM submissions WHERE state = 'pending'")
    await landed(front.rpc, await front.rpc.send_transaction(row["wire"]))
    async with front.database.connection() as conn:
        await conn.execute("DELETE FROM submissions")


async def vault_of(service: Served, wallet: Keypair) -> Vault:
    return await fetch_vault(service.rpc, service.config.programs, wallet.pubkey())


async def indexed(front: Service, wallet: Keypair) -> None:
    """Store the vault as it is on chain, as the indexer would."""
    address = vault_address(front.config.programs, wallet.pubkey())
    found = await front.rpc.get_accounts([address], commitment=Commitment.CONFIRMED)
    vault = read_vault(found.accounts[0], front.config.programs)
    assert vault is not None
    async with front.database.connection() as conn:
        assert await store_vault(conn, vault_row(address, vault, found.slot))


async def status(service: Served, wallet: Keypair) -> Json:
    reply = await service.get(f"/api/vault/yield-status/{wallet.pubkey()}")
    assert reply.status_code == 200, reply.text
    answer: Json = json.loads(reply.text, parse_float=Decimal)
    return answer


async def status_with(service: Served, wallet: Keypair, deposited: int) -> Json:
    """Return the status once the indexer has seen that much deposited."""
    with trio.fail_after(20):
        while True:
            answer = await status(service, wallet)
            if answer["yield_deposited"] == deposited:
                return answer
            await trio.sleep(0.02)


def a_year_later(localnet: Localnet) -> None:
    chain = localnet.running.chain
    chain.move_time(chain.time.now() + YEAR)
    chain.advance(2)


def pool_of(service: Served, admin: Pubkey | None = None) -> Pubkey:
    programs = service.config.programs
    return pool_address(programs, mint=programs.mint, admin=admin or service.operator.pubkey())


async def write_account(service: Served, address: Pubkey, owner: Pubkey, data: bytes) -> None:
    account = {"lamports": 10**9, "owner": str(owner), "data": data.hex()}
    await service.rpc.call("surfnet_setAccount", [str(address), account])


async def by_governance(localnet: Localnet, service: Served, *steps: Instruction) -> None:
    await land_on_chain(service.rpc, localnet.operator, steps)


# --- what moves ----------------------------------------------------------------------------------


async def test_a_year_of_interest_is_shown_compounded_and_withdrawn(
    system: Served, localnet: Localnet
) -> None:
    wallet = await funded(system)
    await land(system, wallet, await initialize(system, wallet))
    await land(system, wallet, await deposit(system, wallet, 200 * USDT))
    await land(system, wallet, await move(system, wallet, DEPOSIT, 200 * USDT))
    before = await status_with(system, wallet, 200 * USDT)
    assert before["last_compounded_at"] is None
    assert before["active_yield_program"] == str(system.config.programs.yield_pool)
    assert before["positions"]["principal"] == 200 * USDT
    assert before["positions"]["claimable"] < 100

    a_year_later(localnet)
    after = await status(system, wallet)
    assert 10 * USDT <= after["positions"]["claimable"] < 10 * USDT + 100
    await land(system, wallet, await move(system, wallet, COMPOUND, 10 * USDT))
    compounded = await status_with(system, wallet, 210 * USDT)
    assert compounded["positions"]["principal"] == 210 * USDT
    assert compounded["positions"]["claimable"] < 100
    assert compounded["last_compounded_at"].endswith("Z")

    await land(system, wallet, await move(system, wallet, WITHDRAW, 210 * USDT))
    end = await status_with(system, wallet, 0)
    assert (end["positions"]["principal"], end["active_yield_program"]) == (0, None)
    vault = await vault_of(system, wallet)
    assert (vault.total_balance, vault.available_balance) == (210 * USDT, 210 * USDT)
    params = [str(vault.token_account), {"commitment": "confirmed"}]
    held = await system.rpc.call("getTokenAccountBalance", params)
    assert held["value"]["amount"] == str(210 * USDT)
    history = await system.get(f"/api/vault/transactions/{wallet.pubkey()}")
    kinds = [(row["kind"], row["amount"]) for row in history.json()["transactions"]]
    assert kinds[:3] == [
        ("yield_withdraw", 210 * USDT),
        ("yield_compound", 10 * USDT),
        ("yield_deposit", 200 * USDT),
    ]


async def test_the_owner_signs_the_first_deposit_and_pays_for_the_position(
    front: Service,
) -> None:
    wallet = await with_vault(front, amount=100 * USDT, delegate=True)
    programs, operator = front.config.programs, front.operator.pubkey()
    reply = await move(front, wallet, DEPOSIT, 40 * USDT)
    message = parse_base64(reply.json()["transaction"]).message
    assert list(message.account_keys[:2]) == [operator, wallet.pubkey()]
    vault = vault_address(programs, wallet.pubkey())
    position = position_address(programs, pool=pool_of(front), owner=vault)
    rent = await front.rpc.call("getMinimumBalanceForRentExemption", [105])
    before = await front.rpc.get_balance(wallet.pubkey())
    await sent(front, wallet, reply)
    assert await front.rpc.get_balance(wallet.pubkey()) == before - rent
    assert await front.rpc.get_balance(position) == rent


async def test_as_delegate_the_service_deposits_compounds_and_withdraws_at_once(
    front: Service, localnet: Localnet
) -> None:
    wallet = await lending(front, 40 * USDT, delegate=True)
    await lands(front, await move(front, wallet, DEPOSIT, 60 * USDT))
    a_year_later(localnet)
    await lands(front, await move(front, wallet, COMPOUND, 5 * USDT))
    assert (await vault_of(front, wallet)).yield_deposited_balance == 105 * USDT
    await lands(front, await move(front, wallet, WITHDRAW, 105 * USDT))
    vault = await vault_of(front, wallet)
    assert (vault.available_balance, vault.yield_deposited_balance) == (105 * USDT, 0)
    trail = await rows(front, "SELECT action, outcome, details FROM audit_logs ORDER BY id")
    last = trail[-1]
    assert (last["action"], last["outcome"]) == ("yield_withdraw", "accepted")
    assert last["details"]["yield_program"] == str(front.config.programs.yield_pool)
    assert last["details"]["amount"] == 105 * USDT


async def test_the_owner_signs_to_compound_interest_that_is_left_when_nothing_is_lent(
    front: Service, localnet: Localnet
) -> None:
    """It lends again, and on chain a delegate does not choose to whom."""
    wallet = await lending(front, 100 * USDT, delegate=True)
    a_year_later(localnet)
    await lands(front, await move(front, wallet, WITHDRAW, 100 * USDT))
    reply = await move(front, wallet, COMPOUND, 5 * USDT)
    assert reply.json()["mode"] == "cosign", reply.text
    await sent(front, wallet, reply)
    await lands(front, await move(front, wallet, WITHDRAW, 5 * USDT))
    assert (await vault_of(front, wallet)).available_balance == 105 * USDT


async def test_with_a_multisig_no_single_signature_moves_yield(
    front: Service, localnet: Localnet
) -> None:
    wallet = await lending(front, 40 * USDT, delegate=True)
    programs, key = front.config.programs, wallet.pubkey()
    two = instructions.set_vault_multisig(
        programs, owner=key, signers=[key, Keypair().pubkey()], threshold=2
    )
    await land_on_chain(front.rpc, wallet, [two])
    for route in ACTIONS:
        reply = await move(front, wallet, route, 1 * USDT)
        assert reply.status_code == 422
        assert reply.json()["program_error"]["name"] == "Unauthorized"


async def test_with_a_multisig_of_its_own_the_owners_signature_is_enough(
    front: Service, localnet: Localnet
) -> None:
    wallet = await lending(front, 40 * USDT, delegate=True)
    key = wallet.pubkey()
    one = instructions.set_vault_multisig(
        front.config.programs, owner=key, signers=[key], threshold=1
    )
    await land_on_chain(front.rpc, wallet, [one])
    reply = await move(front, wallet, WITHDRAW, 40 * USDT)
    assert reply.json()["mode"] == "cosign", reply.text
    await sent(front, wallet, reply)


async def test_excessive_amounts_are_refused_with_the_programs_error_names(front: Service) -> None:
    wallet = await with_vault(front, amount=100 * USDT, delegate=True)
    no_position = await move(front, wallet, WITHDRAW, 1 * USDT)
    assert no_position.json()["program_error"]["name"] == "InsufficientYieldBalance"
    nothing_earned = await move(front, wallet, COMPOUND, 1 * USDT)
    assert nothing_earned.json()["code"] == "program_error"
    too_much = await move(front, wallet, DEPOSIT, 101 * USDT)
    assert too_much.json()["program_error"]["name"] == "InsufficientFunds"
    await sent(front, wallet, await move(front, wallet, DEPOSIT, 40 * USDT))
    too_much = await move(front, wallet, WITHDRAW, 41 * USDT)
    assert too_much.json()["program_error"]["name"] == "InsufficientYieldBalance"
    too_early = await move(front, wallet, COMPOUND, 1 * USDT)
    assert too_early.json()["program_error"]["name"] == "InsufficientInterest"
    assert not await rows(front, "SELECT 1 FROM submissions")


async def test_an_owner_without_a_vault_cannot_lend(front: Service) -> None:
    wallet = Keypair()
    for route in ACTIONS:
        reply = await move(front, wallet, route, 1)
        assert (reply.status_code, reply.json()["code"]) == (404, "vault_not_found")
    reply = await front.get(f"/api/vault/yield-status/{wallet.pubkey()}")
    assert (reply.status_code, reply.json()["code"]) == (404, "vault_not_found")


# --- which program, which pool -------------------------------------------------------------------


async def test_a_program_that_is_not_whitelisted_is_refused_by_the_vault_program(
    front: Service, localnet: Localnet
) -> None:
    wallet = await lending(front, 40 * USDT, delegate=True)
    for route in ACTIONS:
        stranger = await move(front, wallet, route, 1 * USDT, program=Keypair().pubkey())
        assert (stranger.status_code, stranger.json()["code"]) == (422, "program_error")
        assert stranger.json()["program_error"]["name"] == "YieldProgramNotWhitelisted"
    programs = front.config.programs
    removed = instructions.remove_yield_program(
        programs, governance=localnet.operator.pubkey(), program=programs.yield_pool
    )
    await by_governance(localnet, front, removed)
    for route in ACTIONS:
        delisted = await move(front, wallet, route, 1 * USDT)
        if route == WITHDRAW:
            assert delisted.status_code == 202, "what was lent comes back"
        else:
            assert delisted.json()["program_error"]["name"] == "YieldProgramNotWhitelisted"


async def test_a_program_without_a_configured_pool_is_unsupported_and_changes_nothing(
    front: Service, localnet: Localnet, database_url: str
) -> None:
    wallet = await lending(front, 40 * USDT, delegate=True)
    other, programs = Keypair().pubkey(), front.config.programs
    added = instructions.add_yield_program(
        programs, governance=localnet.operator.pubkey(), program=other
    )
    await by_governance(localnet, front, added)
    for route in ACTIONS:
        body = await asking(front, wallet, route, 1 * USDT, program=other)
        for _ in range(2):  # nothing has happened, so nothing is used up
            reply = await front.post(route, body)
            assert (reply.status_code, reply.json()["code"]) == (422, "yield_program_unsupported")
            assert str(other) in reply.json()["detail"]
    # The same without a setting, and with one that names no pool.
    for sources in ("", f"yield_pool:{Keypair().pubkey()}", f"yield_pool:{other}"):
        async with running(
            database_url,
            **localnet.settings,
            yield_sources=sources,
        ) as without:
            reply = await move(without, wallet, DEPOSIT, 1 * USDT)
            assert reply.json()["code"] == "yield_program_unsupported"
    assert not await rows(front, "SELECT 1 FROM submissions")


async def test_a_program_whitelisted_during_the_request_changes_nothing(
    front: Service, localnet: Localnet
) -> None:
    wallet = await with_vault(front, amount=100 * USDT)
    programs, other = front.config.programs, Keypair().pubkey()
    rates = RateCache(front.rpc, (), programs=programs, max_age=60)
    operator = OperatorKey(
        signers=signers_of(localnet.operator),
        programs=programs,
        caps=FeeCaps(),
        budget=FeeBudget(owner=None, everybody=None),
    )
    behind = SimpleNamespace(
        rpc=front.rpc,
        programs=programs,
        operator=operator,
        yield_rates=rates,
    )
    plan = await yield_plans.move(
        cast(Dependencies, behind),
        yield_plans.DEPOSIT,
        wallet.pubkey(),
        amount=1 * USDT,
        yield_program=other,
    )
    added = instructions.add_yield_program(
        programs, governance=localnet.operator.pubkey(), program=other
    )
    await by_governance(localnet, front, added)
    with pytest.raises(ProgramRefused, match="AccountNotEnoughKeys"):
        await simulate_and_limit(
            front.rpc, programs, plan.built, fees=PriorityFees(front.rpc, Metrics())
        )


async def test_deposits_go_to_the_first_pool_and_withdrawals_to_the_one_that_has_enough(
    front: Service, localnet: Localnet, database_url: str
) -> None:
    wallet = await lending(front, 40 * USDT)
    programs, admin = front.config.programs, await funded(front)
    opened = yield_pool.initialize_pool(
        programs, admin=admin.pubkey(), mint=programs.mint, rate_bps=700
    )
    await land_on_chain(front.rpc, admin, [opened])
    new = local_yield_sources(programs, admin.pubkey())
    old = local_yield_sources(programs, localnet.operator.pubkey())
    async with running(
        database_url,
        **localnet.settings,
        yield_sources=f"yield_pool:{Keypair().pubkey()},{new},{old}",
    ) as moved:
        await sent(moved, wallet, await move(moved, wallet, DEPOSIT, 20 * USDT))
        await indexed(moved, wallet)
        answer = await status(moved, wallet)
        assert answer["best"]["address"] == str(pool_of(moved, admin.pubkey()))
        held = [(each["pool"], each["principal"]) for each in answer["positions"]["pools"]]
        assert held == [
            (str(pool_of(moved, admin.pubkey())), 20 * USDT),
            (str(pool_of(moved)), 40 * USDT),
        ]
        await sent(moved, wallet, await move(moved, wallet, WITHDRAW, 40 * USDT))
        await sent(moved, wallet, await move(moved, wallet, WITHDRAW, 15 * USDT))
        answer = await status(moved, wallet)
        assert [each["principal"] for each in answer["positions"]["pools"]] == [5 * USDT, 0]


# --- who may ask ---------------------------------------------------------------------------------


@pytest.mark.parametrize("route", ACTIONS)
async def test_yield_requests_without_a_valid_signature_and_nonce_are_refused(
    front: Service, route: str
) -> None:
    alice, mallory = await with_vault(front, amount=100 * USDT, delegate=True), Keypair()
    stolen, other = await front.nonce(alice), str(Keypair().pubkey())
    amount = "compounded_amount" if route == COMPOUND else "amount"
    elsewhere = COMPOUND if route != COMPOUND else DEPOSIT
    another_action = await asking(front, alice, elsewhere, 1)
    another_action[amount] = another_action.pop(
        "amount" if elsewhere == DEPOSIT else "compounded_amount"
    )
    expired = await asking(front, alice, route, 1)
    async with front.database.connection() as conn:
        await conn.execute(
            "UPDATE nonces SET expires_at = now() WHERE nonce = %(nonce)s",
            {"nonce": expired["nonce"]},
        )
    attempts: list[tuple[Json, str]] = [
        (await asking(front, alice, route, 1, signer=mallory), "invalid_signature"),
        (another_action, "invalid_signature"),
        (await asking(front, alice, route, 1) | {amount: 2}, "invalid_signature"),
        (await asking(front, alice, route, 1) | {"yield_program": other}, "invalid_signature"),
        (
            await asking(front, alice, route, 1) | {"owner": str(mallory.pubkey())},
            "invalid_signature",
        ),
        (await asking(front, mallory, route, 1, nonce=stolen), "invalid_nonce"),
        (await asking(front, alice, route, 1, nonce="x" * 32), "invalid_nonce"),
        (expired, "nonce_expired"),
    ]
    for body, code in attempts:
        reply = await front.post(route, body)
        assert (reply.status_code, reply.json()["code"]) == (401, code), body
    assert not await rows(front, "SELECT 1 FROM submissions")
    trail = await rows(front, "SELECT action FROM audit_logs")
    assert not [row for row in trail if row["action"] == ACTIONS[route]]


async def test_twenty_equal_requests_at_once_have_one_effect(front: Service) -> None:
    wallet = await lending(front, 40 * USDT, delegate=True)
    body = await asking(front, wallet, DEPOSIT, 1 * USDT)
    replies = await at_once(front, DEPOSIT, [body] * 20)
    assert sorted(reply.status_code for reply in replies) == [202] + [409] * 19
    assert {reply.json()["code"] for reply in replies if reply.status_code == 409} == {"nonce_used"}
    assert len(await rows(front, "SELECT 1 FROM submissions")) == 1


async def test_a_request_repeated_with_its_key_gets_the_first_answer(front: Service) -> None:
    wallet = await lending(front, 40 * USDT, delegate=True)
    body = await asking(front, wallet, WITHDRAW, 1 * USDT)
    headers = {"Idempotency-Key": "one"}
    first, again = [
        await front.http.post(front.url + WITHDRAW, json=body, headers=headers) for _ in range(2)
    ]
    assert first.status_code == again.status_code == 202
    assert again.content == first.content
    assert len(await rows(front, "SELECT 1 FROM submissions")) == 1


@pytest.mark.parametrize("route", ACTIONS)
@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("amount", 0),
        ("amount", -1),
        ("amount", 2**63),
        ("amount", 1.5),
        ("yield_program", "pool"),
        ("yield_program", None),
    ],
)
async def test_an_invalid_amount_or_program_is_refused(
    service: Service, route: str, field: str, value: object
) -> None:
    name = "compounded_amount" if (route, field) == (COMPOUND, "amount") else field
    body = await asking(service, Keypair(), route, 1) | {name: value}
    reply = await service.post(route, body)
    assert reply.status_code == 400
    assert reply.json()["errors"][0]["path"] == name


async def test_a_setting_with_an_unknown_protocol_fails_at_startup(
    database_url: str, localnet: Localnet
) -> None:
    config = config_for_tests(database_url, yield_sources="bank:x", **localnet.settings)
    with pytest.raises(ConfigurationError, match=r"^YIELD_SOURCES holds 'bank:x'; expected"):
        await serve(config)


# --- the status ----------------------------------------------------------------------------------


async def test_each_protocol_has_a_rate_or_a_reason_independently_of_the_others(
    database_url: str, localnet: Localnet
) -> None:
    programs = localnet.programs
    garbage, lender, foreign, ancient, nowhere = (Keypair().pubkey() for _ in range(5))
    sources = ",".join(
        [
            f"marginfi:{garbage}",
            local_yield_sources(programs, localnet.operator.pubkey()),
            f"marginfi:{lender}",
            f"solend:{foreign}",
            f"marginfi:{ancient}",
            f"yield_pool:{nowhere}",
        ]
    )
    async with running(
        database_url,
        **localnet.settings,
        yield_sources=sources,
    ) as front:
        now = int(localnet.running.chain.time.now())
        solend = Pubkey.from_string("So1endDq2YkqhipRh3WViPa8hdiSpxWy6z3Z6tMCpAo")
        await write_account(front, garbage, marginfi.PROGRAM, b"garbage")
        fresh = bank("0.98", mint=programs.mint, last_update=now)
        await write_account(front, lender, marginfi.PROGRAM, fresh)
        await write_account(front, foreign, solend, lent(95, last_update_slot=1))
        # Pays more than all others, but nobody has used it for a long time.
        old = bank("1", mint=programs.mint, last_update=now - 2 * 24 * 60 * 60)
        await write_account(front, ancient, marginfi.PROGRAM, old)
        wallet = await with_vault(front, amount=1 * USDT)
        await indexed(front, wallet)
        answer = await status(front, wallet)
    by_address = {each["address"]: each for each in answer["protocols"]}
    assert next(iter(by_address)) == str(garbage)
    assert by_address[str(garbage)]["rate"] is None
    assert by_address[str(garbage)]["refusal"]["reason"] == "wrong_length"
    assert by_address[str(nowhere)]["refusal"]["reason"] == "no_account"
    pool = by_address[
        str(pool_address(programs, mint=programs.mint, admin=localnet.operator.pubkey()))
    ]
    assert pool["rate"]["supply_apr"] == pool["rate"]["supply_apy"] == Decimal("0.05")
    assert (pool["rate"]["convention"], pool["rate"]["utilization"]) == ("simple", None)
    assert pool["source_slot"] > 0
    assert pool["age_seconds"] == 0
    good = by_address[str(lender)]
    assert good["rate"]["supply_apr"] == pytest.approx(Decimal("0.98") * Decimal("0.07"))
    assert good["rate"]["utilization"] == Decimal("0.98")
    assert good["rate"]["updated_seconds_ago"] < 60
    assert by_address[str(foreign)]["rate"]["updated_slot"] == 1
    eligible = {each["address"] for each in answer["protocols"] if each["eligible"]}
    assert eligible == {pool["address"], good["address"]}
    assert answer["best"] == {
        "protocol": "marginfi",
        "address": str(lender),
        "supply_apy": good["rate"]["supply_apy"],
        "convention": "per_second",
    }
    assert good["rate"]["supply_apy"] > good["rate"]["supply_apr"]


async def test_times_and_numbers_out_of_range_break_nothing(
    database_url: str, localnet: Localnet
) -> None:
    hostile = Keypair().pubkey()
    async with running(
        database_url,
        **localnet.settings,
        yield_sources=f"marginfi:{hostile}",
    ) as front:
        huge = 2**127 - 1
        data = bank(
            "0", last_update=2**63 - 1, asset_shares=huge, asset_share_value=huge, zero_rate=1
        )
        await write_account(front, hostile, marginfi.PROGRAM, data)
        wallet = await with_vault(front, amount=1 * USDT)
        await indexed(front, wallet)
        reply = await front.get(f"/api/vault/yield-status/{wallet.pubkey()}")
    assert reply.status_code == 200, reply.text
    [protocol] = reply.json()["protocols"]
    assert protocol["rate"]["supplied"] == (huge * huge) >> 96
    assert protocol["rate"]["updated_at"] is None
    assert protocol["eligible"] is False
    assert '"supply_apr":0,' in reply.text
    assert "E-" not in reply.text


async def test_rates_are_numbers_without_exponent(front: Service) -> None:
    wallet = await with_vault(front, amount=1 * USDT)
    await indexed(front, wallet)
    reply = await front.get(f"/api/vault/yield-status/{wallet.pubkey()}")
    assert '"supply_apr":0.05,' in reply.text
    document = (await front.get("/openapi.json")).json()
    schema = document["components"]["schemas"]["YieldRate"]["properties"]
    assert schema["supply_apr"] == {"type": "number", "format": "double"}


async def test_twenty_requests_at_once_share_one_reading(
    front: Service, localnet: Localnet
) -> None:
    wallet = await with_vault(front, amount=1 * USDT)
    await indexed(front, wallet)
    answers: list[Json] = []

    async def ask() -> None:
        answers.append(await status(front, wallet))

    async with trio.open_nursery() as nursery:
        for _ in range(20):
            nursery.start_soon(ask)
    localnet.running.chain.advance(3)
    answers.append(await status(front, wallet))
    assert len({each["protocols"][0]["source_slot"] for each in answers}) == 1


async def test_an_unavailable_chain_leaves_the_balances_and_omits_the_rest(
    front: Service, database_url: str
) -> None:
    wallet = await lending(front, 40 * USDT)
    await indexed(front, wallet)
    sources = front.config.yield_sources
    async with running(database_url, operator=front.operator, yield_sources=sources) as cut_off:
        answer = await status(cut_off, wallet)
        assert answer["yield_deposited"] == 40 * USDT
        assert answer["positions"] is None
        assert answer["best"] is None
        [protocol] = answer["protocols"]
        assert protocol["refusal"]["reason"] == "chain_unavailable"
        assert (protocol["source_slot"], protocol["age_seconds"]) == (None, None)
        reply = await move(cut_off, wallet, DEPOSIT, 1 * USDT)
        assert (reply.status_code, reply.json()["code"]) == (503, "chain_unavailable")
