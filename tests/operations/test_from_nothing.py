"""By the pages alone: from an empty folder and an empty chain to a service that holds deposits."""

from __future__ import annotations

import shlex
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from solders.keypair import Keypair

from cvms.chain.program.bundled_programs import bundled_elf
from cvms.dev.data_folder import write_private
from tests.conformance import validator
from tests.harness.free_ports import free_port
from tests.harness.processes import cvms
from tests.operations.pages import Block, Shell, shell

VALIDATOR = "a real validator"


@asynccontextmanager
async def empty_chain(kind: str, folder: Path) -> AsyncIterator[str]:
    """Run a chain with the loader and without a program of ours. Yield its URL."""
    if kind == VALIDATOR:
        if validator.found() is None:
            pytest.skip(f"no {validator.NAME} on the PATH")
        async with validator.validator(folder) as running:
            yield running.rpc_url
        return
    port = free_port()
    async with cvms(
        "localnet", "--bare", "--in-memory", "--port", str(port), folder=folder
    ) as chain:
        await chain.line("RPC")
        yield f"http://127.0.0.1:{port}"


async def run(bash: Shell, command: str) -> str:
    return await bash.run(Block("the test", 1, command))


@pytest.mark.slow(seconds=60)
@pytest.mark.parametrize("kind", ["the local chain", VALIDATOR])
async def test_from_an_empty_chain_to_deposits_upgrades_and_new_keys(
    kind: str, database_url: str, tmp_path: Path
) -> None:
    folder = tmp_path / "empty"
    folder.mkdir()
    grown = tmp_path / "grown.so"
    grown.write_bytes(bundled_elf("position_manager") + bytes(20_000))
    async with empty_chain(kind, tmp_path) as rpc_url:
        environ = {
            "PATH": f"{Path(sys.executable).parent}:/usr/bin:/bin",
            "RPC_URL": rpc_url,
            "DATABASE_URL": database_url,
            "PORT": str(free_port()),
            "ELF": str(grown),
        }
        async with shell(folder, environ) as bash:
            await bash.run_all("programs.md", section="Deploy to a test cluster")
            await bash.run_all("install.md", section="Check, then serve")
            await deposit_and_withdraw(bash, "first.json")
            await bash.run_all("programs.md", section="Verify what is deployed")
            await bash.run_all("programs.md", section="Upgrade a program")
            await hand_governance_over(bash, folder)
            await rotate_the_operators_key(bash, folder)
            await deposit_and_withdraw(bash, "second.json")
            await run(bash, 'kill "$SERVICE" && wait "$SERVICE"')


async def deposit_and_withdraw(bash: Shell, owner: str) -> None:
    await run(bash, f"OWNER={owner}")
    printed = await bash.run_all("install.md", section="The first deposit")
    assert "15000000 units in the vault" in printed


async def hand_governance_over(bash: Shell, folder: Path) -> None:
    """Hand governance to another key, which the service does not hold."""
    new = Keypair()
    write_private(folder / "governance.json", new.to_json())
    await run(bash, f"export GOVERNANCE={shlex.quote(str(folder / 'governance.json'))}")
    await bash.run_all("programs.md", section="Hand governance over")
    checked = await run(bash, "cvms check --only authority")
    assert f"governance: {new.pubkey()}, which is a single key" in checked


async def rotate_the_operators_key(bash: Shell, folder: Path) -> None:
    signers = await bash.run_all("keys.md", section="Rotation")
    new = Keypair.from_json((folder / "keys" / "next_operator.json").read_text()).pubkey()
    assert str(new) in signers.splitlines()[-1]
    assert str(new) in await run(bash, 'curl --silent --fail "$URL/api/config"')
