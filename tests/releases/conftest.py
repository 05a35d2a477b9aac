"""The last release, installed beside the code of today, and a system on which either runs."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.acceptance.conftest import database_url, system
from tests.releases.last_release import WHEEL

__all__ = ["database_url", "system"]


@pytest.fixture(scope="session")
def last_release(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the last release's modules, which come first on the path of its processes."""
    folder = tmp_path_factory.mktemp("release")
    offline = ["--no-deps", "--no-index", "--no-compile", "--disable-pip-version-check", "--quiet"]
    command = [sys.executable, "-m", "pip", "install", *offline, "--target", str(folder)]
    subprocess.run([*command, str(WHEEL)], check=True)
    return folder
