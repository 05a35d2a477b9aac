"""The database remembers its chain, and the service uses no other."""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path
from typing import Any

import psycopg
import pytest
import trio
from solders.hash import Hash

from cvms.chain.rpc.rpc_client import open_rpc
from cvms.dev.data_folder import write_private
from cvms.errors import ChainUnavailable, ConfigurationError
from cvms.nursery.run import serve
from cvms.nursery.supervision.genesis_check import verify_genesis
from cvms.store.index import chain_genesis
from cvms.store.postgres.database import Database
from tests.chain.rpc.scripted_node import FakeChain, Reply, error, nodes
from tests.checks.chains import start_chain
from tests.harness.localnet import Localnet
from tests.harness.processes import HANG_SECONDS, cvms
from tests.harness.resources import config_for_tests
from tests.nursery.world import until

HERE, THERE = (str(Hash(bytes([number]) * 32)) for number in (1, 2))
NOWHERE = "http://127.0.0.1:1"


async def recorded(database: Database) -> str | None:
    async with database.connection() as conn:
        return await chain_genesis.read(conn)


async def verify(database: Database, *urls: str, may_change: bool = False) -> None:
    async with open_rpc(urls) as rpc:
        await verify_genesis(database, rpc, may_change=may_change)


async def test_the_first_start_records_the_chain_and_another_one_ends(
    database: Database, localnet: Localnet, nursery: trio.Nursery
) -> None:
    await verify(database, localnet.rpc_url)
    here = str(localnet.running.chain.genesis_hash)
    assert await recorded(database) == here
    await verify(database, localnet.rpc_url)
    other = await start_chain(nursery, programs=False)
    with pytest.raises(ConfigurationError) as raised:
        await verify(database, other.rpc_url)
    for genesis in (here, str(other.running.chain.genesis_hash)):
        assert genesis in str(raised.value)
    assert "set SOLANA_RPC_URL to endpoints of that chain" in str(raised.value)
    assert await recorded(database) == here
    await verify(database, other.rpc_url, may_change=True)
    assert await recorded(database) == str(other.running.chain.genesis_hash)


async def test_of_two_first_starts_on_different_chains_one_wins(
    database: Database, localnet: Localnet, nursery: trio.Nursery
) -> None:
    other = await start_chain(nursery, programs=False)
    ended: list[str] = []

    async def start(chain: Localnet) -> None:
        try:
            await verify(database, chain.rpc_url)
        except ConfigurationError:
            ended.append(str(chain.running.chain.genesis_hash))

    async with trio.open_nursery() as both:
        both.start_soon(start, localnet)
        both.start_soon(start, other)
    hashes = {str(each.running.chain.genesis_hash) for each in (localnet, other)}
    [loser] = ended
    assert {loser, await recorded(database)} == hashes


async def test_an_endpoint_of_another_chain_is_not_used(
    database: Database, localnet: Localnet, nursery: trio.Nursery
) -> None:
    await verify(database, localnet.rpc_url)
    other = await start_chain(nursery, programs=False)
    async with open_rpc([other.rpc_url, localnet.rpc_url]) as rpc:
        await verify_genesis(database, rpc, may_change=False)
        genesis = await rpc.call("getGenesisHash", [])
        assert genesis == await recorded(database)
        assert [each.up for each in rpc.endpoints] == [False, True]
        assert "is on another chain" in rpc.endpoints[0].detail


async def test_the_only_endpoint_that_changes_its_chain_is_not_used_until_it_is_back(
    database: Database,
) -> None:
    chain = FakeChain(genesis=HERE)
    async with nodes(chain) as [node], open_rpc([node.url]) as rpc:
        await verify_genesis(database, rpc, may_change=False)
        rpc._probe._identity._interval = 0  # each probe compares
        await rpc.probe()
        chain.genesis = THERE
        with pytest.raises(ChainUnavailable, match="is on another chain"):
            await rpc.probe()
        chain.genesis = HERE
        await rpc.probe()
        assert rpc.available


async def test_without_a_reply_it_is_tried_again_and_without_the_method_it_is_trusted(
    database: Database,
) -> None:
    with pytest.raises(ChainUnavailable):
        await verify(database, NOWHERE)
    chain = FakeChain()

    async def refuse(request: Any) -> Reply:
        if request["method"] == "getGenesisHash":
            return error(request, -32601, "Method not found")
        return await chain(request)

    async with nodes(refuse) as [node]:
        await verify(database, node.url)
    assert await recorded(database) is None


@pytest.mark.parametrize("statement", ["newer", "other chain"])
async def test_a_start_on_what_is_not_ours_ends_with_the_reason(
    database_url: str, localnet: Localnet, statement: str
) -> None:
    change, message = {
        "newer": (
            "INSERT INTO schema_migrations (version, name, oldest_code) VALUES (9999, 'x', 9999)",
            "has migration 9999, after which only code that knows migration 9999 may run",
        ),
        "other chain": (
            "INSERT INTO chain_genesis (hash) VALUES ('somewhere')",
            "books of the chain with genesis somewhere; set SOLANA_RPC_URL",
        ),
    }[statement]
    with psycopg.connect(database_url, autocommit=True) as owner:
        owner.execute(change.encode())
    config = config_for_tests(database_url, **localnet.settings)
    with trio.fail_after(60), pytest.raises(ConfigurationError, match=message):
        await serve(config)


@pytest.mark.parametrize("workers", ["1", "2"])
async def test_the_process_ends_with_the_reason_in_one_line(
    database_url: str, localnet: Localnet, tmp_path: Path, workers: str
) -> None:
    with psycopg.connect(database_url, autocommit=True) as owner:
        owner.execute("INSERT INTO chain_genesis (hash) VALUES ('somewhere')")
    write_private(tmp_path / "operator.json", json.dumps(list(bytes(localnet.operator))))
    environ = {
        "DATABASE_URL": database_url,
        "SOLANA_RPC_URL": localnet.rpc_url,
        "SOLANA_WS_URL": localnet.ws_url,
        "DEPLOYER_KEYPAIR_PATH": str(tmp_path / "operator.json"),
        "PORT": "0",
    }
    async with cvms("serve", "--workers", workers, folder=tmp_path, environ=environ) as service:
        with trio.fail_after(HANG_SECONDS):
            assert await service.process.wait() == 2
    here = localnet.running.chain.genesis_hash
    assert (
        f"cvms: SOLANA_RPC_URL leads to the chain with genesis {here}, and DATABASE_URL to the "
        "books of the chain with genesis somewhere; set SOLANA_RPC_URL to endpoints of that chain"
    ) in service.log()
    assert "Traceback" not in service.log()


async def test_a_reset_chain_of_this_process_is_served(
    database_url: str, localnet: Localnet
) -> None:
    with psycopg.connect(database_url, autocommit=True) as owner:
        owner.execute("INSERT INTO chain_genesis (hash) VALUES ('before')")
    shutdown = trio.Event()
    config = config_for_tests(database_url, **localnet.settings, own_chain=True)
    async with trio.open_nursery() as nursery:
        await nursery.start(partial(serve, config, shutdown=shutdown))
        with psycopg.connect(database_url, autocommit=True) as owner:
            expected = str(localnet.running.chain.genesis_hash)

            async def replaced() -> bool:
                row = owner.execute("SELECT hash FROM chain_genesis").fetchone()
                return row == (expected,)

            await until(replaced, 60)
        shutdown.set()
