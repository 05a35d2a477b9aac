"""The last release and the code of today, side by side on one database, while owners deposit.

Today's code takes over from the last release, and the last release from it, as when an upgrade is
taken back. Every request is answered, every deposit lands once, and subscribers miss nothing.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import httpx
import pytest
import trio
from solders.keypair import Keypair

from cvms.client import Client, Wallet, open_client
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
from tests.harness.processes import HANG_SECONDS, Command, cvms, until_ready
from tests.harness.tcp_proxy import tcp_proxy

pytestmark = pytest.mark.slow(seconds=20)

USDT = 1_000_000
OWNERS = 2
READ_SECONDS = 0.1
"""Between two reads of an owner, or the readers take all of the machine."""


@dataclass
class Replicas:
    """Gives each connection to the next of the replicas, as a load balancer does."""

    ports: list[int] = field(default_factory=list)
    connections: dict[int, int] = field(default_factory=dict)

    async def connect(self) -> trio.SocketStream:
        port = self.ports.pop(0)
        self.ports.append(port)
        stream = await trio.open_tcp_stream("127.0.0.1", port)
        self.connections[port] = self.connections.get(port, 0) + 1
        return stream


@dataclass
class Load:
    """Owners who deposit and read repeatedly. Any failure that they see fails the test."""

    url: str
    paid: dict[str, int] = field(default_factory=dict)
    payments: int = 0
    reads: int = 0
    stopping: bool = False
    paying: int = 0
    """Owners who have not stopped yet: between two steps of theirs nothing is pending."""

    async def pay_in(self, client: Client) -> None:
        """Deposit repeatedly, each time an amount that no other deposit has."""
        self.paying += 1
        while not self.stopping:
            self.payments += 1
            amount = USDT + self.payments
            await client.finish(await client.deposit(amount))
            self.paid[client.address] = self.paid.get(client.address, 0) + amount
        self.paying -= 1

    async def read(self, owner: str) -> None:
        """Read on a connection of its own each time, without a second try."""
        async with httpx.AsyncClient(timeout=HANG_SECONDS) as http:
            while not self.stopping:
                reply = await http.get(
                    f"{self.url}/api/vault/balance/{owner}", headers={"Connection": "close"}
                )
                assert reply.status_code == 200, reply.text
                self.reads += 1
                await trio.sleep(READ_SECONDS)

    async def progress(self) -> None:
        """Wait until every owner must have deposited, and all have read."""
        payments, reads = self.payments + OWNERS + 1, self.reads + OWNERS + 1
        await until(lambda: self.payments >= payments and self.reads >= reads)


async def test_a_release_and_the_next_take_over_from_each_other_under_load(
    system: System, database_url: str, last_release: Path
) -> None:
    old_code = {"PYTHONPATH": str(last_release)}
    assert _code_of(old_code).is_relative_to(last_release)
    replicas = Replicas()
    async with (
        tcp_proxy(replicas.connect) as balancer,
        trio.open_nursery() as nursery,
        AsyncExitStack() as stack,
    ):
        start = partial(_serve, system, stack, replicas)
        load = Load(f"http://127.0.0.1:{balancer.port}")
        listener = Listener()

        old = await start(old_code)
        nursery.start_soon(listener.listen, [load.url])
        await stack.enter_async_context(_owners(system, load, nursery))
        await load.progress()

        await _migrate(system)
        await load.progress()
        new = await start({"MIGRATE": "off"})
        await load.progress()
        await until(lambda: all(replicas.connections.get(port) for port in replicas.ports))
        await _stop(replicas, old)
        await load.progress()

        old = await start(old_code)
        await load.progress()
        await _stop(replicas, new)
        await load.progress()

        load.stopping = True
        await until(lambda: load.paying == 0)
        await until(lambda: count_pending(database_url) == 0)
        await until(lambda: deposits_recorded(database_url) == deposits_landed(database_url))
        head = topic_head(database_url)
        await until(lambda: listener.seqs[-1:] == [head])
        assert listener.seqs == list(range(1, head + 1))
        await check_books(load.url, load.paid, database_url)
        [row] = query(
            database_url,
            "SELECT count(*), count(DISTINCT amount) AS amounts, "
            "sum(amount) AS paid FROM transactions WHERE kind = 'deposit'",
        )
        assert row.paid == sum(load.paid.values())
        assert row.count == row.amounts == load.payments
        nursery.cancel_scope.cancel()


@dataclass
class Running:
    command: Command
    port: int


async def _serve(
    system: System, stack: AsyncExitStack, replicas: Replicas, environ: Mapping[str, str]
) -> Running:
    """Start a replica, and give it connections once it is ready."""
    port = free_port()
    settings = {"PORT": str(port), "RATE_LIMIT_ADDRESS": "off"}
    command = await stack.enter_async_context(
        cvms("serve", folder=system.folder, environ=system.environ | settings | dict(environ))
    )
    await until_ready(f"http://127.0.0.1:{port}", command)
    replicas.ports.append(port)
    return Running(command, port)


async def _stop(replicas: Replicas, replica: Running) -> None:
    """Take a replica out of the balancer, then end it with SIGTERM."""
    replicas.ports.remove(replica.port)
    assert await replica.command.stop() == 0


async def _migrate(system: System) -> None:
    async with cvms("migrate", folder=system.folder, environ=system.environ) as command:
        with trio.fail_after(HANG_SECONDS):
            assert await command.process.wait() == 0, command.log()


@asynccontextmanager
async def _owners(system: System, load: Load, nursery: trio.Nursery) -> AsyncIterator[None]:
    """Create funded owners with a vault each, who start to deposit and to read."""
    async with AsyncExitStack() as stack:
        for _ in range(OWNERS):
            wallet = Wallet(key := Keypair())
            await fund(system.at.rpc_url, key, system.at.programs.mint)
            client = await stack.enter_async_context(open_client(load.url, wallet=wallet))
            await client.finish(await client.open_vault())
            await client.balance()  # as of the slot of the vault
            nursery.start_soon(load.pay_in, client)
            nursery.start_soon(load.read, client.address)
        yield


def _code_of(environ: Mapping[str, str]) -> Path:
    """Return the folder of the package that a process with these variables imports."""
    done = subprocess.run(
        [sys.executable, "-c", "import cvms; print(cvms.__file__)"],
        env={**os.environ, **environ},
        cwd="/",
        check=True,
        stdout=subprocess.PIPE,
    )
    return Path(done.stdout.decode().strip())
