"""The statement of all vaults together, and the file of all their lines, on a real chain."""

from __future__ import annotations

import itertools
from datetime import UTC, datetime, timedelta

import pytest
from httpx import Response as Reply

from cvms.http.framework.admin_tokens import Role
from cvms.nursery.channels.status_board import StatusBoard
from cvms.nursery.scheduled.balance_snapshots import SnapshotWriter
from tests.harness.service import Json, Service
from tests.http.admin.test_admin_routes import token
from tests.http.vaults.statements.arithmetic import BALANCES, balances, read_csv
from tests.http.vaults.statements.movements import seize, settle, transfer
from tests.nursery.program_steps import lock, travel
from tests.nursery.world import World, address

ROUTE = "/api/admin/statement"
LINES = f"{ROUTE}/lines"
NOTHING = dict.fromkeys(BALANCES, 0)
HOUR = 3600


async def test_days_add_up_join_and_close_as_the_chain_did(front: Service, world: World) -> None:
    alice, bob = await world.owner(), await world.owner()
    held: dict[str, dict[str, int]] = {}
    travel(world, to_next_noon(world))
    for day in range(3):
        await world.act(alice, world.deposit(alice, 10_000 * (day + 1)))
        await world.act(bob, world.deposit(bob, 100))
        if day == 0:
            await world.act(alice, world.withdraw(alice, 44))
            await lock(world, alice, 3_000)
        if day == 1:
            await transfer(world, alice, bob, 50)
            await seize(world, alice, 27_906)  # 950 more than available
        await settle(world)
        held[f"{time_of(world):%Y-%m-%d}"] = await sums(world)
        travel(world, 24 * HOUR)
    await world.owner()
    await settle(world)
    await write_snapshots(world)
    statement = await read(front, bucket="day")
    assert statement["status"] == "complete"
    found = [each for each in statement["periods"] if each["flows"]]
    assert {each["opening"]["at"][:10]: balances(each["closing"]) for each in found} == held
    kinds = [[flow["kind"] for flow in each["flows"]] for each in found]
    assert kinds == [
        ["deposit", "lock", "withdraw"],
        ["deposit", "emergency_withdraw", "transfer_in", "transfer_out", "unlock"],
        ["deposit"],
    ]
    assert_all_add_up(statement)
    assert held[sorted(held)[1]]["locked"] == 2_000

    hours = await read(front, bucket="hour")
    assert_all_add_up(hours)
    assert hours["whole"]["closing"]["total"] == statement["whole"]["closing"]["total"]

    first, *_, last_day = statement["periods"]
    parts = [
        await read(front, **{"from": each["opening"]["at"], "to": each["closing"]["at"]})
        for each in statement["periods"]
    ]
    for before, after in itertools.pairwise(parts):
        assert before["whole"]["closing"] == after["whole"]["opening"]
    assert first["opening"]["vaults"] == 0
    assert last_day["closing"]["vaults"] == 2
    assert last_day["closing"]["slot"] is not None
    file = await lines(front, to=statement["whole"]["closing"]["at"])
    moved = {flow["kind"]: flow["amount"] for flow in statement["whole"]["flows"]}
    assert moved == {kind: sum(amounts(file, kind)) for kind in moved}
    assert {row["kind"] for row in file[:-1]} == moved.keys()
    assert file[-1]["kind"] == "end"
    assert {row["owner"] for row in file[:-1]} == {address(alice), address(bob)}
    assert [int(row["slot"]) for row in file] == sorted(int(row["slot"]) for row in file)


async def test_periods_that_are_not_over_are_pending(front: Service, world: World) -> None:
    empty = await read(front)
    assert (empty["status"], empty["whole"], empty["periods"]) == ("complete", None, [])
    alice = await world.owner()
    await world.act(alice, world.deposit(alice, 5))
    travel(world, 3 * HOUR)
    await settle(world)
    await write_snapshots(world)
    start = f"{time_of(world) - timedelta(days=2):%Y-%m-%dT00:00:00Z}"
    statement = await read(front, **{"from": start, "to": "2999-01-01T00:00:00Z", "bucket": "hour"})
    assert statement["status"] == "pending"
    assert statement["whole"]["closing"]["total"] == 5
    assert_all_add_up(statement)


