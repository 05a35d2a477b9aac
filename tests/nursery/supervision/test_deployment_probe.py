"""/ready says what the chain lacks, and answers 200 once that is mended; dangers become alerts."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from functools import partial
from typing import Any

import httpx
import pytest
import trio
from solders.keypair import Keypair
from spl.token.constants import TOKEN_2022_PROGRAM_ID

from cvms.chain.program import instructions
from cvms.config.settings import Config
from cvms.http.framework.admin_tokens import Role, mint
from cvms.nursery.run import serve
from cvms.nursery.supervision import deployment_probe
from cvms.nursery.wiring.replica_tasks import build_deployment_probe
from tests.checks.chains import deploy, govern, prepare, set_mint, start_chain
from tests.harness.localnet import Localnet
from tests.harness.resources import config_for_tests
from tests.nursery.world import World, until

SECRET = b"s" * 32
ENDS = 10
KEY_IN_URL = "?api-key=Zq7vXw2kLm9tRb4y"


@asynccontextmanager
async def serving(config: Config) -> AsyncIterator[str]:
    shutdown = trio.Event()
    async with trio.open_nursery() as nursery:
        yield await nursery.start(partial(serve, config, shutdown=shutdown))
        shutdown.set()


async def readiness(url: str) -> tuple[int, Any]:
    token = mint(SECRET, subject="carol", role=Role.VIEWER, seconds=60)
    async with httpx.AsyncClient(timeout=30) as http:
        anybody = await http.get(f"{url}/ready")
        administrator = await http.get(f"{url}/ready", headers={"Authorization": f"Bearer {token}"})
    assert KEY_IN_URL not in anybody.text + administrator.text
    return administrator.status_code, administrator.json()["parts"]["deployment"]


async def until_kind(url: str, kind: str) -> str:
    """Wait until the component has this kind of trouble; return its detail."""
    detail = ""

    async def reached() -> bool:
        nonlocal detail
        status, part = await readiness(url)
        detail = part["detail"]
        if part["kind"] != kind:
            return False
        assert kind == "ok" or status == 503
        return kind != "ok" or status == 200

    await until(reached)
    return detail


@pytest.fixture
def settings(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    monkeypatch.setattr(deployment_probe, "RETRY_SECONDS", 0.05)
    monkeypatch.setattr(deployment_probe, "CHECK_SECONDS", 0.05)
    return {"admin_jwt_secret": SECRET}


async def test_it_is_ready_once_program_authority_and_mint_are_there(
    database_url: str, nursery: trio.Nursery, settings: dict[str, Any]
) -> None:
    chain = await start_chain(nursery, programs=False)
    urls = {"rpc_urls": (chain.rpc_url + "/" + KEY_IN_URL,)}
    config = config_for_tests(database_url, **chain.settings | settings | urls)
    async with serving(config) as url:
        detail = await until_kind(url, "no_program")
        assert str(chain.programs.vault) in detail
        assert "PROGRAM_ID" in detail
        deploy(chain)
        await until_kind(url, "no_authority")
        await prepare(chain)
        await until_kind(url, "ok")
        await set_mint(chain, program=TOKEN_2022_PROGRAM_ID)
        await until_kind(url, "token_2022")
        await set_mint(chain, decimals=9)
        await until_kind(url, "wrong_mint")
        await set_mint(chain)
        await until_kind(url, "ok")


async def test_without_a_chain_nothing_was_checked(
    database_url: str, settings: dict[str, Any]
) -> None:
    async with serving(config_for_tests(database_url, **settings)) as url:
        assert await until_kind(url, "not_checked") == "not checked yet"


async def test_vaults_of_another_mint_in_the_database_are_named(world: World) -> None:
    probe = build_deployment_probe(world.resources)
    assert await probe.run_once()
    await world.owner()
    await world.indexer().catch_up()
    other = Keypair().pubkey()
    async with world.database.connection() as conn:
        await conn.execute("UPDATE vaults SET mint = %(mint)s", {"mint": str(other)})
    assert not await probe.run_once()
    component = world.board.components["deployment"]
    assert component.kind == "wrong_mint"
    assert str(other) in component.detail


async def test_dangers_are_found_and_end(world: World, localnet: Localnet) -> None:
    probe = build_deployment_probe(world.resources)
    await probe.run_once()

    def kinds() -> set[str]:
        return {each.kind for each in world.board.dangers}

    assert kinds() == {
        "governance_is_operator",
        "transfer_limits_off",
        "upgrade_authority_is_governance",
        "upgrade_authority_is_operator",
        "database_not_durable",  # as the server of the tests is
    }
    governance = localnet.operator.pubkey()
    await govern(
        localnet,
        instructions.set_transfer_limits(
            localnet.programs, governance=governance, vault_daily=7, total_daily=70
        ),
    )
    await probe.run_once()
    assert "transfer_limits_off" not in kinds()


async def test_a_chain_of_this_process_has_no_dangers(world: World) -> None:
    config = replace(world.resources.config, own_chain=True)
    resources = replace(world.resources, config=config)
    await build_deployment_probe(resources).run_once()
    assert world.board.dangers == ()
    assert world.board.components["deployment"].ok
