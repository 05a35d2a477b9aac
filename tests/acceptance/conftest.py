"""The whole system as operators run it: processes, a database and a local chain."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from pathlib import Path

import pytest

from cvms.config.loader import load_programs
from cvms.demo import Addresses
from tests.harness.free_ports import free_port
from tests.harness.processes import Command, Server, ServerForker, cvms, serving
from tests.redis_server import RedisServer


@dataclass(frozen=True, slots=True)
class System:
    """A running local chain, and the means to run the service against it."""

    folder: Path
    chain: Command
    at: Addresses
    environ: dict[str, str]
    forker: ServerForker

    def serve(self, **environ: str) -> AbstractAsyncContextManager[Server]:
        """Run `cvms serve`, on the same port and database as before if `environ` has no other."""
        return serving(Server(self.forker, self.folder, self.environ | environ))


@pytest.fixture
def database_url(empty_database_url: str) -> str:
    """Return the URI of a new database without the schema, which the service creates."""
    return empty_database_url


@pytest.fixture
async def system(
    tmp_path: Path, database_url: str, redis_server: RedisServer, forker: ServerForker
) -> AsyncIterator[System]:
    """Start `cvms localnet` in its own process, so that a test can kill the service alone."""
    arguments = localnet_arguments(free_port())
    async with cvms(*arguments, folder=tmp_path) as chain:
        rpc_url, ws_url = await chain.line("RPC"), await chain.line("PubSub")
        port = free_port()
        yield System(
            folder=tmp_path,
            chain=chain,
            at=Addresses(
                url=f"http://127.0.0.1:{port}",
                rpc_url=rpc_url,
                programs=load_programs({}),
            ),
            environ={
                "PORT": str(port),
                "DATABASE_URL": database_url,
                "REDIS_URL": redis_server.url,
                "SOLANA_RPC_URL": rpc_url,
                "SOLANA_WS_URL": ws_url,
                "DEPLOYER_KEYPAIR_PATH": str(tmp_path / "chain" / "operator.json"),
            },
            forker=forker,
        )


def localnet_arguments(port: int) -> tuple[str, ...]:
    """Return the arguments of a local chain with short slots, on a port it can restart on."""
    timing = ("--slot-seconds", "0.1", "--finalized-lag", "8")
    return ("localnet", "--port", str(port), "--data-dir", "chain", *timing)
