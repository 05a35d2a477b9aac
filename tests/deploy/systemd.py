"""A real systemd in namespaces of its own, with the units of a test and nothing else."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psutil
import pytest
import trio

from tests.harness.debian_programs import missing
from tests.harness.processes import HANG_SECONDS
from tests.paths import ROOT

SYSTEMD = Path("/lib/systemd/systemd")
NAMESPACES = ("--mount", "--pid", "--cgroup", "--uts", "--ipc", "--fork", "--mount-proc")
TARGETS = ("sysinit", "basic", "shutdown", "multi-user", "test")

BOOT = """
set -e
echo $$ > {cgroup}/cgroup.procs
exec unshare {namespaces} sh -c '
set -e
mount --make-rprivate /
mount -t tmpfs tmpfs /run
mkdir -p /run/etc/upper /run/etc/work
cp -a {etc}/. /run/etc/upper
mount -t overlay -o lowerdir=/etc,upperdir=/run/etc/upper,workdir=/run/etc/work overlay /etc
mount --bind {console} /dev/console
mount -t tmpfs tmpfs /opt
mkdir -p /opt/python /opt/packages /opt/source /opt/cvms/bin
mount --bind {python} /opt/python
mount --bind {packages} /opt/packages
mount --bind {source} /opt/source
cp {command} /opt/cvms/bin/cvms
mount -t tmpfs tmpfs /sys/fs/cgroup
mount -t cgroup2 cgroup2 /sys/fs/cgroup
mount --make-rshared /
exec env -i PATH="$PATH" container=other SYSTEMD_UNIT_PATH={units} {systemd} --system \\
    --unit=test.target --show-status=no --log-target=console
'
"""
COMMAND = f"""#!/bin/sh
# The command of a virtual environment, whose folders the sandbox hides from the service.
export PYTHONPATH=/opt/packages:/opt/source LD_LIBRARY_PATH=/opt/python/lib
exec /opt/python/bin/python{sys.version_info.major}.{sys.version_info.minor} -m cvms.cli "$@"
"""


@dataclass(frozen=True, slots=True)
class Systemd:
    """A running systemd, by the process id that its machine knows."""

    pid: int
    console: Path

    async def ctl(self, *arguments: str, check: bool = True) -> str:
        """Run systemctl, and return what it prints. It waits until a unit has started."""
        command = ["nsenter", f"--target={self.pid}", "--all", "systemctl", *arguments]
        with trio.fail_after(HANG_SECONDS):
            done = await trio.run_process(
                command, capture_stdout=True, capture_stderr=True, check=False
            )
        if check and done.returncode:
            failed = await self.ctl("status", "--full", *arguments[1:], check=False)
            raise AssertionError(f"{done.stderr.decode()}\n{failed}\n{self.console.read_text()}")
        return done.stdout.decode().strip()

    async def show(self, unit: str, name: str) -> str:
        """Return a property of a unit."""
        return await self.ctl("show", unit, "--value", f"--property={name}")

    async def until(self, unit: str, name: str, value: str) -> None:
        """Poll until a property has the value. systemctl offers nothing to wait on."""
        with trio.fail_after(HANG_SECONDS):
            while await self.show(unit, name) != value:  # noqa: ASYNC110
                await trio.sleep(0.05)


@contextmanager
def booted(folder: Path, units: Mapping[str, str], etc: Mapping[str, str]) -> Iterator[Systemd]:
    """Boot systemd with units and files of /etc, by their paths. All of it ends with the block."""
    _require_namespaces()
    empty = {f"{name}.target": "[Unit]\nDefaultDependencies=no\n" for name in TARGETS}
    _write(folder / "units", empty | dict(units))
    _write(folder / "etc", etc)
    _write(folder, {"command": COMMAND})
    (folder / "command").chmod(0o755)
    cgroup = _unified_hierarchy() / f"cvms-test-{os.getpid()}-{os.urandom(4).hex()}"
    console = folder / "console"
    boot = BOOT.format(
        cgroup=cgroup,
        namespaces=" ".join(NAMESPACES),
        etc=folder / "etc",
        python=sys.base_prefix,
        packages=sysconfig.get_path("purelib"),
        source=ROOT,
        command=folder / "command",
        units=folder / "units",
        systemd=SYSTEMD,
        console=console,
    )
    cgroup.mkdir()
    with console.open("w") as output:
        unsharing = subprocess.Popen(["/bin/sh", "-c", boot], stdout=output, stderr=output)
    try:
        yield Systemd(_only_child(unsharing, console), console)
    finally:
        for child in psutil.Process(unsharing.pid).children():
            child.kill()  # process 1 of its namespace: all others end with it
        unsharing.wait(HANG_SECONDS)
        for path in sorted(cgroup.rglob("*/"), reverse=True):
            path.rmdir()
        cgroup.rmdir()


def _only_child(unsharing: subprocess.Popen[bytes], console: Path) -> int:
    """Wait until systemd answers, and return its process id."""
    while unsharing.poll() is None:
        for child in psutil.Process(unsharing.pid).children():
            answered = subprocess.run(
                ["nsenter", f"--target={child.pid}", "--all", "systemctl", "is-system-running"],
                capture_output=True,
                check=False,
                timeout=HANG_SECONDS,
            )
            if answered.stdout.strip() in {b"running", b"degraded", b"starting"}:
                return child.pid
    raise AssertionError(f"systemd did not start: {console.read_text()}")


def _write(folder: Path, files: Mapping[str, str]) -> None:
    for name, text in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        path.chmod(0o600)


def _unified_hierarchy() -> Path:
    """Return where control groups of version 2 are mounted."""
    [path, *_] = [
        each.mountpoint for each in psutil.disk_partitions(all=True) if each.fstype == "cgroup2"
    ]
    return Path(path)


def _require_namespaces() -> None:
    """Skip the test where there is no systemd, or where this process may not make namespaces."""
    if not SYSTEMD.exists() or shutil.which("nsenter") is None:
        missing("the Debian package systemd")
    allowed = subprocess.run(
        ["unshare", *NAMESPACES, "mount", "-t", "cgroup2", "cgroup2", "/sys/fs/cgroup"],
        capture_output=True,
        check=False,
    )
    if allowed.returncode:
        pytest.skip(f"no namespaces here: {allowed.stderr.decode().strip()}")
