"""Reading vaults: current state, sorted lists, past balances, and validators."""

from __future__ import annotations

import base64
from datetime import datetime
from typing import Any

import httpx
import pytest
import trio
from solders.keypair import Keypair
from solders.pubkey import Pubkey

from cvms.chain.program import instructions
from cvms.chain.program.accounts import read_vault
from cvms.chain.program.addresses import vault_address
from cvms.chain.types import Commitment
from cvms.nursery.ledger.vault_rows import CLOSED
from cvms.store.index import cursor as cursors
from cvms.store.projection import vault_writer
from tests.harness.localnet import Localnet
from tests.harness.service import Json, Served, Service
from tests.nursery.program_steps import compound, earn, lock, travel, unlock
from tests.nursery.world import World, address
from tests.store.examples import vault_row

BALANCES = ("balance", "available", "locked", "timelocked", "yield_deposited")
YEAR = 365 * 24 * 60 * 60
MOST = 2**63 - 1


@pytest.fixture
def world(front: Service, localnet: Localnet) -> World:
    """Return the chain of the front end, with an indexer that the test runs."""
    return World(localnet.running, front.resources)


# --- one vault ---------------------------------------------------------------------------------


async def test_the_state_equals_the_account(front: Service, world: World) -> None:
    alice, delegate, friend = await world.owner(), Keypair().pubkey(), Keypair().pubkey()
    owner = alice.pubkey()
    await world.act(
        alice,
        world.deposit(alice, 1_000),
        instructions.add_delegate(world.programs, owner=owner, delegate=delegate),
        instructions.add_withdraw_whitelist(world.programs, owner=owner, address=friend),
        world.withdraw(alice, 100),
        schedule(world, alice, 200, seconds=YEAR),
    )
    delay = instructions.set_withdraw_min_delay(world.programs, owner=owner, seconds=60)
    await world.act(alice, signers(world, alice, friend), delay)
    await world.indexer().catch_up()
    state = await read(front, f"/api/vault/{owner}")
    assert {name: state[name] for name in BALANCES} == {
        "balance": 900,
        "available": 700,
        "locked": 0,
        "timelocked": 200,
        "yield_deposited": 0,
    }
    assert (state["total_deposited"], state["total_withdrawn"]) == (1_000, 100)
    assert state["vault"] == str(vault_address(world.programs, owner))
    assert state["mint"] == str(world.programs.mint)
    assert state["active_yield_program"] is None
    assert state["last_compounded_at"] is None
    assert datetime.fromisoformat(state["created_at"]) <= datetime.fromisoformat(state["now"])
    assert [each["amount"] for each in state["timelocks"]] == [200]
    assert state["slot"] >= 1

    config = await read(front, f"/api/vault/config/{owner}")
    assert config == {
        "owner": str(owner),
        "vault": state["vault"],
        "multisig": {"threshold": 2, "signers": [str(owner), str(friend)]},
        "delegates": [str(delegate)],
        "policy": {
            "min_withdraw_delay_seconds": 60,
            "rate_window_seconds": 0,
            "rate_limit_amount": 0,
        },
        "withdraw_whitelist": [str(friend)],
        "transfer_allowance": 0,
        "slot": state["slot"],
        "as_of": state["as_of"],
    }
    assert config.items() <= state.items()


async def test_timelocks_have_their_remaining_seconds_by_the_chains_clock(
    front: Service, world: World
) -> None:
    alice, bob = await world.owner(), await world.owner()
    await world.act(alice, world.deposit(alice, 1_000), schedule(world, alice, 300, seconds=60))
    await world.act(alice, schedule(world, alice, 200, seconds=YEAR))
    await world.indexer().catch_up()
    first = await read(front, f"/api/vault/timelocks/{address(alice)}")
    soon, late = first["timelocks"]
    assert (soon["amount"], late["amount"], first["timelocked"]) == (300, 200, 500)
    assert first["matured"] == 0
    assert 0 < soon["remaining_seconds"] <= 60 < late["remaining_seconds"] <= YEAR
    assert soon["until"].endswith("Z")

    travel(world, 2 * 24 * 3600)
    await world.act(bob, world.deposit(bob, 1))  # whatever happens tells the time
    await world.indexer().catch_up()
    later = await read(front, f"/api/vault/timelocks/{address(alice)}")
    assert later["timelocks"][0] == soon | {"remaining_seconds": 0}
    passed = late["remaining_seconds"] - later["timelocks"][1]["remaining_seconds"]
    assert passed >= 2 * 24 * 3600
    assert later["matured"] == 300


