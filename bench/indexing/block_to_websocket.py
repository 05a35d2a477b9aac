"""Time from a deposit's block to its WebSocket event, at 500 deposits a second.

    .venv/bin/python -m bench.indexing.block_to_websocket [--rate 500] [--seconds 20]

The service is a process of its own on an embedded PostgreSQL; this process is the chain, with slots
of 400 ms, and listens. The baseline is a bare `logsSubscribe` at the same commitment just before:
whoever believes every notification cannot be sooner. Both are counted from the moment in which the
transaction was in its block. The goal is a p95 under 450 ms. The baseline's own p95 is the length
of a slot on an idle machine, so the goal is also met at 1.2 times the baseline. The exit code is 1
if it is missed, or if any deposit was not told exactly once.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import sys
import tempfile
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import NamedTuple

import trio
import trio_websocket
from solders.keypair import Keypair

from bench import report
from cvms import localnet
from cvms.chain.types import Programs
from cvms.config.loader import load_programs
from cvms.dev.chain_setup import bundled_programs
from cvms.dev.data_folder import write_private
from cvms.dev.localnet import prepare
from cvms.dev.postgres import embedded_postgres
from tests.harness.free_ports import free_port
from tests.harness.processes import cvms, until_ready
from tests.scenario.wallets import Wallets

OWNERS = 100
WARM_UP_SECONDS = 3.0
WANTED_P95_MS = 450.0
WANTED_RATIO = 1.2
"""To the baseline, which a loaded machine delays too. Without load both goals are the same."""
LAST_SECONDS = 20.0
"""Longest wait for the last events."""


@dataclass(slots=True)
class Times:
    """Seconds by signature: when the block came, and when the listener got the event."""

    in_block: dict[str, float] = field(default_factory=dict)
    heard: dict[str, float] = field(default_factory=dict)
    told: Counter[str] = field(default_factory=Counter)
    connections: int = 0


class Phases(NamedTuple):
    """One listener after the other, so that the node serves neither two."""

    bare: Times
    ours: Times


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--rate", type=float, default=500.0)
    parser.add_argument("--seconds", type=float, default=20.0)
    report.add_arguments(parser)
    options = parser.parse_args()
    print(f"{options.rate:g} deposits/s for {options.seconds:g} s; ", end="")
    print(f"load of the machine {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores")
    with (
        tempfile.TemporaryDirectory(prefix="cvms-bench-") as folder,
        embedded_postgres(Path(folder) / "data") as url,
    ):
        phases = trio.run(measure, Path(folder), url, options.rate, options.seconds)
    sys.exit(0 if show(phases, options.json) else 1)


async def measure(folder: Path, database_url: str, rate: float, seconds: float) -> Phases:
    programs, operator = load_programs({}), Keypair()
    deployed = bundled_programs(programs, upgrade_authority=operator.pubkey())
    async with trio.open_nursery() as nursery:
        serve = partial(localnet.serve, port=0, ledger=None, programs=deployed)
        running: localnet.Running = await nursery.start(serve)
        await prepare(running, programs, operator)
        wallets = Wallets(running.chain, programs, operator, random.Random(1))
        for _ in range(OWNERS):
            wallets.add_owner(Keypair())
        listen = partial(listen_to_node, running.ws_url, programs)
        bare = await phase(listen, wallets, rate, seconds)
        async with service(folder, database_url, running, operator) as service_url:
            ours = await phase(partial(listen_to_service, service_url), wallets, rate, seconds)
        nursery.cancel_scope.cancel()
    return Phases(bare, ours)


async def phase(
    listen: Callable[[Times], Awaitable[None]], wallets: Wallets, rate: float, seconds: float
) -> Times:
    """Deposit while the listener listens, and return the times without those of a warm-up."""
    times = Times()
    async with trio.open_nursery() as listening:
        listening.start_soon(listen, times)
        await deposits(wallets, Times(), rate, WARM_UP_SECONDS)
        await deposits(wallets, times, rate, seconds)
        with trio.move_on_after(LAST_SECONDS):
            while not times.in_block.keys() <= times.heard.keys():  # noqa: ASYNC110
                await trio.sleep(0.1)
        listening.cancel_scope.cancel()
    return times


@asynccontextmanager
async def service(
    folder: Path, database_url: str, running: localnet.Running, operator: Keypair
) -> AsyncIterator[str]:
    """Start the service in a process of its own and wait until it is ready."""
    keypair, port = folder / "operator.json", free_port()
    write_private(keypair, json.dumps(list(bytes(operator))))
    environ = {
        "PORT": str(port),
        "DATABASE_URL": database_url,
        "SOLANA_RPC_URL": running.rpc_url,
        "SOLANA_WS_URL": running.ws_url,
        "DEPLOYER_KEYPAIR_PATH": str(keypair),
    }
    url = f"http://127.0.0.1:{port}"
    async with cvms("serve", folder=folder, environ=environ) as command:
        await until_ready(url, command)
        yield url


async def deposits(wallets: Wallets, times: Times, rate: float, seconds: float) -> None:
    """Send deposits at fixed times, each into a block of its own."""
    begin = trio.current_time()
    for number in range(int(rate * seconds)):
        await trio.sleep_until(begin + number / rate)
        owner, steps = wallets.deposit(wallets.owners[number % OWNERS])
        if signature := wallets.send(owner, steps):
            times.in_block[signature] = trio.current_time()


async def listen_to_service(url: str, times: Times) -> None:
    """Listen as a client does: reconnect with the last `seq` after a close for being too slow."""
    seq = 0
    while True:
        with suppress(trio_websocket.ConnectionClosed):
            address = url.replace("http", "ws", 1) + "/ws"
            async with trio_websocket.open_websocket_url(address) as socket:
                request = {"op": "subscribe", "topic": "deposit_event", "since": seq}
                await socket.send_message(json.dumps(request))
                times.connections += 1
                while True:
                    frame = json.loads(await socket.get_message())
                    if frame["type"] == "event":
                        seq = frame["seq"]
                        times.told[frame["signature"]] += 1
                        times.heard.setdefault(frame["signature"], trio.current_time())


async def listen_to_node(url: str, programs: Programs, times: Times) -> None:
    mentions = {"mentions": [str(programs.vault)]}
    call = {
        "jsonrpc": "2.0",
        "id": 1,
        "method": "logsSubscribe",
        "params": [mentions, {"commitment": "confirmed"}],
    }
    async with trio_websocket.open_websocket_url(url) as socket:
        await socket.send_message(json.dumps(call))
        while True:
            frame = json.loads(await socket.get_message())
            if "params" in frame:
                signature = frame["params"]["result"]["value"]["signature"]
                times.told[signature] += 1
                times.heard.setdefault(signature, trio.current_time())


def show(phases: Phases, path: Path | None) -> bool:
    """Print the table and return whether every row meets its bound."""
    times = phases.ours
    print("| from the block to | deposits | p50 ms | p95 ms | p99 ms | max ms |")
    print("|---|---|---|---|---|---|")
    bare = line("a bare logsSubscribe", phases.bare)
    ours = line("our WebSocket", times)
    print(f"p95 to the baseline: {ours / bare:.2f}; {times.connections} connections of ours")
    once = sum(times.told[signature] == 1 for signature in times.in_block)
    count = len(times.in_block)
    if once != count:
        print(f"{count - once} of {count} deposits were not told exactly once")
    row = report.row("block to WebSocket, p95", ours, "ms", bare)
    report.finish(report.Report("block_to_websocket", (row,)), path)
    return once == count and ours <= max(WANTED_P95_MS, WANTED_RATIO * bare)


def line(name: str, times: Times) -> float:
    heard = times.heard
    lags = sorted((heard[each] - at) * 1000 for each, at in times.in_block.items() if each in heard)
    shares = [percentile(lags, share) for share in (0.5, 0.95, 0.99, 1.0)]
    print(f"| {name} | {len(lags)} | " + " | ".join(f"{each:.0f}" for each in shares) + " |")
    return shares[1]


def percentile(lags: Sequence[float], share: float) -> float:
    return lags[min(len(lags) - 1, int(share * len(lags)))]


if __name__ == "__main__":
    main()