async def test_a_line_that_comes_late_is_a_difference(front: Service, world: World) -> None:
    alice = await world.owner()
    await world.act(alice, world.deposit(alice, 500))
    travel(world, 5 * HOUR)
    await settle(world)
    await write_snapshots(world)
    await world.execute("UPDATE flows SET amount = amount - 3 WHERE kind = 'deposit'")
    whole = (await read(front, bucket="hour"))["whole"]
    assert balances(whole["difference"]) == {**NOTHING, "total": 3, "available": 3}


async def test_hours_that_are_not_kept_are_refused(front: Service, world: World) -> None:
    alice = await world.owner()
    await world.act(alice, world.deposit(alice, 500))
    travel(world, 5 * HOUR)
    await settle(world)
    await write_snapshots(world)
    await world.execute("DELETE FROM tvl_snapshots WHERE at < (SELECT max(at) FROM tvl_snapshots)")
    reply = await ask(front, ROUTE, bucket="hour")
    assert (reply.status_code, reply.json()["errors"][0]["path"]) == (400, "from")
    assert "not kept" in reply.json()["detail"]


@pytest.mark.parametrize(
    "query",
    [
        {"from": "2026-01-01T00:30:00Z"},
        {"from": "2026-01-01T01:00:00Z"},
        {"to": "2026-01-01T00:00:00+01:00"},
        {"from": "2026-01-01T01:00:00.5Z", "bucket": "hour"},
        {"from": "2026-01-02T00:00:00Z", "to": "2026-01-01T00:00:00Z"},
        {"from": "2026-01-01T00:00:00"},
        {"from": "1999-01-01T00:00:00Z"},
        {"bucket": "week"},
        {"format": "csv"},
    ],
)
async def test_other_bounds_are_refused(service: Service, query: dict[str, str]) -> None:
    reply = await ask(service, ROUTE, **query)
    assert (reply.status_code, reply.json()["code"]) == (400, "invalid_request")


async def test_only_administrators_read_them(service: Service) -> None:
    for route in (ROUTE, LINES):
        assert (await service.get(route)).status_code == 401
        assert (await ask(service, route)).status_code == 200


def assert_all_add_up(statement: Json) -> None:
    """Every period does, and the periods join to the whole."""
    periods = statement["periods"]
    for each in [statement["whole"], *periods]:
        opening, change, closing = (balances(each[n]) for n in ("opening", "change", "closing"))
        assert {name: opening[name] + change[name] for name in BALANCES} == closing
        assert balances(each["difference"]) == NOTHING
    for before, after in itertools.pairwise(periods):
        assert before["closing"] == after["opening"]
    assert statement["whole"]["opening"] == periods[0]["opening"]
    assert statement["whole"]["closing"] == periods[-1]["closing"]


async def write_snapshots(world: World) -> None:
    board = StatusBoard()
    board.set_component("indexer", ok=True, detail="")
    writer = SnapshotWriter(
        database=world.database, program=str(world.programs.vault), max_lag_slots=50, board=board
    )
    while await writer.run_once():
        pass


async def sums(world: World) -> dict[str, int]:
    """Return what all accounts hold together."""
    rows = [each.row for each in await world.on_chain()]
    return {name: sum(getattr(row, name) for row in rows) for name in BALANCES}


def time_of(world: World) -> datetime:
    return datetime.fromtimestamp(world.chain.chain.time.now(), UTC)


def to_next_noon(world: World) -> int:
    now = time_of(world)
    noon = (now + timedelta(days=1)).replace(hour=12, minute=0, second=0, microsecond=0)
    return int((noon - now).total_seconds())


async def ask(service: Service, route: str, **query: str) -> Reply:
    headers = {"Authorization": f"Bearer {token(Role.VIEWER)}"}
    return await service.http.get(service.url + route, params=query, headers=headers)


async def read(service: Service, **query: str) -> Json:
    reply = await ask(service, ROUTE, **query)
    assert reply.status_code == 200, reply.text
    body: Json = reply.json()
    return body


async def lines(service: Service, **query: str) -> list[dict[str, str]]:
    reply = await ask(service, LINES, **query)
    assert reply.status_code == 200, reply.text
    return read_csv(reply.text)


def amounts(rows: list[dict[str, str]], kind: str) -> list[int]:
    return [int(row["amount"]) for row in rows if row["kind"] == kind]