async def test_a_time_beyond_the_year_9999_is_still_a_number(front: Service, world: World) -> None:
    alice = await world.owner()
    await world.act(
        alice, world.deposit(alice, 10), schedule(world, alice, 10, seconds=MOST - 2**40)
    )
    await world.indexer().catch_up()
    (entry,) = (await read(front, f"/api/vault/timelocks/{address(alice)}"))["timelocks"]
    assert entry["until"] is None
    assert entry["until_time"] > MOST - 2**40
    await read(front, f"/api/vault/{address(alice)}")


async def test_limits_say_what_may_still_be_withdrawn(front: Service, world: World) -> None:
    alice = await world.owner()
    owner, route = alice.pubkey(), f"/api/vault/limits/{alice.pubkey()}"
    await world.act(alice, world.deposit(alice, 1_000))
    await world.indexer().catch_up()
    bare = await read(front, route)
    assert (bare["rate"], bare["pending"], bare["min_delay_seconds"]) == (None, [], 0)
    assert (bare["window_seconds"], bare["used"], bare["limit"]) == (86_400, 0, None)
    await world.act(alice, world.withdraw(alice, 30))
    await world.indexer().catch_up()
    assert (await read(front, route))["used"] == 30  # whether there is a limit or not

    await world.act(
        alice,
        instructions.set_withdraw_rate_limit(
            world.programs, owner=owner, window_seconds=3_600, max_amount=500
        ),
        world.withdraw(alice, 120),
        instructions.set_withdraw_min_delay(world.programs, owner=owner, seconds=600),
        instructions.request_withdraw(world.programs, owner=owner, amount=70),
    )
    await world.indexer().catch_up()
    limits = await read(front, route)
    rate = limits["rate"]
    assert (rate["limit"], rate["used"], rate["remaining"]) == (500, 120, 380)
    assert (limits["used"], limits["limit"]) == (150, 500)
    assert 0 < rate["resets_in_seconds"] <= 3_600
    assert [each["amount"] for each in limits["pending"]] == [70]
    assert 0 < limits["pending"][0]["remaining_seconds"] <= 600
    assert limits["ready"] == 0

    travel(world, 7_200)
    await world.act(alice, world.deposit(alice, 1))
    await world.indexer().catch_up()
    limits = await read(front, route)
    assert limits["rate"] == {
        "window_seconds": 3_600,
        "limit": 500,
        "used": 0,
        "remaining": 500,
        "resets_at": None,
        "resets_in_seconds": None,
    }
    assert limits["ready"] == 70
    assert limits["used"] == 150

    travel(world, 86_400)
    await world.act(alice, world.deposit(alice, 1))
    await world.indexer().catch_up()
    assert (await read(front, route))["used"] == 0

    travel(world, 7 * 86_400)
    await world.act(alice, world.deposit(alice, 1))
    await world.indexer().catch_up()
    limits = await read(front, route)
    (request,) = limits["pending"]
    assert (request["amount"], request["expired"], limits["ready"]) == (70, True, 0)
    assert request["expires_time"] == request["until_time"] + 7 * 86_400


async def test_a_closed_vault_is_not_found_but_keeps_its_past(front: Service, world: World) -> None:
    alice = await world.owner()
    owner = address(alice)
    await world.act(alice, world.deposit(alice, 400))
    slot = await applied(world)
    await world.act(
        alice,
        world.withdraw(alice, 400),
        instructions.close_vault(world.programs, alice.pubkey()),
    )
    await applied(world)
    for route in ("", "balance/", "config/", "timelocks/", "limits/"):
        reply = await front.get(f"/api/vault/{route}{owner}")
        assert (reply.status_code, reply.json()["code"]) == (404, "vault_not_found"), route
    assert (await read(front, "/api/vaults"))["vaults"] == []
    assert (await read(front, f"/api/vault/balance/{owner}?slot={slot}"))["balance"] == 400
    assert len((await read(front, f"/api/vault/transactions/{owner}"))["transactions"]) == 2


async def test_an_owner_without_a_vault_gets_a_404(service: Service) -> None:
    owner = Keypair().pubkey()
    for route in ("", "balance/", "config/", "timelocks/", "limits/"):
        reply = await service.get(f"/api/vault/{route}{owner}")
        assert (reply.status_code, reply.json()["code"]) == (404, "vault_not_found"), route
    reply = await service.get(f"/api/vault/balance/{owner}?slot=0")
    assert (reply.status_code, reply.json()["code"]) == (404, "vault_not_found")


async def test_the_history_of_a_wallet_without_a_vault_is_empty(service: Service) -> None:
    owner = str(Keypair().pubkey())
    for query in ("", "?kind=deposit", "?offset=50"):
        reply = await service.get(f"/api/vault/transactions/{owner}{query}")
        assert (reply.status_code, reply.json()) == (
            200,
            {"owner": owner, "transactions": [], "next_cursor": None},
        )


