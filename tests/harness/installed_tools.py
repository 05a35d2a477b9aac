"""Tools that make clients in other languages. CI installs them, a developer may lack them."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import NoReturn

import pytest

from tests.harness.debian_programs import REQUIRED


def node_modules(folder: Path) -> Path:
    """Return the installed packages of a folder with a package.json, or skip the test."""
    installed = folder / "node_modules"
    if not installed.exists():
        _missing(f"run npm ci in {folder.name}")
    program("node")
    return installed


def program(name: str) -> Path:
    """Return the path of a program, or skip the test."""
    found = shutil.which(name)
    return Path(found) if found else _missing(f"{name} is not installed")


def _missing(reason: str) -> NoReturn:
    if os.environ.get(REQUIRED):
        pytest.fail(reason)
    pytest.skip(reason)
