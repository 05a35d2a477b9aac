"""A `solana-test-validator` of one's own, in a temporary folder and on loopback ports."""

from __future__ import annotations

import base64
import json
import shutil
import subprocess
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
import trio
from solders.account import Account
from solders.pubkey import Pubkey

from cvms.localnet import Deployment
from tests.harness.free_ports import free_port

NAME = "solana-test-validator"
START_SECONDS = 120.0
STOP_SECONDS = 30.0
PORTS = 30
"""How many ports it may take for gossip and the like, at least 25."""


@dataclass(frozen=True, slots=True)
class Validator:
    """A running validator."""

    rpc_url: str
    ws_url: str


def found() -> str | None:
    """Return the validator on the PATH, None if there is none."""
    return shutil.which(NAME)


@asynccontextmanager
async def validator(
    folder: Path,
    *,
    programs: Sequence[Deployment] = (),
    accounts: Sequence[tuple[Pubkey, Account]] = (),
) -> AsyncIterator[Validator]:
    """Run the validator with these programs and accounts in its genesis, and end it on exit."""
    path, port = found(), free_port()
    assert path is not None
    range_start = 10_000 + port * (PORTS + 2) % 20_000  # below the ports that systems hand out
    command = [
        path,
        *("--ledger", str(folder / "ledger"), "--quiet", "--bind-address", "127.0.0.1"),
        *("--rpc-port", str(port), "--faucet-port", str(free_port())),
        *("--dynamic-port-range", f"{range_start}-{range_start + PORTS}"),
        *("--gossip-port", str(range_start + PORTS + 1)),
    ]
    for program in programs:
        elf = folder / f"{program.program_id}.so"
        elf.write_bytes(program.elf)
        command += ["--upgradeable-program", str(program.program_id), str(elf)]
        command += [str(program.upgrade_authority or "none")]
    for key, account in accounts:
        dump = folder / f"{key}.json"
        dump.write_text(json.dumps(_dumped(key, account)))
        command += ["--account", str(key), str(dump)]
    with (folder / "validator.log").open("wb") as log:
        process = await trio.lowlevel.open_process(
            command, stdout=log, stderr=subprocess.STDOUT, cwd=folder
        )
    try:
        running = Validator(f"http://127.0.0.1:{port}", f"ws://127.0.0.1:{port + 1}")
        await _until_healthy(running.rpc_url, process, folder / "validator.log")
        yield running
    finally:
        with trio.CancelScope(shield=True):
            process.terminate()
            with trio.move_on_after(STOP_SECONDS) as patience:
                await process.wait()
            if patience.cancelled_caught:
                process.kill()
                await process.wait()


def _dumped(key: Pubkey, account: Account) -> dict[str, object]:
    shown = {
        "lamports": account.lamports,
        "data": [base64.b64encode(bytes(account.data)).decode(), "base64"],
        "owner": str(account.owner),
        "executable": account.executable,
        "rentEpoch": 0,
        "space": len(account.data),
    }
    return {"pubkey": str(key), "account": shown}


async def _until_healthy(url: str, process: trio.Process, log: Path) -> None:
    """Wait until the node is healthy and has a finalized slot after the first."""
    calls: list[dict[str, object]] = [
        {"jsonrpc": "2.0", "id": name, "method": name, "params": []}
        for name in ("getHealth", "getSlot")
    ]
    with trio.fail_after(START_SECONDS):
        async with httpx.AsyncClient() as http:
            while True:
                if process.poll() is not None:
                    raise AssertionError(f"the validator ended: {await trio.Path(log).read_text()}")
                try:
                    replies = (await http.post(url, json=calls)).json()
                except httpx.TransportError:
                    replies = []
                if [each.get("result") for each in replies][:1] == ["ok"] and replies[1]["result"]:
                    return
                await trio.sleep(0.2)
