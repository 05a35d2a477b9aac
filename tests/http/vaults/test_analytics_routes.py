"""Analytics agree with the chain, for every valid range, and refuse invalid ranges."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest

from cvms.chain.program import instructions
from cvms.store.vaults import vaults, yield_rates
from cvms.store.vaults.yield_rates import StoredRate
from tests.harness.localnet import Localnet
from tests.harness.service import Json, Served, Service
from tests.http.vaults.test_query_routes import applied, ask, open_row, read, store
from tests.nursery.program_steps import compound, earn, lock, travel
from tests.nursery.world import World

ROUTES = ("tvl-series", "flow", "distribution", "utilization", "overview")
MOST = 2**63 - 1


@pytest.fixture
def world(front: Service, localnet: Localnet) -> World:
    return World(localnet.running, front.resources)


async def test_only_deposits_withdrawals_and_compounding_change_the_total(
    front: Service, world: World
) -> None:
    alice, bob, carol = await world.owner(), await world.owner(), await world.owner()
    programs, governance = world.programs, world.operator.pubkey()
    await world.act(alice, world.deposit(alice, 100_000))
    await world.act(bob, world.deposit(bob, 10))
    await world.act(carol, world.deposit(carol, 70), world.withdraw(carol, 70))
    await world.act(carol, instructions.close_vault(programs, carol.pubkey()))
    await lock(world, alice, 60_000)
    await world.act(
        world.operator,
        instructions.rebalance_collateral(
            programs,
            authority=governance,
            from_owner=alice.pubkey(),
            to_owner=bob.pubkey(),
            amount=5_000,
        ),
    )
    await earn(world, alice, 30_000)
    await applied(world)
    assert await tvl_now(front) == 100_010
    await compound(world, alice, 1_000)
    await world.act(
        world.operator,
        instructions.emergency_withdraw(
            programs, authority=governance, owner=alice.pubkey(), amount=6_000
        ),
    )
    await applied(world)
    assert await tvl_now(front) == 95_010

    await world.indexer().catch_up()  # once more changes nothing
    overview = await read(front, "/api/analytics/overview")
    assert (overview["tvl"], overview["vaults"]) == (95_010, 2)
    assert overview["users"] == 2
    use = overview["utilization"]
    assert use == await read(front, "/api/analytics/utilization")
    assert (use["available"], use["locked"], use["yield_deposited"]) == (9_010, 55_000, 31_000)
    assert (use["locked_bps"], use["yield_bps"]) == (5788, 3262)
    # A year has passed before the compounding.
    assert overview["last_day"] == {
        "inflow": 0,
        "outflow": 6_000,
        "net": -5_000,
        "emergency_withdrawn": 6_000,
        "compounded": 1_000,
        "transferred": 0,
        "locked": 0,
        "unlocked": 0,
        "movements": 2,
    }
    flow = await read(front, "/api/analytics/flow?bucket=day" + before(world, days=400))
    moved = [each for each in flow["buckets"] if each["movements"]]
    assert sum(each["inflow"] for each in moved) == 100_080
    assert sum(each["outflow"] for each in moved) == 6_070
    assert sum(each["net"] for each in moved) == 95_010
    assert sum(each["transferred"] for each in moved) == 5_000
    assert sum(each["locked"] for each in moved) == 60_000
    sizes = await read(front, "/api/analytics/distribution")
    held = {each["at_least"]: (each["vaults"], each["total"]) for each in sizes["buckets"]}
    assert held[1_000] == (1, 5_010)
    assert held[10_000] == (1, 90_000)
    assert (sizes["vaults"], sizes["total"]) == (2, 95_010)


async def test_the_series_has_a_point_for_every_bucket_up_to_now(
    front: Service, world: World
) -> None:
    alice = await world.owner()
    await world.act(alice, world.deposit(alice, 100))
    travel(world, 3 * 24 * 3600)
    await world.act(alice, world.deposit(alice, 11))
    await applied(world)
    days = await read(front, "/api/analytics/tvl-series?bucket=day")
    assert [each["tvl"] for each in days["points"]][-5:] == [0, 100, 100, 100, 111]
    assert len(days["points"]) == 30
    hours = await read(front, "/api/analytics/tvl-series" + before(world, days=4, first="?"))
    tvls = [each["tvl"] for each in hours["points"]]
    assert tvls == sorted(tvls)
    assert 4 * 24 <= len(tvls) <= 4 * 24 + 1
    ahead = await read(front, "/api/analytics/tvl-series?from=2990-01-01T00:00:00Z")
    assert ahead["points"] == []


async def test_every_power_of_ten_has_a_bucket_in_the_distribution(service: Service) -> None:
    for total in (0, 1, 9, 10, 99, 100, MOST):
        await store(service, open_row(total, slot=1))
    found = await read(service, "/api/analytics/distribution")
    assert [each["vaults"] for each in found["buckets"]] == [1, 2, 2, 1, *[0] * 15, 1]
    for lower, upper in zip(found["buckets"], found["buckets"][1:], strict=False):
        assert lower["below"] == upper["at_least"]
    assert found["buckets"][-1]["at_least"] <= MOST == found["buckets"][-1]["below"]


async def test_before_the_first_vault_everything_is_zero(service: Service) -> None:
    overview = await read(service, "/api/analytics/overview")
    assert (overview["tvl"], overview["vaults"], overview["slot"]) == (0, 0, None)
    assert (overview["users"], overview["avg_apy"]) == (0, None)
    assert overview["utilization"]["locked_bps"] == 0
    assert {each["tvl"] for each in (await series(service, ""))} == {0}
    assert len(await series(service, "")) == 24


async def test_an_unchanged_reply_is_a_304(service: Service) -> None:
    for name in ROUTES:
        path = f"/api/analytics/{name}"
        if name in {"tvl-series", "flow"}:
            path += "?from=2026-01-01T00:00:00Z&to=2026-01-02T00:00:00Z"
        tag = (await service.get(path)).headers["ETag"]
        assert (await ask(service, path, tag)).status_code == 304, name
    tag = (await service.get("/api/analytics/utilization")).headers["ETag"]
    await store(service, open_row(5, slot=1))
    assert (await ask(service, "/api/analytics/utilization", tag)).status_code == 200


RANGES = {
    "from": [
        *("", "x", "0", "-1", "2026-01-01", "2026-01-01T00:00:00", "9999-12-31T23:59:59Z"),
        *("0001-01-01T00:00:00Z", "0001-01-01T00:00:00+14:00", "2026-01-01T00:00:00Z\0"),
        *("2000-01-01T00:00:00Z", "9223372036854775808", "2026-13-01T00:00:00Z"),
    ],
    "to": ["", "NaN", "9999-12-31T23:59:59-14:00", "1999-12-31T23:59:59Z", "2000-01-01T00:00:00Z"],
    "bucket": ["", "week", "1 hour'", "hour\0"],
    "form": ["2026-01-01T00:00:00Z"],
}


@pytest.mark.parametrize("name", ["tvl-series", "flow"])
async def test_an_invalid_range_is_refused(service: Service, name: str) -> None:
    for parameter, values in RANGES.items():
        for value in values:
            query = {"from": "2026-01-01T00:00:00Z"} if parameter == "to" else {}
            reply = await service.http.get(
                f"{service.url}/api/analytics/{name}", params={**query, parameter: value}
            )
            outcome = (reply.status_code, reply.json().get("code"))
            assert outcome == (400, "invalid_request"), (parameter, value)


async def test_a_thousand_buckets_are_allowed_and_one_more_is_refused(service: Service) -> None:
    start = datetime(2026, 1, 1, tzinfo=UTC)
    for hours, status in ((1000, 200), (1001, 400)):
        end = start + timedelta(hours=hours)
        for name in ("tvl-series", "flow"):
            path = f"/api/analytics/{name}?from={text(start)}&to={text(end)}"
            assert (await service.get(path)).status_code == status, (name, hours)
    assert len(await series(service, f"?from={text(start)}&to={text(start)}")) == 0
    late = start + timedelta(minutes=59)
    widened = f"?from={text(late)}&to={text(late + timedelta(minutes=2))}"
    assert [each["start"] for each in await series(service, widened)] == [
        "2026-01-01T00:00:00Z",
        "2026-01-01T01:00:00Z",
    ]


# --- what the tests do -------------------------------------------------------------------------


async def series(service: Served, query: str) -> list[Json]:
    points: list[Json] = (await read(service, f"/api/analytics/tvl-series{query}"))["points"]
    return points


async def tvl_now(service: Served) -> int:
    """Return the total, after asserting that the series, the rows and the sums agree."""
    by_events: int = (await series(service, ""))[-1]["tvl"]
    async with service.database.connection() as conn:
        cursor = await conn.execute("SELECT sum(total) FROM vaults")
        assert await cursor.fetchone() == (by_events,)
        assert (await vaults.tvl(conn)).total == by_events
    assert (await read(service, "/api/analytics/utilization"))["total"] == by_events
    return by_events


def before(world: World, *, days: int, first: str = "&") -> str:
    """Return a range of so many days up to the chain's time."""
    now = datetime.fromtimestamp(world.chain.chain.time.now(), UTC)
    return f"{first}from={text(now - timedelta(days=days))}"


def text(time: datetime) -> str:
    return time.replace(microsecond=0).isoformat().replace("+00:00", "Z")


async def test_the_mean_rate_is_that_of_the_newest_readings(service: Service) -> None:
    def rate(address: str, apy: str | None, slot: int) -> StoredRate:
        reason = "malformed" if apy is None else None
        supply_apy = None if apy is None else Decimal(apy)
        return StoredRate(
            protocol="solend",
            address=address,
            source_slot=slot,
            chain_time=0,
            supply_apy=supply_apy,
            reason=reason,
        )

    async def put(*rates: StoredRate, age: str = "0") -> None:
        async with service.database.transaction() as conn:
            await yield_rates.put(conn, rates)
            await conn.execute(
                "UPDATE protocol_apy SET read_at = now() - %s::INTERVAL WHERE source_slot = %s",
                [age, rates[0].source_slot],
            )

    await put(rate("gone", "9", 1), age="2 hours")
    assert (await read(service, "/api/analytics/overview"))["avg_apy"] is None
    await put(rate("one", "0.5", 2), rate("two", "0.04", 2), age="1 minute")
    await put(rate("one", "0.02", 3), rate("broken", None, 3))
    assert (await read(service, "/api/analytics/overview"))["avg_apy"] == 0.03
