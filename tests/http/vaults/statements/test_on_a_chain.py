"""Statements of vaults on a real chain, held against the vaults' accounts."""

from __future__ import annotations

import itertools
import random

import pytest
from solders.keypair import Keypair

from cvms.chain.program import instructions
from cvms.chain.program.accounts import read_vault
from cvms.chain.program.addresses import vault_address
from cvms.chain.types import Commitment
from tests.harness.service import Json, Service
from tests.http.vaults.statements.arithmetic import (
    BALANCES,
    assert_adds_up,
    assert_csv_adds_up,
    balances,
)
from tests.http.vaults.statements.movements import release, seize, settle, steps, transfer
from tests.nursery.program_steps import compound, earn, lock, travel, unlock
from tests.nursery.world import World, address, held_clock


async def test_any_period_adds_up_and_closes_as_the_chain_did(front: Service, world: World) -> None:
    alice, bob = await world.owner(), await world.owner()
    seen: dict[str, dict[int, dict[str, int]]] = {address(alice): {}, address(bob): {}}

    async def note() -> None:
        for owner in (alice, bob):
            slot, held = await on_chain(world, owner)
            seen[address(owner)][slot] = held

    await note()
    await world.act(alice, world.deposit(alice, 500_000))
    await world.act(bob, world.deposit(bob, 10))
    await note()
    rng = random.Random(14)
    for _ in range(12):
        if rng.random() < 0.7:
            await world.act(alice, *steps(world, rng, alice))
        else:
            await world.act(bob, world.deposit(bob, rng.randint(1, 900)))
        await note()
    await lock(world, alice, 60_000)
    await note()
    await world.act(alice, unlock(world, alice, 20_000))
    await note()
    await transfer(world, alice, bob, 5_000)
    await note()
    await earn(world, alice, 40_000)
    await note()
    await compound(world, alice, 2_000)
    await note()
    await world.act(alice, release(world, alice))
    await note()
    available = next(reversed(seen[address(alice)].values()))["available"]
    await seize(world, alice, available + 3_000)
    await note()
    assert next(reversed(seen[address(alice)].values()))["locked"] == 32_000
    held = next(reversed(seen[address(bob)].values()))["available"]
    close = instructions.close_vault(world.programs, bob.pubkey())
    await world.act(bob, world.withdraw(bob, held), close)
    await world.act(bob, instructions.initialize_vault(world.programs, bob.pubkey()))
    await world.act(bob, world.deposit(bob, 77))
    await note()
    await settle(world)

    whole = await read(front, alice)
    assert whole["status"] == "complete"
    assert {line["kind"] for line in whole["lines"]} >= {
        *("deposit", "withdraw", "lock", "unlock", "transfer_out", "timelock", "timelock_release"),
        *("yield_deposit", "yield_compound", "emergency_withdraw"),
    }
    for owner in (alice, bob):
        slots = sorted(seen[address(owner)])
        cuts = [0, *slots, (await read(front, owner))["to_slot"] - 1]
        for first, last in itertools.combinations(cuts, 2):
            statement = await read(front, owner, f"from={first + 1}&to={last + 1}")
            assert_adds_up(statement)
            assert statement["status"] == "complete"
            assert all(line["kind"] != "correction" for line in statement["lines"])
            assert (statement["opening"]["slot"], statement["closing"]["slot"]) == (first, last)
            for side, slot in (("opening", first), ("closing", last)):
                if slot in seen[address(owner)]:
                    assert balances(statement[side]) == seen[address(owner)][slot]
        for line in (await read(front, owner))["lines"]:
            assert line["signature"]
            assert line["block_time"]