async def test_a_limit_above_the_bound_is_lowered_and_the_reply_says_so(
    front: Service, world: World
) -> None:
    owners = [await world.owner() for _ in range(2)]
    await applied(world)
    reply = await front.get("/api/vaults?limit=5000")
    assert (reply.status_code, len(reply.json()["vaults"])) == (200, len(owners))
    assert reply.headers["X-Limit-Clamped"] == "100"
    assert "X-Limit-Clamped" not in (await front.get("/api/vaults?limit=100")).headers
    history = f"/api/vault/transactions/{address(owners[0])}?limit={MOST}"
    assert (await front.get(history)).headers["X-Limit-Clamped"] == "100"
    assert (await front.get("/api/vaults?limit=0")).status_code == 400


# --- the past ----------------------------------------------------------------------------------


@pytest.mark.parametrize("batch_size", [1, 100])
async def test_a_past_balance_equals_the_account_in_that_slot(
    front: Service, world: World, batch_size: int
) -> None:
    alice, bob = await world.owner(), await world.owner()
    past: list[tuple[int, Json]] = []

    async def note() -> None:
        past.append(await on_chain(world, alice))

    await world.act(alice, world.deposit(alice, 100_000), world.agree(alice))
    await world.act(bob, world.deposit(bob, 10))
    await note()
    await world.act(alice, world.withdraw(alice, 1_000), schedule(world, alice, 500, seconds=60))
    await note()
    await lock(world, alice, 60_000)
    await note()
    await world.act(alice, unlock(world, alice, 50_000))
    await note()
    await world.act(
        world.operator,
        instructions.rebalance_collateral(
            world.programs,
            authority=world.operator.pubkey(),
            from_owner=alice.pubkey(),
            to_owner=bob.pubkey(),
            amount=5_000,
        ),
    )
    await note()
    await earn(world, alice, 40_000)
    await note()
    await compound(world, alice, 2_000)
    await note()
    released = instructions.release_timelocks(
        world.programs, authority=alice.pubkey(), owner=alice.pubkey()
    )
    await world.act(alice, released)
    await note()
    available = past[-1][1]["available"]
    assert past[-1][1]["locked"] == 5_000
    await world.act(
        world.operator,
        instructions.emergency_withdraw(
            world.programs,
            authority=world.operator.pubkey(),
            owner=alice.pubkey(),
            amount=available + 3_000,
        ),
    )
    await note()
    assert past[-1][1]["locked"] == 2_000

    await world.indexer(batch_size=batch_size).catch_up()
    for slot, balances in past:
        past_balance = await read(front, f"/api/vault/balance/{address(alice)}?slot={slot}")
        assert {name: past_balance[name] for name in BALANCES} == balances, slot
        assert past_balance["slot"] == slot


async def test_slots_before_the_first_and_after_the_last_have_different_problems(
    front: Service, world: World
) -> None:
    alice = await world.owner()
    await world.act(alice, world.deposit(alice, 400))
    reached = await applied(world)
    route = f"/api/vault/balance/{address(alice)}?slot="
    assert (await read(front, f"{route}{reached}"))["balance"] == 400
    early, beyond = await front.get(f"{route}0"), await front.get(f"{route}{MOST}")
    assert (early.status_code, early.json()["code"]) == (404, "balance_not_known")
    assert (beyond.status_code, beyond.json()["code"]) == (422, "slot_not_indexed")
    assert str(reached) in beyond.json()["detail"]


async def test_past_balances_are_known_up_to_the_chains_tip_without_transactions(
    front: Service, world: World
) -> None:
    alice = await world.owner()
    await world.act(alice, world.deposit(alice, 400))
    before = await applied(world)
    with trio.fail_after(10):
        while (now := await applied(world)) <= before:  # noqa: ASYNC110
            await trio.sleep(0.01)
    assert (await read(front, f"/api/vault/balance/{address(alice)}?slot={now}"))["balance"] == 400


async def test_the_balance_at_the_newest_slot_is_known(service: Service) -> None:
    owner = str(Keypair().pubkey())
    await store(service, vault_row(owner=owner, slot=77))
    newest = await read(service, f"/api/vault/balance/{owner}")
    past = await read(service, f"/api/vault/balance/{owner}?slot={newest['slot']}")
    assert newest == past | {"cached": False}


# --- all vaults --------------------------------------------------------------------------------


