"""Two replicas on one database: no failure of the leader affects the recorded data.

While owners deposit through both replicas, the leader is killed, stopped for longer than its lease,
or cut off from the database. Subscribers of either replica see every event once and in order, no
deposit is made twice, and the chain and the database agree in the end.
"""

from __future__ import annotations

import signal
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import httpx
import pytest
import trio
from solders.keypair import Keypair

from cvms.client import Client, ClientError, Event, Topic, Wallet, open_client
from cvms.nursery.channels.reply_cache import PROOF_SECONDS
from tests.acceptance.chain import fund
from tests.acceptance.conftest import System
from tests.harness.deposits import (
    Listener,
    check_books,
    count_pending,
    deposits_landed,
    deposits_recorded,
    query,
    topic_head,
    until,
)
from tests.harness.free_ports import free_port
from tests.harness.processes import HANG_SECONDS, Server, until_ready
from tests.nursery.database_proxy import DatabaseProxy, database_proxy

pytestmark = pytest.mark.slow(seconds=15)

USDT = 1_000_000
OWNERS = 4
DEPOSITS = 4
STOPPED_SECONDS = 4.0
"""Longer than the lease plus the grace period of a successor."""
PATIENCE = 5.0
"""Seconds until an owner tries the other replica. A busy machine answers any request in them."""


@dataclass
class Traffic:
    """Owners who deposit repeatedly through whichever replica answers."""

    urls: list[str]
    paid: dict[str, int] = field(default_factory=dict)
    payments: int = 0
    tries: int = 0
    stopping: bool = False
    paying: int = 0
    """Owners who have not stopped yet: between two steps of theirs nothing is pending."""

    async def pay_in(self, client: Client, *, then: Client) -> None:
        """Deposit repeatedly, each time an amount that no other attempt uses."""
        clients = [client, then]
        self.paying += 1
        while not self.stopping:
            self.tries += 1
            amount = USDT + self.tries
            try:
                await clients[0].finish(await clients[0].deposit(amount))
            except ClientError:
                # The replica has failed or the outcome is unknown. The owner switches to the other
                # one.
                clients.reverse()
                continue
            self.paid[client.address] = self.paid.get(client.address, 0) + amount
            self.payments += 1
        self.paying -= 1


@pytest.mark.parametrize("failure", ["killed", "stopped", "cut off"])
async def test_a_leader_that_fails_under_load_loses_and_duplicates_nothing(
    system: System, database_url: str, failure: str
) -> None:
    async with AsyncExitStack() as stack:
        replicas = [await stack.enter_async_context(replica(system, database_url)) for _ in "12"]
        await until(lambda: any(_leads(database_url, server) for server, _ in replicas))
        replicas.sort(key=lambda each: not _leads(database_url, each[0]))
        (leader, proxy), (other, _) = replicas

        near, far = Listener(), Listener()
        traffic = Traffic([leader.url, other.url])
        async with trio.open_nursery() as nursery:
            nursery.start_soon(near.listen, [leader.url, other.url])
            nursery.start_soon(far.listen, [other.url])
            await stack.enter_async_context(_owners(system, traffic, nursery))
            await until(lambda: traffic.payments >= OWNERS)

            await _strike(failure, leader, proxy)
            await until(lambda: _leads(database_url, other))
            near.moved.set()
            already = traffic.payments
            await until(lambda: traffic.payments >= already + OWNERS)
            if failure == "stopped":
                leader.send_signal(signal.SIGCONT)
            await until(lambda: traffic.payments >= already + 2 * OWNERS)
            traffic.stopping = True
            await until(lambda: traffic.paying == 0)
            await until(lambda: count_pending(database_url) == 0)
            await until(lambda: deposits_recorded(database_url) == deposits_landed(database_url))
            head = topic_head(database_url)
            await until(lambda: near.seqs[-1:] == [head] and far.seqs[-1:] == [head])
            nursery.cancel_scope.cancel()
        assert near.seqs == far.seqs == list(range(1, head + 1))
        await check_books(other.url, traffic.paid, database_url)


