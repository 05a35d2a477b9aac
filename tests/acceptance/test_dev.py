"""`cvms dev`: one command starts everything, Ctrl-C stops everything, the data stays."""

from __future__ import annotations

import signal
from pathlib import Path

import psutil
import pytest
import trio

from cvms.client import open_client
from cvms.config.loader import load_programs
from cvms.demo import Addresses, run_demo
from tests.harness.processes import Command, cvms

pytestmark = pytest.mark.slow(seconds=35)

PORTS = ("--port", "0", "--localnet-port", "0")
# Two deposits of 1,000 USDT, minus withdrawals of 650, plus a yield of 10.
LEFT_BY_DEMO = 1_360_000_000


async def test_the_demo_runs_twice_and_a_second_start_finds_its_data(tmp_path: Path) -> None:
    async with cvms("dev", *PORTS, folder=tmp_path) as dev:
        at = await _addresses(dev)
        for run in (1, 2):
            output: list[str] = []
            await run_demo(at, say=output.append)
            assert output[-1] == "Everything is as it should be."
            assert await _tvl(at) == run * LEFT_BY_DEMO
        children = psutil.Process(dev.process.pid).children(recursive=True)
        await dev.stop(signal.SIGINT, within=10)
        assert dev.printed[-1] == "Stopped."
        _all_gone(tmp_path, children)

    async with cvms("dev", *PORTS, folder=tmp_path) as dev:
        assert await _tvl(await _addresses(dev)) == 2 * LEFT_BY_DEMO
        await dev.stop(signal.SIGTERM, within=10)
        _all_gone(tmp_path, [])


async def test_two_instances_cannot_use_one_folder(tmp_path: Path) -> None:
    async with cvms("dev", *PORTS, folder=tmp_path) as first:
        await first.line("Starting the local chain")
        async with cvms("dev", *PORTS, folder=tmp_path) as second:
            with trio.fail_after(30):
                assert await second.process.wait() == 2
            assert "is in use by another dev" in second.errors.read_text()
        await first.stop(signal.SIGINT, within=15)
        _all_gone(tmp_path, [])


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("stage", ["PostgreSQL", "the local chain", "the service"])
async def test_a_signal_during_startup_leaves_no_process(
    tmp_path: Path, stage: str, number: signal.Signals
) -> None:
    async with cvms("dev", *PORTS, folder=tmp_path) as dev:
        await dev.line(f"Starting {stage}")
        await dev.stop(number, within=15)
        _all_gone(tmp_path, [])


async def test_a_start_after_a_kill_takes_over(tmp_path: Path) -> None:
    async with cvms("dev", *PORTS, folder=tmp_path) as dev:
        await _addresses(dev)
        await dev.kill()
    async with cvms("dev", *PORTS, folder=tmp_path) as dev:
        await _addresses(dev)
        await dev.stop(signal.SIGINT, within=10)
        _all_gone(tmp_path, [])


async def _addresses(dev: Command) -> Addresses:
    url = await dev.line("Service")
    assert await dev.line("Console") == f"{url}/console"
    return Addresses(
        url=url,
        rpc_url=await dev.line("RPC"),
        programs=load_programs({}),
    )


async def _tvl(at: Addresses) -> int:
    async with open_client(at.url) as client:
        return (await client.tvl()).total


def _all_gone(folder: Path, children: list[psutil.Process]) -> None:
    """Assert that no process is left: neither a child nor a database on the folder."""
    assert not [child for child in children if child.is_running()]
    commands = (process.info["cmdline"] or [] for process in psutil.process_iter(["cmdline"]))
    assert not [command for command in commands if str(folder) in " ".join(command)]