async def test_consecutive_statements_join_by_slots_by_times_and_by_pages(
    front: Service, world: World
) -> None:
    alice, bob = await world.owner(), await world.owner()
    for amount in range(1, 8):
        await world.act(alice, world.deposit(alice, amount))
        await world.act(bob, world.deposit(bob, 1), world.deposit(bob, 2))
        travel(world, 3600)
    await settle(world)
    whole = await read(front, alice)
    assert_adds_up(whole)
    times = [line["block_time"] for line in whole["lines"]]
    assert times == sorted(set(times))
    for cuts in (
        [str(line["slot"]) for line in whole["lines"]][1:],
        times[1:],
        [time.replace("Z", "%2B00:00") for time in times[1::2]],
    ):
        bounds = ["", *cuts, ""]
        joined = []
        for first, end in itertools.pairwise(bounds):
            query = "&".join(f"{n}={v}" for n, v in (("from", first), ("to", end)) if v)
            statement = await read(front, alice, query)
            assert_adds_up(statement)
            joined.append(statement)
        assert_joined(joined, whole)
    assert_joined(await pages(front, alice, 3), whole)
    assert len(await pages(front, alice, 3)) == 3
    assert_joined(
        await pages(front, alice, 2, until=times[5]),
        await read(front, alice, f"to={times[5]}"),
    )
    # A slot with two lines is not cut, whatever the limit.
    of_bob = await pages(front, bob, 1)
    assert [len(page["lines"]) for page in of_bob] == [*[2] * 7, 0]
    assert_joined(of_bob, await read(front, bob))


async def test_csv_has_the_same_lines(front: Service, world: World) -> None:
    alice = await world.owner()
    for amount in range(1, 6):
        await world.act(alice, world.deposit(alice, 2 * amount), world.withdraw(alice, amount))
    await settle(world)
    whole = await read(front, alice)
    path = f"/api/vault/statement/{address(alice)}"
    by_query = await front.get(f"{path}?format=csv")
    by_header = await front.http.get(front.url + path, headers={"Accept": "text/csv"})
    assert by_query.status_code == by_header.status_code == 200
    assert by_query.text == by_header.text
    assert by_query.headers["Content-Type"].startswith("text/csv; charset=utf-8")
    assert address(alice) in by_query.headers["Content-Disposition"]
    assert by_query.headers["Vary"] == "Accept"
    assert int(by_query.headers["X-Slot"]) >= whole["closing"]["slot"]
    lines = assert_csv_adds_up(by_query.text)
    assert [
        (int(line["slot"]), line["time"], line["kind"], int(line["amount"]), line["signature"])
        for line in lines
    ] == [
        (line["slot"], line["block_time"], line["kind"], line["amount"], line["signature"])
        for line in whole["lines"]
    ]


async def test_what_is_not_final_is_in_no_statement(front: Service, world: World) -> None:
    alice = await world.owner()
    await world.act(alice, world.deposit(alice, 100))
    await settle(world)
    with held_clock(world.chain.chain):
        await world.act(alice, world.deposit(alice, 5), wait=False)
        world.chain.chain.advance(1)
        await world.indexer().catch_up()
        await world.finalizer().run_once()
        slot, _ = await on_chain(world, alice)
        so_far = await read(front, alice, f"to={slot + 1}")
        assert (so_far["status"], so_far["closing"]["total"]) == ("pending", 100)
        assert so_far["to_slot"] == so_far["final_slot"] + 1 <= slot
        path = f"/api/vault/statement/{address(alice)}?format=csv&to={slot + 1}"
        assert ",closing_so_far," in (await front.get(path)).text
        assert (await read(front, alice))["closing"]["total"] == 100
    await settle(world)
    later = await read(front, alice, f"to={slot + 1}")
    assert (later["status"], later["closing"]["total"]) == ("complete", 105)
    assert_adds_up(later)


async def read(service: Service, owner: Keypair, query: str = "") -> Json:
    separator = "?" if query else ""
    reply = await service.get(f"/api/vault/statement/{address(owner)}{separator}{query}")
    assert reply.status_code == 200, reply.text
    body: Json = reply.json()
    return body


async def pages(
    service: Service, owner: Keypair, limit: int, *, until: str | None = None
) -> list[Json]:
    fixed = f"limit={limit}" if until is None else f"limit={limit}&to={until}"
    found = [await read(service, owner, fixed)]
    while found[-1]["status"] == "more":
        query = f"{fixed}&from={found[-1]['next_from']}"
        found.append(await read(service, owner, query))
    return found


