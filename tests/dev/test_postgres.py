"""The embedded PostgreSQL runs as an unprivileged user, and leaves the system as it was."""

from __future__ import annotations

import os
import pwd
import shutil
import stat
from pathlib import Path

import psutil
import psycopg
import pytest

from cvms.dev.postgres import NOBODY, embedded_postgres

as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root needs another user")


def server_user(uri: str) -> str:
    """The user of the process that serves the database."""
    with psycopg.connect(uri) as connection:
        row = connection.execute("SELECT pg_backend_pid()").fetchone()
        assert row is not None
        return psutil.Process(row[0]).username()


@as_root
def test_root_adds_no_user_and_opens_no_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where the wheel's user is there: it is hidden from the wheel."""
    known = pwd.getpwnam
    monkeypatch.setattr(pwd, "getpwnam", lambda name: known(name.replace("pgserver", "no one")))
    called = tmp_path / "called"
    fake = tmp_path / "bin" / "useradd"
    fake.parent.mkdir()
    fake.write_text(f"#!/bin/sh\ntouch {called}\n")
    fake.chmod(0o755)
    monkeypatch.setenv("PATH", f"{fake.parent}:{os.environ['PATH']}")
    private = tmp_path / "private"
    private.mkdir(mode=0o700)
    users = Path("/etc/passwd").read_bytes()
    with embedded_postgres(private / "data") as uri:
        assert server_user(uri) == NOBODY
    assert Path("/etc/passwd").read_bytes() == users
    assert not called.exists()
    assert stat.S_IMODE(private.stat().st_mode) == 0o711
    assert pwd.getpwnam(NOBODY).pw_shell.endswith(("nologin", "false"))


@as_root
@pytest.mark.parametrize("owner", ["root", "nobody-here", "daemon"])
def test_data_of_another_owner_are_found_again(tmp_path: Path, owner: str) -> None:
    data = tmp_path / "data"
    with embedded_postgres(data) as uri, psycopg.connect(uri, autocommit=True) as connection:
        connection.execute("CREATE TABLE kept ()")
    number = 61_234 if owner == "nobody-here" else pwd.getpwnam(owner).pw_uid
    for path in (data, *data.rglob("*")):
        os.chown(path, number, number)
    with embedded_postgres(data) as uri:
        assert server_user(uri) == ("daemon" if owner == "daemon" else NOBODY)
        with psycopg.connect(uri) as connection:
            connection.execute("SELECT FROM kept")


@pytest.mark.skipif(os.geteuid() == 0, reason="root has another user's server")
def test_a_user_runs_it_himself(tmp_path: Path) -> None:
    data = tmp_path / "data"
    with embedded_postgres(data) as uri:
        assert server_user(uri) == psutil.Process().username()
    shutil.rmtree(data)
