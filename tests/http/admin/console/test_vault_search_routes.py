"""Vaults are found by the beginning of an address, and compared with the chain."""

from __future__ import annotations

from typing import Any

import trio
from solders.keypair import Keypair

from cvms.nursery.ledger.vault_rows import CLOSED
from cvms.store.projection import vault_writer
from tests.harness.service import Json, Service
from tests.http.admin.console.asking import refused, shown
from tests.nursery.world import World
from tests.store.examples import vault_row

EMPTY = dict.fromkeys(("total", "available", "locked", "timelocked", "yield_deposited"), 0)
OWNERS = ("a", "B", "b", "Ba", "bA", "z")
"""An order that depends on the collation, unless the query says which."""


def owner_of(beginning: str) -> str:
    return beginning.ljust(40, "1")


async def store(service: Service, *beginnings: str, **changes: Any) -> None:
    async with service.database.transaction() as conn:
        given = [
            vault_row(owner=owner_of(each), vault=f"vault {each}", **changes) for each in beginnings
        ]
        await vault_writer.overwrite(conn, given)


def owners(page: Json) -> list[str]:
    return [each["owner"].rstrip("1") for each in page["vaults"]]


async def test_vaults_are_found_by_the_beginning_of_an_address(office: Service) -> None:
    await store(office, *OWNERS)
    await store(office, "bc", state=CLOSED, **EMPTY)
    every = sorted([*OWNERS, "bc"])
    assert owners(await shown(office, "/api/admin/vaults")) == every
    assert owners(await shown(office, "/api/admin/vaults?query=b")) == ["b", "bA", "bc"]
    assert owners(await shown(office, "/api/admin/vaults?query=b&state=open")) == ["b", "bA"]
    closed = await shown(office, "/api/admin/vaults?state=closed")
    assert [(each["state"], each["balance"]) for each in closed["vaults"]] == [("closed", 0)]
    assert owners(closed) == ["bc"]
    nothing = await shown(office, f"/api/admin/vaults?query={owner_of('zz')}")
    assert nothing == {"vaults": [], "cursor": None}

    found: list[str] = []
    path = "/api/admin/vaults?limit=3"
    page = await shown(office, path)
    while page["cursor"]:
        found += owners(page)
        page = await shown(office, f"{path}&cursor={page['cursor']}")
    assert found + owners(page) == every
    [first] = (await shown(office, f"/api/admin/vaults?query={owner_of('a')}"))["vaults"]
    del first["updated_at"]
    assert first == {
        "owner": owner_of("a"),
        "state": "open",
        "balance": 1000,
        "available": 400,
        "locked": 300,
        "timelocked": 200,
        "yield": 100,
        "slot": 100,
    }


HOSTILE = (
    *("query=%25", "query=_", "query=l", "query='", "query=a%00", f"query={'a' * 45}"),
    *("state=all", "cursor=x", "cursor=", "limit=0", "limit=x", "owner=a"),
)


async def test_no_other_search_is_accepted(office: Service) -> None:
    for query in HOSTILE:
        reply = await refused(office, f"/api/admin/vaults?{query}")
        assert reply == (400, "invalid_request"), query


async def test_an_altered_row_differs_from_the_chain(console: Service, world: World) -> None:
    alice = await world.owner()
    await world.act(alice, world.deposit(alice, 1_000))
    await world.indexer().catch_up()
    path = f"/api/admin/vaults/{alice.pubkey()}"
    right = await shown(console, path)
    assert (right["balance"], right["state"]) == (1_000, "open")
    assert right["guards"]["multisig"] == {"threshold": 0, "signers": []}
    comparison = right["comparison"]
    assert comparison["slot"] >= right["slot"]
    assert (comparison["equal"], comparison["conclusive"]) == (True, True)
    assert all(each["database"] == each["chain"] for each in comparison["fields"])

    async with console.database.transaction() as conn:
        await conn.execute("UPDATE vaults SET total = total + 7, available = available + 7")
    altered = await shown(console, path)
    assert altered["comparison"]["equal"] is False
    different = [each for each in altered["comparison"]["fields"] if not each["equal"]]
    assert different == [
        {"field": name, "equal": False, "database": 1_007, "chain": 1_000}
        for name in ("balance", "available")
    ]

    async with console.database.transaction() as conn:
        await conn.execute("UPDATE vaults SET total = total - 7, available = available - 7")
    slot = right["slot"]
    then = await shown(console, f"{path}/balance?slot={slot}")
    assert (then["balance"], then["slot"]) == (1_000, slot)
    assert await refused(console, f"{path}/balance?slot=0") == (404, "balance_not_known")
    late = f"{path}/balance?slot={2**63 - 1}"
    assert await refused(console, late) == (422, "slot_not_indexed")
    assert await refused(console, f"{path}/balance") == (400, "invalid_request")


async def test_without_a_node_there_is_no_comparison(office: Service) -> None:
    owner = str(Keypair().pubkey())
    with trio.fail_after(15):
        reply = await refused(office, f"/api/admin/vaults/{owner}")
    assert reply == (503, "chain_unavailable")
    for bad in ("x", "1" * 31, "l" * 40):
        assert await refused(office, f"/api/admin/vaults/{bad}") == (400, "invalid_request")
        path = f"/api/admin/vaults/{bad}/balance?slot=1"
        assert await refused(office, path) == (400, "invalid_request")


async def test_an_owner_without_a_vault_is_not_found(console: Service) -> None:
    owner = str(Keypair().pubkey())
    assert await refused(console, f"/api/admin/vaults/{owner}") == (404, "vault_not_found")
