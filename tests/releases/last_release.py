"""The wheel of the last release, which the service of today is compared with and runs beside."""

from __future__ import annotations

import zipfile
from pathlib import Path

from tests.paths import ROOT

MIGRATIONS = "cvms/store/postgres/migrations/"


def last_wheel() -> Path:
    """Return the newest wheel that is kept."""
    wheels = (ROOT / "tests" / "releases").glob("cvms-*-py3-none-any.whl")
    return max(wheels, key=lambda wheel: tuple(map(int, version(wheel).split("."))))


def version(wheel: Path) -> str:
    return wheel.name.split("-")[1]


def unpack(wheel: Path, folder: Path) -> dict[str, str]:
    """Unpack a release. Return the environment in which `python -m cvms.cli` runs it."""
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(folder)
    return {"PYTHONPATH": str(folder)}


def released_migrations() -> dict[str, str]:
    """Return the text of each migration of the last release, by the name of its file."""
    with zipfile.ZipFile(last_wheel()) as wheel:
        return {
            name.removeprefix(MIGRATIONS): wheel.read(name).decode()
            for name in wheel.namelist()
            if name.startswith(MIGRATIONS) and name.endswith(".sql")
        }
