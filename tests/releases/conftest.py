"""The last release beside the code of today, and a system on which either runs."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.acceptance.conftest import database_url, system
from tests.releases.last_release import last_wheel, unpack

__all__ = ["database_url", "system"]


@pytest.fixture(scope="session")
def last_release(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the last release's modules, which come first on the path of its processes."""
    return Path(unpack(last_wheel(), tmp_path_factory.mktemp("release"))["PYTHONPATH"])