async def test_pages_contain_every_open_vault_once_in_order(service: Service) -> None:
    totals = [0, 5, 5, 5, 10, 10**6, 10**6, MOST, 3, 1]
    rows = [open_row(total, slot=number % 4) for number, total in enumerate(totals)]
    closed = open_row(0, slot=9)
    for row in (*rows, vault_row(**fields(closed), state=CLOSED)):
        await store(service, row)
    orders: dict[str, Any] = {
        "owner": lambda row: row.owner,
        "balance_asc": lambda row: (row.total, row.owner),
        "balance_desc": lambda row: (row.total, row.owner),
        "slot": lambda row: (row.slot, row.owner),
    }
    for sort, key in orders.items():
        expected = sorted(rows, key=key, reverse=sort in {"balance_desc", "slot"})
        for limit in (1, 3, 10, 100):
            listed = await pages(service, f"limit={limit}&sort={sort}")
            assert [each["owner"] for each in listed] == [row.owner for row in expected], sort
    assert [each["balance"] for each in await pages(service, "sort=balance_desc&limit=2")] == (
        sorted(totals, reverse=True)
    )
    rich = await pages(service, "min_balance=10&limit=2")
    assert sorted(each["balance"] for each in rich) == [10, 10**6, 10**6, MOST]
    assert await pages(service, f"min_balance={MOST}&sort=balance_asc") == [
        each for each in rich if each["balance"] == MOST
    ]


@pytest.mark.parametrize("sort", ["owner", "balance_asc", "balance_desc", "slot"])
async def test_vaults_created_or_closed_meanwhile_do_not_disturb_the_pages(
    service: Service, sort: str
) -> None:
    rows = [open_row(100 * number, slot=number) for number in range(1, 9)]
    for row in rows:
        await store(service, row)
    seen: list[str] = []
    cursor = ""
    for number in range(8):
        page = await read(service, f"/api/vaults?limit=1&sort={sort}{cursor}")
        seen += [each["owner"] for each in page["vaults"]]
        cursor = f"&cursor={page['next_cursor']}"
        await store(service, open_row(50 + 100 * number, slot=number))
    assert len(set(seen)) == len(seen)
    unseen = {row.owner for row in rows} - set(seen)
    while not cursor.endswith("None"):
        page = await read(service, f"/api/vaults?limit=3&sort={sort}{cursor}")
        unseen -= {each["owner"] for each in page["vaults"]}
        cursor = f"&cursor={page['next_cursor']}"
    assert not unseen


CURSORS = {
    "no base64": "a",
    "no JSON": "AAAA",
    "another type": base64.urlsafe_b64encode(b'{"a":1}').decode().rstrip("="),
    "a key below zero": base64.urlsafe_b64encode(b'["owner",-1,"%s"]' % (b"1" * 32)).decode(),
    "a key beyond": base64.urlsafe_b64encode(b'["owner",9223372036854775808,"11"]').decode(),
    "another sort": base64.urlsafe_b64encode(b'["slot",1,"%s"]' % (b"1" * 32)).decode(),
    "NUL": base64.urlsafe_b64encode(b'["owner",1,"\\u0000%s"]' % (b"1" * 32)).decode(),
    "long": "A" * 201,
    "empty": "",
    "not ASCII": "é",
}


async def test_an_invalid_cursor_is_refused(service: Service) -> None:
    for name, cursor in CURSORS.items():
        reply = await service.http.get(service.url + "/api/vaults", params={"cursor": cursor})
        problem = reply.json()
        assert (reply.status_code, problem["code"]) == (400, "invalid_request"), name
        assert problem["errors"][0]["path"] == "cursor", name


@pytest.mark.parametrize("value", ["-1", str(MOST + 1), "9" * 400, "0x1", "", "NaN", "\0"])
async def test_numbers_out_of_range_are_refused(service: Service, value: str) -> None:
    owner = Keypair().pubkey()
    for route, name in (
        ("/api/vaults", "limit"),
        ("/api/vaults", "min_balance"),
        (f"/api/vault/balance/{owner}", "slot"),
    ):
        reply = await service.http.get(service.url + route, params={name: value})
        assert (reply.status_code, reply.json()["code"]) == (400, "invalid_request"), (name, value)
        assert reply.json()["errors"][0]["path"] == name


async def test_an_unknown_parameter_is_refused(service: Service) -> None:
    owner = Keypair().pubkey()
    for path in (
        "/api/vaults?limit=0",
        "/api/vaults?sort=mint",
        "/api/vaults?limit=1&limit=2",
        "/api/vaults?offset=1",
        f"/api/vault/balance/{owner}?slots=1",
    ):
        reply = await service.get(path)
        assert (reply.status_code, reply.json()["code"]) == (400, "invalid_request"), path


