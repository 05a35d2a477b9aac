"""The hashes with which anybody can compare a deployed program."""

from __future__ import annotations

import hashlib
import re
import subprocess
from pathlib import Path

import pytest

from tests.paths import DOCS, PROGRAMS

DOCUMENT = (DOCS / "programs.md").read_text()
ELFS = sorted(PROGRAMS.glob("*.so"))
PADDING = bytes(1_000)
"""What the loader leaves behind a program that replaced a longer one."""


def test_the_document_has_the_hash_of_each_program() -> None:
    documented = dict(re.findall(r"^\| `(\w+)` \| `([0-9a-f]{64})` \|$", DOCUMENT, re.MULTILINE))
    shipped = {elf.stem: elf.read_bytes().rstrip(b"\0") for elf in ELFS}
    hashes = {name: hashlib.sha256(code).hexdigest() for name, code in shipped.items()}
    assert documented == hashes, "program/build.sh writes them"


@pytest.mark.parametrize("elf", ELFS, ids=lambda path: path.stem)
def test_the_documents_command_ignores_the_padding_of_a_deployment(
    elf: Path, tmp_path: Path
) -> None:
    [command] = re.findall(r"^perl .* \| sha256sum$", DOCUMENT, re.MULTILINE)
    (tmp_path / "deployed.so").write_bytes(elf.read_bytes() + PADDING)
    run = subprocess.run(
        command, shell=True, cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert run.returncode == 0, run.stderr
    assert run.stdout.split()[0] in DOCUMENT
