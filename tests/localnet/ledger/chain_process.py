"""A chain in a process of its own, which tests kill: `python chain_process.py LEDGER`."""

from __future__ import annotations

import sys
from functools import partial
from pathlib import Path

import trio

from cvms import localnet


async def main(ledger: Path) -> None:
    timing = localnet.Timing(slot_seconds=0.05, confirmed_lag=1, finalized_lag=4)
    async with trio.open_nursery() as nursery:
        running: localnet.Running = await nursery.start(
            partial(localnet.serve, port=0, ledger=ledger, timing=timing)
        )
        print(running.rpc_url, running.ws_url, flush=True)  # noqa: T201


if __name__ == "__main__":
    trio.run(main, Path(sys.argv[1]))
