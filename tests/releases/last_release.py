"""Where the last release's wheel is, and its migrations."""

from __future__ import annotations

from pathlib import Path
from zipfile import ZipFile

[WHEEL] = Path(__file__).parent.glob("cvms-*.whl")
MIGRATIONS = "cvms/store/postgres/migrations/"


def released_migrations() -> dict[str, str]:
    """Return the text of each migration of the release, by the name of its file."""
    with ZipFile(WHEEL) as wheel:
        return {
            name.removeprefix(MIGRATIONS): wheel.read(name).decode()
            for name in wheel.namelist()
            if name.startswith(MIGRATIONS) and name.endswith(".sql")
        }