async def test_what_a_replica_has_published_is_what_it_answers(
    system: System, database_url: str
) -> None:
    """At the other one at once with the slot, and without it as soon as it must have read it."""
    async with AsyncExitStack() as stack:
        (near, _), (far, _) = [
            await stack.enter_async_context(replica(system, database_url)) for _ in "12"
        ]
        await fund(system.at.rpc_url, key := Keypair(), system.at.programs.mint)
        clients = [
            await stack.enter_async_context(open_client(server.url, wallet=Wallet(key)))
            for server in (near, far)
        ]
        await clients[0].finish(await clients[0].open_vault())
        topic = Topic("vault_balance_update", owner=clients[0].address)
        stream = await stack.enter_async_context(clients[0].stream(topic))
        http = await stack.enter_async_context(httpx.AsyncClient(timeout=HANG_SECONDS))
        async with trio.open_nursery() as nursery:
            nursery.start_soon(_pay_in, clients[0], DEPOSITS)
            heard = cached = 0
            while heard < DEPOSITS * USDT:
                event = await anext(stream)
                if not isinstance(event, Event):
                    continue
                heard, at = event.data["balance"], trio.current_time()
                for url, headers in (
                    (near.url, {}),
                    (far.url, {"X-Min-Slot": str(event.data["slot"])}),
                ):
                    shown = await _balance(http, url, clients[0].address, headers)
                    assert shown["slot"] >= event.data["slot"]
                    assert shown["balance"] >= heard
                while True:
                    late = trio.current_time() >= at + PROOF_SECONDS
                    shown = await _balance(http, far.url, clients[0].address, {})
                    cached += shown["cached"]
                    if late:
                        assert shown["balance"] >= heard
                        break
        assert cached


async def _pay_in(client: Client, times: int) -> None:
    for _ in range(times):
        await client.finish(await client.deposit(USDT))


async def _balance(
    http: httpx.AsyncClient, url: str, owner: str, headers: dict[str, str]
) -> dict[str, Any]:
    reply = await http.get(f"{url}/api/vault/balance/{owner}", headers=headers)
    assert reply.status_code == 200, reply.text
    body: dict[str, Any] = reply.json()
    return body


async def _strike(failure: str, leader: Server, proxy: DatabaseProxy) -> None:
    match failure:
        case "killed":
            await leader.kill()
        case "stopped":
            leader.send_signal(signal.SIGSTOP)
            await trio.sleep(STOPPED_SECONDS)
        case "cut off":
            proxy.tcp.stop()


# Fixtures and queries


@asynccontextmanager
async def replica(system: System, database_url: str) -> AsyncIterator[tuple[Server, DatabaseProxy]]:
    """Run a replica that can be cut off from the database."""
    async with (
        database_proxy(database_url) as proxy,
        system.serve(
            PORT=str(free_port()),
            DATABASE_URL=proxy.uri,
            RATE_LIMIT_ADDRESS="off",  # the load comes from one address
        ) as server,
    ):
        await until_ready(server.url, server)
        yield server, proxy


@asynccontextmanager
async def _owners(system: System, traffic: Traffic, nursery: trio.Nursery) -> AsyncIterator[None]:
    """Create funded owners with a vault each, who start to deposit."""
    async with AsyncExitStack() as stack:
        for _ in range(OWNERS):
            wallet = Wallet(key := Keypair())
            await fund(system.at.rpc_url, key, system.at.programs.mint)
            async with open_client(traffic.urls[0], wallet=wallet) as client:
                await client.finish(await client.open_vault())
            first, second = [
                await stack.enter_async_context(open_client(url, wallet=wallet, patience=PATIENCE))
                for url in traffic.urls
            ]
            nursery.start_soon(partial(traffic.pay_in, first, then=second))
        yield


def _leads(database_url: str, server: Server) -> bool:
    rows = query(database_url, "SELECT holder FROM leadership WHERE until > now()")
    return any(row.holder.endswith(f":{server.pid}") for row in rows)
