"""The systemd unit is installed and runs the service: sandboxed, watched, reloaded, restarted."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
from pathlib import Path

import httpx
import psutil
import pytest
import trio

from tests.deploy.systemd import Systemd, booted
from tests.harness.debian_programs import missing
from tests.harness.free_ports import free_port
from tests.harness.localnet import Localnet
from tests.harness.processes import HANG_SECONDS
from tests.nursery.database_proxy import database_proxy
from tests.paths import ROOT

UNIT = ROOT / "deploy" / "systemd" / "cvms.service"
EXPOSURE = 1.5
"""Of 10, as `systemd-analyze security` counts. What is left is the network, which it needs."""
DROP_IN = """
[Service]
WatchdogSec=8
StandardOutput=append:{log}
StandardError=append:{log}
"""


def analyze(*arguments: str) -> subprocess.CompletedProcess[str]:
    program = shutil.which("systemd-analyze") or missing("the Debian package systemd")
    return subprocess.run(
        [program, *arguments],
        capture_output=True,
        text=True,
        check=False,
        env=os.environ | {"SYSTEMD_COLORS": "0"},
    )


def test_the_unit_has_no_fault_and_little_exposure(tmp_path: Path) -> None:
    unit = tmp_path / "cvms.service"
    unit.write_text(UNIT.read_text().replace("/opt/cvms/bin/cvms", "/bin/true"))
    verified = analyze("verify", str(unit))
    assert (verified.returncode, verified.stderr) == (0, "")
    rated = analyze("security", "--offline=true", f"--threshold={EXPOSURE * 10:.0f}", str(unit))
    assert rated.returncode == 0, rated.stdout
    unit.write_text(unit.read_text().replace("ProtectSystem=strict\n", "ProtectSistem=strict\n"))
    assert "ProtectSistem" in analyze("verify", str(unit)).stderr


@pytest.mark.slow(seconds=30)
async def test_systemd_runs_watches_reloads_and_stops_the_service(
    tmp_path: Path, database_url: str, localnet: Localnet
) -> None:
    log, port = tmp_path / "cvms.log", free_port()
    async with database_proxy(database_url) as database:
        settings = {
            "DATABASE_URL": database.uri,
            "PORT": str(port),
            "SOLANA_RPC_URL": localnet.rpc_url,
            "SOLANA_WS_URL": localnet.ws_url,
        }
        units = {
            "cvms.service": UNIT.read_text(),
            "cvms.service.d/test.conf": DROP_IN.format(log=log),
        }
        etc = {
            "cvms/cvms.env": "".join(f"{name}={value}\n" for name, value in settings.items()),
            "cvms/operator.json": json.dumps([*bytes(localnet.operator)]),
        }
        with booted(tmp_path, units, etc) as systemd:
            await systemd.ctl("start", "cvms")
            assert await systemd.show("cvms", "StatusText") == "2 of 2 workers serve"
            first = main_process(systemd)
            assert first.uids().real not in {0, os.getuid()}
            check_sandbox(first.pid)
            await until_it_answers(f"http://127.0.0.1:{port}/ready")

            workers = first.children()
            await systemd.ctl("reload", "cvms")
            with trio.fail_after(HANG_SECONDS):
                while any(each.is_running() for each in workers):  # noqa: ASYNC110
                    await trio.sleep(0.05)
            await systemd.until("cvms", "ActiveState", "active")
            assert main_process(systemd) == first

            first.send_signal(signal.SIGSTOP)
            await systemd.until("cvms", "NRestarts", "1")
            await systemd.until("cvms", "ActiveState", "active")
            assert main_process(systemd) != first
            await until_it_answers(f"http://127.0.0.1:{port}/ready")
            await systemd.ctl("stop", "cvms")
            assert await systemd.show("cvms", "Result") == "success"
            assert '"in_order": true' in log.read_text().splitlines()[-1]


def check_sandbox(pid: int) -> None:
    status = Path(f"/proc/{pid}/status").read_text()
    for line in (r"NoNewPrivs:\s+1", r"CapBnd:\s+0+", r"Seccomp:\s+2"):
        assert re.search(f"^{line}$", status, re.MULTILINE)


def main_process(systemd: Systemd) -> psutil.Process:
    """Return the main process of the unit, which systemd knows by another id."""
    [found] = [
        each
        for each in psutil.Process(systemd.pid).children()
        if each.cmdline()[-2:] == ["--workers", "2"]
    ]
    return found


async def until_it_answers(url: str) -> None:
    """Poll until a request is answered with 200."""
    async with httpx.AsyncClient() as http:
        with trio.fail_after(HANG_SECONDS):
            while True:
                try:
                    if (await http.get(url)).status_code == 200:
                        return
                except httpx.TransportError:
                    pass
                await trio.sleep(0.05)
