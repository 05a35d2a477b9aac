"""What `program/build.sh --install` does when the archive is not that of `toolchain.txt`."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.paths import ROOT

PINS = [
    line.split()
    for line in (ROOT / "program" / "toolchain.txt").read_text().splitlines()
    if not line.startswith("#")
]
INSTALL_FAILED = 7
NOTHING_INSTALLED = "exit 1"
ROOT_USER = "echo 0"
APT = """
echo "$@" >>"$APT_LOG"
case $1 in
    download) [ "$ARCHIVE" = newer ] && exit 100; echo forged >"${3%%=*}_1_amd64.deb" ;;
    install) exit 7 ;;
esac
"""


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A copy of the script and the pins, beside programs that stand in for Debian's."""
    (tmp_path / "program").mkdir()
    for name in ("build.sh", "toolchain.txt"):
        shutil.copy(ROOT / "program" / name, tmp_path / "program")
    scripts = {"apt-get": APT, "dpkg-query": NOTHING_INSTALLED, "id": ROOT_USER}
    for name, script in scripts.items():
        path = tmp_path / "bin" / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(f"#!/bin/sh\n{script}\n")
        path.chmod(0o755)
    return tmp_path


def install(checkout: Path, archive: str) -> tuple[int, str, list[str]]:
    """Run the script; return its status, what it said, and the calls of apt-get."""
    log = checkout / "apt.log"
    path = f"{checkout / 'bin'}{os.pathsep}{os.environ['PATH']}"
    run = subprocess.run(
        [checkout / "program" / "build.sh", "--install"],
        env=os.environ | {"PATH": path, "APT_LOG": str(log), "ARCHIVE": archive},
        capture_output=True,
        text=True,
        check=False,
    )
    return run.returncode, run.stderr, log.read_text().splitlines()


def test_a_package_with_another_hash_is_not_installed(checkout: Path) -> None:
    status, said, calls = install(checkout, "forged")
    assert status == 1
    name, version, _ = PINS[0]
    assert f"the archive's {name} {version} has another hash" in said
    assert [call.split()[0] for call in calls] == ["update", "download"]


def test_compilers_of_another_version_are_installed_if_the_pinned_ones_are_gone(
    checkout: Path,
) -> None:
    status, _, calls = install(checkout, "newer")
    assert status == INSTALL_FAILED
    assert calls[-1].endswith("rustc-web rust-web-src llvm-22 binutils-bpf")


def test_a_build_names_the_packages_that_differ(checkout: Path) -> None:
    (checkout / "bin" / "apt-get").write_text("#!/bin/sh\ncase $1 in download) exit 100 ;; esac\n")
    (checkout / "bin" / "mkdir").write_text("#!/bin/sh\nexit 9\n")  # where the build begins
    (checkout / "bin" / "mkdir").chmod(0o755)
    (checkout / "apt.log").touch()
    _, said, _ = install(checkout, "newer")
    for name, version, _ in PINS:
        assert f"{name} is none here, and {version} in toolchain.txt" in said
    assert "let apt read the snapshot that toolchain.txt names" in said


def test_every_pin_has_a_hash() -> None:
    assert len(PINS) == len({name for name, _, _ in PINS}) > 0
    assert all(len(bytes.fromhex(digest)) == 32 for _, _, digest in PINS)
