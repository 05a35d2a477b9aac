"""Context of a scenario: a chain in this process, the service in another, and a database."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import psycopg
import trio
from solders.keypair import Keypair

from cvms import localnet
from cvms.chain.types import Programs
from cvms.config.loader import load_programs
from cvms.dev.chain_setup import bundled_programs, local_yield_sources
from cvms.dev.data_folder import write_private
from cvms.dev.localnet import prepare
from cvms.http.framework.admin_tokens import Role, mint
from cvms.localnet.ledger.chain import LocalnetChain
from tests.harness.free_ports import free_port
from tests.harness.processes import Server, ServerForker
from tests.postgres_server import BLANK, new_database
from tests.provider_proxy import Provider, serve_provider

ADMIN_JWT_SECRET = "s" * 32
TIMING = localnet.Timing(slot_seconds=0.05, confirmed_lag=1, finalized_lag=8)


@dataclass(slots=True)
class ScenarioContext:
    """The systems that a scenario runs against."""

    nodes: tuple[localnet.Running, ...]
    """Nodes of one chain, all of which the service may ask."""
    providers: tuple[Provider, ...]
    """The proxies through which it asks them, if any."""
    programs: Programs
    operator: Keypair
    database_url: str
    server: Server

    @property
    def chain(self) -> LocalnetChain:
        return self.nodes[0].chain


def administrator_headers() -> dict[str, str]:
    """Return the headers with which an administrator asks the server of a scenario."""
    token = mint(ADMIN_JWT_SECRET.encode(), subject="carol", role=Role.VIEWER, seconds=3600)
    return {"Authorization": f"Bearer {token}"}


@asynccontextmanager
async def scenario_context(
    forker: ServerForker,
    folder: Path,
    database_url: str,
    *,
    timing: localnet.Timing = TIMING,
    endpoints: int = 2,
    providers: bool = False,
) -> AsyncIterator[ScenarioContext]:
    """Start a chain with the programs deployed, and prepare a server without starting it.

    The server has so many endpoints, each a node of its own, with `providers` behind a proxy.
    """
    programs, operator = load_programs({}), Keypair()
    keypair = folder / "operator.json"
    write_private(keypair, json.dumps(list(bytes(operator))))
    async with trio.open_nursery() as nursery:
        running: localnet.Running = await nursery.start(
            partial(
                localnet.serve,
                port=0,
                ledger=None,
                programs=bundled_programs(programs, upgrade_authority=operator.pubkey()),
                timing=timing,
            )
        )
        await prepare(running, programs, operator)
        nodes = [running]
        for _ in range(endpoints - 1):
            nodes.append(await nursery.start(localnet.serve_node, running.chain))
        proxies: list[Provider] = [
            await nursery.start(serve_provider, node.rpc_url, node.ws_url)
            for node in nodes
            if providers
        ]
        environ = {
            "PORT": str(free_port()),
            "DATABASE_URL": database_url,
            "SOLANA_RPC_URL": ",".join(
                [each.url for each in proxies] or [each.rpc_url for each in nodes]
            ),
            "SOLANA_WS_URL": ",".join(each.ws_url for each in proxies or nodes),
            "DEPLOYER_KEYPAIR_PATH": str(keypair),
            "ADMIN_JWT_SECRET": ADMIN_JWT_SECRET,
            "YIELD_SOURCES": local_yield_sources(programs, operator.pubkey()),
            "RECONCILIATION_INTERVAL_SECONDS": "1",
            "RATE_LIMIT_ADDRESS": "off",
            "RATE_LIMIT_SENSITIVE": "off",
            "RATE_LIMIT_OWNER": "off",
        }
        server = Server(forker, folder, environ)
        try:
            yield ScenarioContext(
                tuple(nodes), tuple(proxies), programs, operator, database_url, server
            )
        finally:
            await server.close()
        nursery.cancel_scope.cancel()


@dataclass(frozen=True, slots=True)
class Place:
    """Where scenarios run, several at once: what they share."""

    forker: ServerForker
    postgres_server: str
    folder: Path

    @asynccontextmanager
    async def context(
        self,
        name: str,
        *,
        timing: localnet.Timing = TIMING,
        endpoints: int = 2,
        providers: bool = False,
    ) -> AsyncIterator[ScenarioContext]:
        """Start a context with a folder and a database of its own.

        The database has no schema: the server applies it, or dies doing so.
        """
        folder = self.folder / name
        folder.mkdir()
        with new_database(self.postgres_server, BLANK) as url:
            async with scenario_context(
                self.forker, folder, url, timing=timing, endpoints=endpoints, providers=providers
            ) as context:
                yield context


def connect(database_url: str) -> psycopg.Connection[tuple[object, ...]]:
    """Open a session for the checks, in which each statement sees the latest commits."""
    return psycopg.connect(database_url, autocommit=True, options="-c timezone=UTC")
