"""The database is lost or damaged, and built again by the commands of disaster.md."""

from __future__ import annotations

from pathlib import Path

import psycopg
import pytest
import trio
from solders.keypair import Keypair

from cvms.client import Client, Snapshot, Topic, Wallet, open_client
from tests.acceptance.chain import fund
from tests.acceptance.conftest import System
from tests.acceptance.test_backup import programs_on_path
from tests.harness.deposits import count_pending, deposits_recorded, query, topic_head, until
from tests.harness.processes import HANG_SECONDS, until_ready
from tests.operations.pages import blocks, shell
from tests.postgres_server import database_uri, named_database

pytestmark = pytest.mark.slow(seconds=20)

USDT = 1_000_000
HISTORY = "SELECT signature, owner, kind, amount, slot FROM transactions ORDER BY slot, id"


async def test_without_a_backup_everything_that_the_chain_knows_is_there_again(
    system: System, database_url: str, postgres_server: str, tmp_path: Path
) -> None:
    wallet = Wallet(key := Keypair())
    await fund(system.at.rpc_url, key, system.at.programs.mint)
    async with system.serve() as server, open_client(server.url, wallet=wallet) as client:
        await until_ready(server.url, server)
        await client.finish(await client.open_vault())
        await _pay_in(client, 1, 2, 3)
        await until(lambda: count_pending(database_url) == 0)
        await until(lambda: deposits_recorded(database_url) == 3)
        seen, history = topic_head(database_url), query(database_url, HISTORY)
        await server.stop()

    new_url = database_uri(postgres_server, "new")
    settings = {"SERVER_URL": postgres_server, "NEW_NAME": "new", "NEW_URL": new_url}
    begin, compare = blocks("disaster.md", section="The database is lost, and so is the backup")
    [replace] = blocks("disaster.md", section="The books are wrong")
    with named_database(postgres_server, "new"):
        async with shell(tmp_path, system.environ | programs_on_path() | settings) as commands:
            await commands.run(begin)
            async with (
                system.serve(DATABASE_URL=new_url) as server,
                open_client(server.url, wallet=wallet) as client,
            ):
                await until_ready(server.url, server)
                await until(lambda: query(new_url, HISTORY) == history)
                assert "the books are what the chain says" in await commands.run(compare)
                with trio.fail_after(HANG_SECONDS):
                    async with client.stream(Topic("deposit_event", since=seen - 1)) as stream:
                        first = await anext(stream)
                assert isinstance(first, Snapshot)
                assert first.reset
                await _pay_in(client, 4)
                assert (await client.balance()).balance == sum(range(USDT + 1, USDT + 5))
                await until(lambda: count_pending(new_url) == 0)
                await server.stop()  # or its reconciler heals some of it first
            with psycopg.connect(new_url) as conn:
                conn.execute("DELETE FROM transactions WHERE amount = 1000002")
                conn.execute("UPDATE flows SET amount = 7 WHERE kind = 'deposit'")
            assert "all differences are replaced" in await commands.run(replace)
            assert query(new_url, HISTORY)[:3] == history


async def _pay_in(client: Client, *numbers: int) -> None:
    for number in numbers:
        await client.finish(await client.deposit(USDT + number))
