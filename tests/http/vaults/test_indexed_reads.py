"""What a client sends in X-Min-Slot, and what X-Slot answers."""

from __future__ import annotations

import httpx
import pytest
from solders.keypair import Keypair

from cvms.nursery.wiring.replica_tasks import build_broadcaster
from cvms.store.index import cursor
from cvms.store.index.cursor import Cursor
from tests.harness.service import Service
from tests.store.examples import store_vault, vault_row

OWNER = str(Keypair.from_seed(bytes(32)).pubkey())
ROUTES = (
    f"/api/vault/balance/{OWNER}",
    f"/api/vault/balance/{OWNER}?slot=100",
    f"/api/vault/transactions/{OWNER}",
    f"/api/vault/transactions/{OWNER}?offset=1",
    f"/api/vault/{OWNER}",
    f"/api/vault/config/{OWNER}",
    f"/api/vault/timelocks/{OWNER}",
    f"/api/vault/limits/{OWNER}",
    f"/api/vault/yield-status/{OWNER}",
    "/api/vault/tvl",
    "/api/vaults",
    "/api/analytics/overview",
    "/api/analytics/utilization",
    "/api/analytics/distribution",
    "/api/analytics/flow",
    "/api/analytics/tvl-series",
)


async def index(service: Service, slot: int) -> None:
    """Index a vault at slot 100, and everything up to `slot`."""
    program = str(service.config.programs.vault)
    async with service.database.transaction() as conn:
        await store_vault(conn, vault_row(owner=OWNER, slot=100))
        await cursor.advance(conn, Cursor(program, slot, "signature"))
        await cursor.reach(conn, program, slot)


async def get(service: Service, path: str, min_slot: str) -> httpx.Response:
    return await service.http.get(service.url + path, headers={"X-Min-Slot": min_slot})


@pytest.mark.parametrize("path", ROUTES)
async def test_every_route_of_what_is_indexed_takes_a_slot(service: Service, path: str) -> None:
    await index(service, 150)
    plain = await service.get(path)
    assert "x-slot" not in plain.headers
    known = await get(service, path, "150")
    assert (known.status_code, known.headers["x-slot"]) == (plain.status_code, "150")
    newer = await get(service, path, "151")
    assert (newer.status_code, newer.json()["code"]) == (422, "slot_not_indexed")
    assert newer.headers["retry-after"] == "1"
    assert "x-slot" not in newer.headers
    bad = await get(service, path, "-1")
    assert (bad.status_code, bad.json()["errors"][0]["path"]) == (400, "X-Min-Slot")


@pytest.mark.parametrize(
    "text", ["", "x", "1.5", "+1", "9223372036854775808", "1" * 40, "\u0661", "1,2"]
)
async def test_slots_that_are_none_are_refused(service: Service, text: str) -> None:
    await index(service, 150)
    path = f"{service.url}/api/vault/tvl"
    reply = await service.http.get(path, headers={b"X-Min-Slot": text.encode()})
    assert (reply.status_code, reply.json()["code"]) == (400, "invalid_request")


async def test_two_slots_are_refused(service: Service) -> None:
    await index(service, 150)
    twice = [("X-Min-Slot", "1"), ("X-Min-Slot", "2")]
    reply = await service.http.get(f"{service.url}/api/vault/tvl", headers=twice)
    assert (reply.status_code, reply.json()["code"]) == (400, "invalid_request")


async def test_a_vault_that_is_missing_is_missing_as_of_a_slot(service: Service) -> None:
    await index(service, 150)
    reply = await get(service, f"/api/vault/balance/{Keypair().pubkey()}", "100")
    assert (reply.status_code, reply.headers["x-slot"]) == (404, "150")


async def test_a_cached_balance_is_no_older_than_the_slot(service: Service) -> None:
    path = f"/api/vault/balance/{OWNER}"
    await index(service, 150)
    with service.resources.replies.followed():
        await build_broadcaster(service.resources).run_once()
        await service.get(path)
        cached = await get(service, path, "100")
        assert (cached.json()["cached"], cached.headers["x-slot"]) == (True, "100")
        fresh = await get(service, path, "101")
        assert (fresh.json()["cached"], fresh.headers["x-slot"]) == (False, "150")
        again = await get(service, path, "150")
        assert (again.json()["cached"], again.headers["x-slot"]) == (True, "150")
        newer = await get(service, path, "151")
        assert newer.status_code == 422


async def test_an_account_may_be_ahead_of_what_is_indexed(service: Service) -> None:
    """A balance is true for the slot of its account. Of the history, nothing is known there."""
    await index(service, 90)
    balance = await get(service, f"/api/vault/balance/{OWNER}", "95")
    assert (balance.status_code, balance.headers["x-slot"]) == (200, "95")
    page = await get(service, f"/api/vault/transactions/{OWNER}", "95")
    assert page.status_code == 422
