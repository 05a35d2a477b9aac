"""The status uses the stored rates without asking the chain, while they are recent."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import Any

import pytest
from solders.keypair import Keypair

from cvms.store.vaults import yield_rates
from cvms.store.vaults.yield_rates import StoredRate
from tests.harness.service import Service, running
from tests.store.examples import store_vault, vault_row

POOL, RESERVE = (str(Keypair().pubkey()) for _ in range(2))
STATE = {
    "yield_accrued_balance": 0,
    "last_compounded_at": 0,
    "active_yield_program": "11111111111111111111111111111111",
}


@pytest.fixture
async def front(database_url: str) -> Any:
    """Run the front end without a chain, with two sources."""
    sources = f"solend:{RESERVE},yield_pool:{POOL}"
    async with running(database_url, yield_sources=sources) as service:
        yield service


async def store(front: Service, *readings: StoredRate) -> str:
    """Store the readings and a vault, and return its owner."""
    owner = str(Keypair().pubkey())
    async with front.database.transaction() as conn:
        await store_vault(conn, vault_row(owner=owner, state=STATE))
        await yield_rates.put(conn, readings)
    return owner


async def status(front: Service, owner: str) -> Any:
    reply = await front.get(f"/api/vault/yield-status/{owner}")
    assert reply.status_code == 200, reply.text
    return json.loads(reply.text, parse_float=Decimal)


def pool(front: Service, **changes: Any) -> StoredRate:
    values: dict[str, Any] = {
        "protocol": "yield_pool",
        "address": POOL,
        "source_slot": 900,
        "chain_time": 1_700_000_100,
        "mint": str(front.config.programs.mint),
        "supply_apr": Decimal("0.050000000000"),
        "supply_apy": Decimal("0.050000000000"),
        "supplied": 2**65,
        "updated_time": 1_700_000_000,
    }
    return StoredRate(**values | changes)


def reserve(**changes: Any) -> StoredRate:
    values: dict[str, Any] = {
        "protocol": "solend",
        "address": RESERVE,
        "source_slot": 900,
        "chain_time": 1_700_000_100,
        "reason": "wrong_owner",
        "detail": "the account belongs to somebody",
    }
    return StoredRate(**values | changes)


async def test_a_recent_reading_is_used_while_the_chain_is_unavailable(front: Service) -> None:
    owner = await store(front, pool(front), reserve())
    shown = await status(front, owner)
    first, second = shown["protocols"]
    assert first["refusal"] == {
        "reason": "wrong_owner",
        "detail": "the account belongs to somebody",
    }
    assert (second["source_slot"], second["eligible"]) == (900, True)
    assert second["age_seconds"] < 60
    rate = second["rate"]
    assert (rate["supply_apy"], rate["supplied"]) == (Decimal("0.05"), 2**65)
    assert rate["convention"] == "simple"
    assert 100 <= rate["updated_seconds_ago"] < 160
    assert shown["best"]["address"] == POOL


async def test_a_rate_with_a_utilization_is_restored_unchanged(front: Service) -> None:
    used = reserve(
        reason=None,
        detail=None,
        mint=str(front.config.programs.mint),
        supply_apr=Decimal("0.06"),
        supply_apy=Decimal("0.061"),
        borrow_apr=Decimal("0.1"),
        utilization=Decimal("0.8"),
        supplied=10,
        borrowed=8,
        updated_slot=890,
    )
    shown = await status(front, await store(front, pool(front), used))
    rate = shown["protocols"][0]["rate"]
    assert (rate["updated_slot"], rate["updated_slots_ago"], rate["updated_at"]) == (890, 10, None)
    assert (rate["utilization"], rate["borrowed"]) == (Decimal("0.8"), 8)
    assert shown["best"]["supply_apy"] == Decimal("0.061")


async def test_rates_are_read_from_the_chain_if_stored_ones_are_old_or_incomplete(
    front: Service,
) -> None:
    owner = await store(front, pool(front))
    assert (await status(front, owner))["best"] is None
    async with front.database.connection() as conn:
        await yield_rates.put(conn, [reserve(), pool(front)])
    assert (await status(front, owner))["best"] is not None
    async with front.database.connection() as conn:
        await conn.execute(
            "UPDATE protocol_apy SET read_at = now() - interval '10 minutes' "
            "WHERE protocol = 'solend'"
        )
    reasons = {each["refusal"]["reason"] for each in (await status(front, owner))["protocols"]}
    assert reasons == {"chain_unavailable"}
