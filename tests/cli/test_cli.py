"""The `cvms` command: help, errors of one line, small commands."""

from __future__ import annotations

import socket
from pathlib import Path

import psycopg
import pytest
import trio

from cvms.cli import main
from cvms.http.framework.admin_tokens import Role, authenticate
from cvms.store.postgres.database import open_database
from cvms.store.security import audit_log

COMMANDS = [
    [],
    *([word] for word in ("serve", "dev", "localnet", "demo", "token", "reseal")),
    ["audit", "verify"],
    *(["index", word] for word in ("status", "rebuild")),
]


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_help(command: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main([*command, "--help"])
    assert ended.value.code == 0
    assert "usage: cvms" in capsys.readouterr().out


def test_every_missing_setting_is_one_line(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("DATABASE_URL", raising=False)
    monkeypatch.delenv("DEPLOYER_KEYPAIR_PATH", raising=False)
    assert main(["serve"]) == 2
    errors = capsys.readouterr().err.splitlines()
    assert [line.partition(";")[0] for line in errors] == [
        "cvms: DEPLOYER_KEYPAIR_PATH is not set",
        "cvms: DATABASE_URL is not set",
    ]


def test_settings_are_also_read_from_dotenv(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("PORT", raising=False)
    (tmp_path / ".env").write_text("PORT=eighty\nDEPLOYER_KEYPAIR_PATH=no-such-file\n")
    assert main(["serve"]) == 2
    assert "DEPLOYER_KEYPAIR_PATH holds 'no-such-file'" in capsys.readouterr().err


def test_a_port_in_use_is_an_error_of_one_line(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        folder = str(tmp_path)
        assert main(["localnet", "--port", str(port), "--in-memory", "--data-dir", folder]) == 2
    errors = capsys.readouterr().err.splitlines()
    assert len(errors) == 1
    assert f"cannot listen on 127.0.0.1:{port}" in errors[0]


@pytest.mark.parametrize(
    ("command", "flag", "value"),
    [
        ("dev", "--port", "70000"),
        ("dev", "--port", "-1"),
        ("dev", "--localnet-port", "eighty"),
        ("localnet", "--slot-seconds", "0"),
        ("localnet", "--slot-seconds", "nan"),
        ("localnet", "--confirmed-lag", "-1"),
        ("localnet", "--finalized-lag", "many"),
        ("demo", "--mint", "not-a-key"),
    ],
)
def test_a_bad_flag_is_refused_by_name(
    command: str, flag: str, value: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        main([command, f"{flag}={value}"])
    assert ended.value.code == 2
    assert f"argument {flag}:" in capsys.readouterr().err


def test_the_demo_names_what_does_not_answer(capsys: pytest.CaptureFixture[str]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    nowhere = f"http://127.0.0.1:{port}"
    assert main(["demo", "--url", nowhere, "--rpc-url", nowhere]) == 1
    errors = capsys.readouterr().err
    assert f"{nowhere} or {nowhere} does not answer" in errors
    assert "make dev" in errors


def test_a_token_is_minted_for_the_service_that_has_the_secret(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ADMIN_JWT_SECRET", "s" * 32)
    assert main(["token", "carol", "--role", "operator", "--hours", "2"]) == 0
    minted = capsys.readouterr().out.strip()
    administrator = authenticate(b"s" * 32, f"Bearer {minted}")
    assert (administrator.subject, administrator.role) == ("carol", Role.OPERATOR)


def test_without_a_secret_no_token_is_minted(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("ADMIN_JWT_SECRET", raising=False)
    assert main(["token", "carol"]) == 2
    assert "ADMIN_JWT_SECRET is not set" in capsys.readouterr().err


def test_the_audit_trail_is_verified_from_the_command_line(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, database_url: str
) -> None:
    monkeypatch.setenv("DATABASE_URL", database_url)
    with psycopg.connect(database_url, autocommit=True) as conn:
        trio.run(_three_entries, database_url)
        assert main(["audit", "verify"]) == 0
        conn.execute("UPDATE audit_logs SET actor = 'nobody' WHERE id = 2")
        assert main(["audit", "verify"]) == 1
    assert "entry 2 of the audit trail was changed or removed" in capsys.readouterr().err


async def _three_entries(database_url: str) -> None:
    async with open_database(database_url) as database:
        await database.prepare()
        async with database.transaction() as conn:
            for number in range(3):
                await audit_log.record(
                    conn, actor="carol", action="test", owner=None, details={"n": number}
                )
