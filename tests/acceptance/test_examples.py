"""The script walk.sh in docs/examples calls every route of a running `cvms dev`."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import httpx
import pytest
import trio
from solders.keypair import Keypair

from tests.harness.processes import cvms
from tests.paths import DOCS

pytestmark = pytest.mark.slow(seconds=45)

WALK = DOCS / "examples" / "walk.sh"
PORTS = ("--port", "0", "--localnet-port", "0")
WALK_SECONDS = 300  # about 60 on two cores


async def test_the_walk_calls_every_route(tmp_path: Path) -> None:
    # No other environment of this machine's user is found.
    records = {"XDG_CACHE_HOME": str(tmp_path / "cache"), "DATA_DIR": str(tmp_path / "moved")}
    async with (
        cvms("dev", *PORTS, folder=tmp_path, environ=records) as dev,
        httpx.AsyncClient() as http,
    ):
        url = await dev.line("Service")
        await dev.line("Ctrl-C")
        elsewhere, cache = tmp_path / "elsewhere", records["XDG_CACHE_HOME"]
        await trio.to_thread.run_sync(paste, dev.printed, elsewhere, cache)
        where = {
            "SERVICE_URL": url,
            "RPC_URL": await dev.line("RPC"),
            "DATA_DIR": str(tmp_path / await dev.line("Data")),
            "CVMS_BIN": str(Path(sys.executable).parent),
            "PATH": "/usr/bin:/bin",
        }
        with trio.fail_after(WALK_SECONDS):
            walk = await trio.run_process(
                [str(WALK)], env=where, capture_stdout=True, capture_stderr=True, check=False
            )
        output = walk.stdout.decode()
        assert walk.returncode == 0, output[-500:] + walk.stderr.decode()
        assert output.endswith("Every route answered as it should.\n")
        page = "http://localhost:5173"
        opened = await http.get(f"{url}/openapi.json", headers={"Origin": page})
        assert opened.headers["Access-Control-Allow-Origin"] == page
        document = opened.json()
    walked = re.findall(r"^\d{3} (GET|POST|PUT|DELETE) ([^?\s]+)", output, re.MULTILINE)
    for path, item in document["paths"].items():
        pattern = re.sub(r"\{\w+\}", "[^/]+", path)
        for method in item:
            assert [
                at for at in walked if at[0] == method.upper() and re.fullmatch(pattern, at[1])
            ], f"{method.upper()} {path} is not in {WALK.name}"


def paste(printed: list[str], folder: Path, cache: str) -> None:
    """Run in another folder and terminal what `cvms dev` names, but for the demo."""
    folder.mkdir()
    pasted = [line.strip() for line in printed if line.startswith("    ")]
    shell = subprocess.run(
        ["/bin/sh", "-ec", "\n".join(line for line in pasted if "cvms demo" not in line)],
        env={"PATH": "/usr/bin:/bin", "XDG_CACHE_HOME": cache},
        cwd=folder,
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    token, *addresses = shell.stdout.split()
    assert token.count(".") == 2
    wallets = [Keypair.from_json(file.read_text()) for file in sorted(folder.iterdir())]
    assert addresses == [str(each.pubkey()) for each in wallets]


async def test_the_walk_stops_at_the_first_unexpected_answer() -> None:
    """Nothing listens on this port: curl reports it, and the script prints no result."""
    where = {
        "SERVICE_URL": "http://127.0.0.1:1",
        "CVMS_BIN": str(Path(sys.executable).parent),
        "PATH": "/usr/bin:/bin",
    }
    walk = await trio.run_process(
        [str(WALK)], env=where, capture_stdout=True, capture_stderr=True, check=False
    )
    assert walk.returncode != 0
    assert walk.stdout.decode() == "# Is it there?\n"
    assert b"curl" in walk.stderr