def assert_joined(parts: list[Json], whole: Json) -> None:
    """The parts have the lines of the whole, and each begins as the one before it ends."""
    for part in parts:
        assert_adds_up(part)
    for before, after in itertools.pairwise(parts):
        assert before["closing"] == after["opening"]
    assert [line for part in parts for line in part["lines"]] == whole["lines"]
    assert parts[-1]["closing"] == whole["closing"]


async def on_chain(world: World, owner: Keypair) -> tuple[int, dict[str, int]]:
    """Return a slot, and what the owner's account held in it."""
    vault = vault_address(world.programs, owner.pubkey())
    found = await world.rpc.get_accounts([vault], commitment=Commitment.CONFIRMED)
    account = read_vault(found.accounts[0], world.programs)
    assert account is not None
    held = (
        account.total_balance,
        account.available_balance,
        account.locked_balance,
        account.timelocked,
        account.yield_deposited_balance,
    )
    return found.slot, dict(zip(BALANCES, held, strict=True))


@pytest.mark.parametrize(
    ("accept", "kind"),
    [
        ("*/*", "application/json"),
        ("text/csv", "text/csv"),
        ("text/csv; charset=utf-8", "text/csv"),
        ("text/*, */*;q=0.1", "text/csv"),
        ("text/csv, application/json", "application/json"),
        ("text/csv;q=0.5, application/json; amounts=string", "application/json"),
        ("application/json;q=0, text/csv", "text/csv"),
        ("text/html", "application/json"),
    ],
)
async def test_the_form_is_the_one_that_the_client_prefers(
    front: Service, world: World, accept: str, kind: str
) -> None:
    alice = await world.owner()
    await world.act(alice, world.deposit(alice, 5))
    await settle(world)
    path = f"{front.url}/api/vault/statement/{address(alice)}?limit=5000"
    reply = await front.http.get(path, headers={"Accept": accept})
    assert reply.status_code == 200
    assert reply.headers["Content-Type"].partition(";")[0] == kind
    assert reply.headers["Vary"] == "Accept"
    if "amounts" in accept:
        [line] = reply.json()["lines"]
        assert (line["amount"], line["change"]["total"]) == ("5", "5")
        assert reply.json()["closing"]["total"] == "5"
    both = await front.http.get(f"{path}&format=csv&amounts=string")
    assert_csv_adds_up(both.text)


@pytest.mark.parametrize(
    "query",
    [
        "from=2026-01-01",
        "from=2026-01-01T00:00:00",
        "from=1999-01-01T00:00:00Z",
        "to=3001-01-01T00:00:00Z",
        "from=-1",
        "to=9223372036854775808",
        "from=5&to=4",
        "from=2026-01-02T00:00:00Z&to=2026-01-01T23:59:59Z",
        "from=",
        "from=1e3",
        "from=%D9%A1",
        "limit=0",
        "format=xml",
    ],
)
async def test_other_periods_are_refused(service: Service, query: str) -> None:
    reply = await service.get(f"/api/vault/statement/{Keypair().pubkey()}?{query}")
    assert (reply.status_code, reply.json()["code"]) == (400, "invalid_request")


async def test_an_unchanged_statement_is_a_304(front: Service, world: World) -> None:
    alice = await world.owner()
    await world.act(alice, world.deposit(alice, 5))
    await settle(world)
    end = (await read(front, alice))["to_slot"]
    url = f"{front.url}/api/vault/statement/{address(alice)}?to={end}"
    first = await front.http.get(url)
    tag = {"If-None-Match": first.headers["ETag"]}
    await world.act(alice, world.deposit(alice, 6))
    await settle(world)
    assert (await front.http.get(url)).json() | {"final_slot": 0} == first.json() | {
        "final_slot": 0
    }
    assert (await front.http.get(url, headers=tag)).status_code == 304
