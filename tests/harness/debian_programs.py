"""Programs of Debian packages that some tests need. CI installs them, a developer may lack them."""

from __future__ import annotations

import os
import pwd
import shutil
from pathlib import Path
from typing import NoReturn

import pytest

REQUIRED = "CVMS_REQUIRE_SERVERS"
"""If this variable is set, a program that is missing fails a test instead of skipping it."""

POSTGRES_USER = "postgres"


def pgbouncer() -> Path:
    """Return the path of pgbouncer, or skip the test."""
    found = shutil.which("pgbouncer", path=f"{os.environ.get('PATH', '')}:/usr/sbin")
    return Path(found) if found else missing("the Debian package pgbouncer")


def postgres_15() -> tuple[Path, str | None]:
    """Return the folder of PostgreSQL 15's programs and who has to run them, or skip the test."""
    folder = Path("/usr/lib/postgresql/15/bin")
    return (
        folder
        if (folder / "pg_basebackup").exists()
        else missing("the Debian package postgresql-15")
    ), server_user()


def chromium() -> Path:
    """Return the path of Chromium, or skip the test."""
    found = shutil.which("chromium")
    return Path(found) if found else missing("the Debian package chromium")


def server_user() -> str | None:
    """Return the user as which servers have to run, None for the present one: root may not."""
    if os.geteuid() != 0:
        return None
    return pwd.getpwnam(POSTGRES_USER).pw_name


def missing(package: str) -> NoReturn:
    """Skip the test, or fail it where nothing may be missing."""
    reason = f"{package} is not installed"
    if os.environ.get(REQUIRED):
        pytest.fail(reason)
    pytest.skip(reason)
