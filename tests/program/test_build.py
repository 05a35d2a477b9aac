"""The committed program is what the sources build, wherever they lie."""

import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
TOOLS = ["/usr/bin/rustc", "llvm-link-22", "opt-22", "llc-22", "bpf-ld"]

pytestmark = pytest.mark.skipif(
    not all(map(shutil.which, TOOLS)), reason="the compilers are not installed"
)


def checkout(folder: Path) -> Path:
    """A copy of the sources and the built program in another place, with the same build cache."""
    shutil.copytree(ROOT / "program", folder / "program", ignore=shutil.ignore_patterns("target"))
    shutil.copytree(ROOT / "cvms" / "programs", folder / "cvms" / "programs")
    cache = ROOT / "program" / "target"
    cache.mkdir(exist_ok=True)
    (folder / "program" / "target").symlink_to(cache)
    return folder


def check(folder: Path) -> subprocess.CompletedProcess[str]:
    command = [str(folder / "program" / "build.sh"), "--check"]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_the_sources_build_the_committed_bytes_in_any_folder(tmp_path: Path) -> None:
    copy = checkout(tmp_path / "some" / "where")
    result = check(copy)
    assert result.returncode == 0, result.stderr
    assert "the same bytes" in result.stdout

    program = copy / "cvms" / "programs" / "collateral_vault.so"
    program.write_bytes(program.read_bytes() + b"\0")
    result = check(copy)
    assert result.returncode == 1
    assert "is not what the sources build" in result.stderr
