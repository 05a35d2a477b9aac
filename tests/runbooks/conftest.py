"""The whole service on a local chain, watched by a real Prometheus and Alertmanager."""

from __future__ import annotations

import os
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import trio

from cvms.http.framework.admin_tokens import Role, mint
from cvms.localnet import Timing
from tests.harness.free_ports import free_port
from tests.harness.localnet import Localnet
from tests.harness.service import Served, whole_service
from tests.harness.tcp_proxy import TcpProxy, tcp_proxy
from tests.nursery.database_proxy import database_proxy
from tests.operations.pages import Block, Shell, shell
from tests.runbooks.monitors import Monitors, monitors
from tests.runbooks.pages import commands_to_press

CALM = Timing(slot_seconds=0.2, confirmed_lag=1, finalized_lag=4)
SECRET = b"a secret of administrators, 32 bytes"


@dataclass(frozen=True, slots=True, kw_only=True)
class Drill:
    """A service that is watched, the ways to break it, and a shell that follows pages."""

    service: Served
    token: str
    monitors: Monitors
    front: TcpProxy
    """Before the service's port: Prometheus and the pages come this way."""
    rpc: TcpProxy
    database: TcpProxy
    localnet: Localnet
    bash: Shell
    programs: Path
    """A folder that the shell searches for programs first."""

    async def follow(self, page: str) -> str:
        """Run every command of a page, and return what they printed."""
        return await self.bash.run_all(f"../runbooks/{page}.md")

    async def press(self, page: str, **values: str) -> str:
        """Run the commands of a page that change something, and that name all these values."""
        found = [each for each in commands_to_press(page) if all(name in each for name in values)]
        assert found, f"{page} has no command with {', '.join(values)}"
        for name, value in values.items():
            found = [each.replace(name, value) for each in found]
        return await self.bash.run(Block(page, 1, "\n".join(found)))

    def stand_in(self, name: str, *lines: str) -> None:
        """Have the shell run these lines instead of a program that acts on the whole machine."""
        path = self.programs / name
        path.write_text("\n".join(("#!/bin/sh -e", *lines, "")))
        path.chmod(0o755)

    async def set(self, variable: str, value: str) -> None:
        """Give a variable that pages name its value."""
        await self.bash.run(Block("the drill", 1, f"export {variable}={value}"))


Start = Callable[..., AbstractAsyncContextManager[Drill]]


@pytest.fixture
def timing() -> Timing:
    """Return slots that leave the process time to be scraped."""
    return CALM


@pytest.fixture
def drill(database_url: str, localnet: Localnet, tmp_path: Path) -> Start:
    """Return what starts a drill; its arguments are settings of the service."""
    return partial(_drill, database_url, localnet, tmp_path)


@asynccontextmanager
async def _drill(
    database_url: str,
    localnet: Localnet,
    folder: Path,
    **settings: Any,
) -> AsyncIterator[Drill]:
    chain = int(localnet.rpc_url.rpartition(":")[2])
    port = free_port()
    token = mint(SECRET, subject="carol", role=Role.ADMIN, seconds=3600)
    async with (
        database_proxy(database_url) as database,
        tcp_proxy(partial(trio.open_tcp_stream, "127.0.0.1", chain)) as rpc,
        tcp_proxy(partial(trio.open_tcp_stream, "127.0.0.1", port)) as front,
        monitors(folder, f"127.0.0.1:{front.port}") as watching,
    ):
        rpc_url = f"http://127.0.0.1:{rpc.port}"
        given = localnet.settings | {"rpc_urls": (rpc_url,), "admin_jwt_secret": SECRET}
        programs = folder / "programs"
        programs.mkdir()
        environ = {
            "PATH": f"{programs}:{Path(sys.executable).parent}:{os.environ['PATH']}",
            "CVMS_URL": f"http://127.0.0.1:{front.port}",
            "PROMETHEUS_URL": watching.prometheus,
            "DATABASE_URL": database_url,
            "RPC_URL": rpc_url,
            "SOLANA_RPC_URL": localnet.rpc_url,
            "TOKEN": token,
        }
        async with (
            whole_service(database.uri, port=port, **(given | settings)) as service,
            shell(folder, environ) as bash,
        ):
            await watching.until_scraped()
            yield Drill(
                service=service,
                token=token,
                monitors=watching,
                front=front,
                rpc=rpc,
                database=database.tcp,
                localnet=localnet,
                bash=bash,
                programs=programs,
            )
