"""The whole system as its operators run it: processes, a database and a local chain."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from pathlib import Path

import pytest

from cvms.config.loader import load_programs
from cvms.demo import Addresses
from tests.acceptance.processes import Command, cvms, free_port
from tests.redis_server import RedisServer


@dataclass(frozen=True, slots=True)
class System:
    """A running local chain, and how to run the service against it."""

    folder: Path
    chain: Command
    at: Addresses
    environ: dict[str, str]

    def serve(self) -> AbstractAsyncContextManager[Command]:
        """`cvms serve`, always on the same port and database."""
        return cvms("serve", folder=self.folder, environ=self.environ)


@pytest.fixture
def database_url(empty_database_url: str) -> str:
    """The URI of a fresh database without the schema: the service applies it."""
    return empty_database_url


@pytest.fixture
async def system(
    tmp_path: Path, database_url: str, redis_server: RedisServer
) -> AsyncIterator[System]:
    """`cvms localnet` runs in a process of its own, so that the service can be killed alone."""
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
        )


def localnet_arguments(port: int) -> tuple[str, ...]:
    """A local chain with short slots on a port that is known, so that it can come back to it."""
    timing = ("--slot-seconds", "0.1", "--finalized-lag", "8")
    return ("localnet", "--port", str(port), "--data-dir", "chain", *timing)
