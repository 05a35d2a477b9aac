"""A backup is restored by the commands of docs/operations/backup.md, after more has happened."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
import trio
from solders.keypair import Keypair

from cvms.client import Client, Snapshot, Topic, Wallet, open_client
from tests.acceptance.chain import fund
from tests.acceptance.conftest import System
from tests.harness.deposits import count_pending, deposits_recorded, query, until
from tests.harness.processes import HANG_SECONDS, until_ready
from tests.operations.pages import Shell, blocks, shell
from tests.postgres_server import database_uri, named_database
from tests.store.own_server import server_binaries

pytestmark = pytest.mark.slow(seconds=25)

USDT = 1_000_000
TOPICS = ("deposit_event", "transaction_update")


@dataclass(frozen=True, slots=True)
class Lost:
    """What clients have seen and used by the time at which the database is lost."""

    seqs: Mapping[str, int]
    position: int
    requests: list[dict[str, Any]]


async def test_a_restored_dump_catches_up_with_the_chain_and_repeats_nothing(
    system: System, database_url: str, postgres_server: str, tmp_path: Path
) -> None:
    wallet = Wallet(key := Keypair())
    await fund(system.at.rpc_url, key, system.at.programs.mint)
    restored_url = database_uri(postgres_server, "restored")
    async with AsyncExitStack() as stack:
        stack.enter_context(named_database(postgres_server, "restored"))
        commands = await stack.enter_async_context(
            shell(
                tmp_path,
                system.environ
                | programs_on_path()
                | {"RESTORED_NAME": "restored", "RESTORED_URL": restored_url},
            )
        )
        lost = await _live_until_the_loss(system, wallet, key, commands)
        read_dump, migrate, compare, *_ = blocks("backup.md", section="Restore")
        await commands.run(read_dump)
        await commands.run(migrate)
        async with (
            system.serve(DATABASE_URL=restored_url) as server,
            open_client(server.url, wallet=wallet) as client,
        ):
            await until_ready(server.url, server)
            await until(lambda: deposits_recorded(restored_url) == 4)
            for topic in TOPICS:
                await _starts_over(client, topic, lost)
            await _pay_in(client, 5)
            assert (await client.balance()).balance == sum(range(USDT + 1, USDT + 6))
            await _refuses(server.url, lost.requests)
            await until(lambda: count_pending(restored_url) == 0)
            assert "the books are what the chain says" in await commands.run(compare)
        [head] = query(restored_url, "SELECT position FROM outbox_head")
        assert head.position > lost.position
        assert query(restored_url, "SELECT * FROM reconciliation_logs") == []
        [entry] = query(
            restored_url, "SELECT actor FROM audit_logs WHERE action = 'continue_after_restore'"
        )
        assert entry.actor == "service"


async def _live_until_the_loss(
    system: System, wallet: Wallet, key: Keypair, commands: Shell
) -> Lost:
    database_url = system.environ["DATABASE_URL"]
    async with (
        system.serve() as server,
        open_client(server.url, wallet=wallet) as client,
        httpx.AsyncClient(base_url=server.url) as http,
    ):
        await until_ready(server.url, server)
        await client.finish(await client.open_vault())
        await _pay_in(client, 1)
        await _pay_in(client, 2)
        early = await _signed(http, key)
        await commands.run_all("backup.md", section="A dump")
        requests = [early, await _signed(http, key)]
        for request in requests:
            assert (await http.post(**request)).status_code == 200
        await _pay_in(client, 3)
        await _pay_in(client, 4)
        await until(lambda: count_pending(database_url) == 0)
        await until(lambda: deposits_recorded(database_url) == 4)
        await server.stop()
    heads = query(database_url, "SELECT topic, seq FROM outbox_topics")
    [head] = query(database_url, "SELECT position FROM outbox_head")
    return Lost({each.topic: each.seq for each in heads}, head.position, requests)


async def _pay_in(client: Client, number: int) -> None:
    await client.finish(await client.deposit(USDT + number))


async def _starts_over(client: Client, topic: str, lost: Lost) -> None:
    """Resume from what was seen last, and from what only an earlier backup has."""
    for seen in (lost.seqs[topic], 1):
        async with client.stream(Topic(topic, since=seen)) as stream:
            with trio.fail_after(HANG_SECONDS):
                message = await anext(stream)
            assert isinstance(message, Snapshot)
            assert message.reset
            assert message.seq > lost.seqs[topic]


async def _signed(http: httpx.AsyncClient, key: Keypair) -> dict[str, Any]:
    """Return a request for a deposit with a new nonce."""
    owner = str(key.pubkey())
    nonce = (await http.post("/api/auth/nonce", json={"owner": owner})).json()["nonce"]
    text = f"deposit:{owner}:{USDT}:{nonce}"
    signature = str(key.sign_message(text.encode()))
    body = {"owner": owner, "amount": USDT, "nonce": nonce, "signature": signature}
    headers = {"Idempotency-Key": f"key-{nonce}"}
    return {"url": "/api/vault/deposit", "json": body, "headers": headers}


async def _refuses(url: str, requests: list[dict[str, Any]]) -> None:
    """Send what was accepted before the loss once more, with its Idempotency-Key."""
    async with httpx.AsyncClient(base_url=url) as http:
        replies = [await http.post(**request) for request in requests]
    assert [(reply.status_code, reply.json()["code"]) for reply in replies] == [
        (409, "nonce_used"),
        (401, "invalid_nonce"),
    ]


def programs_on_path() -> dict[str, str]:
    """Return the variable with which a shell finds `cvms` and PostgreSQL's programs."""
    folders = [Path(sys.executable).parent, server_binaries()[0]]
    return {"PATH": ":".join([*map(str, folders), os.environ["PATH"]])}