# --- whether it still holds --------------------------------------------------------------------


async def test_an_unchanged_reply_is_a_304(front: Service, world: World) -> None:
    alice = await world.owner()
    owner = address(alice)
    await world.act(alice, world.deposit(alice, 400), schedule(world, alice, 100, seconds=60))
    slot = await applied(world)
    routes = [
        "/api/vaults",
        f"/api/vault/{owner}",
        f"/api/vault/balance/{owner}",
        f"/api/vault/balance/{owner}?slot={slot}",
        f"/api/vault/config/{owner}",
        f"/api/vault/timelocks/{owner}",
        f"/api/vault/limits/{owner}",
    ]
    tags = {}
    for route in routes:
        first = await front.get(route)
        tags[route] = first.headers["ETag"]
        again = await ask(front, route, tags[route])
        assert (again.status_code, again.content) == (304, b""), route
        assert again.headers["ETag"] == tags[route]
        assert (await ask(front, route, 'W/"other"')).status_code == 200

    await world.act(alice, world.deposit(alice, 1))
    await applied(world)
    changed = {
        route for route in routes if (await ask(front, route, tags[route])).status_code == 200
    }
    assert changed == set(routes) - {f"/api/vault/balance/{owner}?slot={slot}"}


async def test_a_timelock_that_becomes_due_changes_the_etag(front: Service, world: World) -> None:
    alice, bob = await world.owner(), await world.owner()
    await world.act(alice, world.deposit(alice, 400), schedule(world, alice, 100, seconds=3_600))
    await applied(world)
    route = f"/api/vault/timelocks/{address(alice)}"
    tag = (await front.get(route)).headers["ETag"]
    travel(world, 3_600)
    await world.act(bob, world.deposit(bob, 1))
    await applied(world)
    assert (await ask(front, route, tag)).status_code == 200


# --- what the tests do -------------------------------------------------------------------------


async def read(service: Served, path: str) -> Json:
    reply = await service.get(path)
    assert reply.status_code == 200, reply.text
    body: Json = reply.json()
    return body


async def ask(service: Served, path: str, tag: str) -> httpx.Response:
    return await service.http.get(service.url + path, headers={"If-None-Match": tag})


async def pages(service: Served, query: str) -> list[Json]:
    """Return every vault of the list, page by page."""
    page = await read(service, f"/api/vaults?{query}")
    found: list[Json] = page["vaults"]
    while page["next_cursor"] is not None:
        page = await read(service, f"/api/vaults?{query}&cursor={page['next_cursor']}")
        assert page["vaults"], "a page that was announced is empty"
        found += page["vaults"]
    return found


async def applied(world: World) -> int:
    """Apply everything, and return up to which slot."""
    assert await world.indexer().catch_up()
    async with world.database.connection() as conn:
        frontier = await cursors.frontier(conn, str(world.programs.vault))
    assert frontier.slot is not None
    return frontier.slot


async def store(service: Service, row: Any) -> None:
    async with service.database.transaction() as conn:
        await vault_writer.advance(conn, [row])


def fields(row: Any) -> Json:
    return {
        name: getattr(row, name) for name in ("owner", "vault", "total", "available", "slot")
    } | {"locked": 0, "timelocked": 0, "yield_deposited": 0}


def open_row(total: int, *, slot: int) -> Any:
    return vault_row(
        owner=str(Keypair().pubkey()),
        vault=str(Keypair().pubkey()),
        total=total,
        available=total,
        locked=0,
        timelocked=0,
        yield_deposited=0,
        slot=slot,
    )


def schedule(world: World, owner: Keypair, amount: int, *, seconds: int) -> Any:
    key = owner.pubkey()
    return instructions.schedule_timelock(
        world.programs, authority=key, owner=key, amount=amount, duration_seconds=seconds
    )


def signers(world: World, owner: Keypair, other: Pubkey) -> Any:
    key = owner.pubkey()
    return instructions.set_vault_multisig(
        world.programs, owner=key, signers=[key, other], threshold=2
    )


async def on_chain(world: World, owner: Keypair) -> tuple[int, Json]:
    """Return a slot, and what the owner's account held in it."""
    vault = vault_address(world.programs, owner.pubkey())
    found = await world.rpc.get_accounts([vault], commitment=Commitment.CONFIRMED)
    account = read_vault(found.accounts[0], world.programs)
    assert account is not None
    return found.slot, {
        "balance": account.total_balance,
        "available": account.available_balance,
        "locked": account.locked_balance,
        "timelocked": account.timelocked,
        "yield_deposited": account.yield_deposited_balance,
    }
