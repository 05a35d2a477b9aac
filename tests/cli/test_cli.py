"""The `cvms` command: help, errors of one line, small commands."""

from __future__ import annotations

import contextlib
import json
import os
import select
import socket
import threading
import tomllib
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import msgspec
import psycopg
import pytest
import trio
from solders.keypair import Keypair
from solders.pubkey import Pubkey

from cvms.cli import main, verify
from cvms.cli.commands import demo_programs
from cvms.cli.parser import build_parser
from cvms.dev.data_folder import locked_folder, write_private
from cvms.dev.running import RunningEnvironment, recorded
from cvms.http.framework.admin_tokens import Role, authenticate
from cvms.proofs.log_entry import AuditHead, SignedEntry, signed_bytes
from cvms.store.postgres.database import open_database
from cvms.store.security import audit_heads, audit_log
from cvms.store.security.audit_heads import AuditKey, SignedHead
from tests.paths import ROOT
from tests.proofs.publisher import Snapshot, vaults

COMMANDS = [
    [],
    *(
        [word]
        for word in (
            "serve",
            "dev",
            "localnet",
            "demo",
            "wallet",
            "token",
            "reseal",
            "migrate",
            "restored",
        )
    ),
    *(["audit", word] for word in ("verify", "key")),
    *(["index", word] for word in ("status", "rebuild")),
    ["bootstrap"],
    *(["program", word] for word in ("show", "upgrade", "set-authority")),
    ["verify"],
    *(["submissions", word] for word in ("list", "show", "settle")),
]


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_help(command: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main([*command, "--help"])
    assert ended.value.code == 0
    assert "usage: cvms" in capsys.readouterr().out


def test_the_version_is_that_of_the_installed_package(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["--version"])
    assert ended.value.code == 0
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert capsys.readouterr().out == f"cvms {project['version']}\n"


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


def test_the_demo_uses_the_settings_programs_where_no_flag_names_another() -> None:
    """A demo of a deployment at an id of its own would otherwise show the local chain's."""
    ours, other = Keypair().pubkey(), Keypair().pubkey()
    environ = {"PROGRAM_ID": str(ours), "USDT_MINT": str(other)}
    used = demo_programs(build_parser().parse_args(["demo"]), environ)
    assert (used.vault, used.mint) == (ours, other)
    flags = build_parser().parse_args(["demo", "--program", str(other), "--mint", str(ours)])
    used = demo_programs(flags, environ)
    assert (used.vault, used.mint) == (other, ours)


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


def test_a_name_that_the_audit_trail_cannot_store_gets_no_token(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main(["token", "car\udcffol"]) == 2
    assert capsys.readouterr().err == "cvms: a subject has 1 to 200 printable characters\n"


def test_a_token_is_minted_with_the_secret_of_the_environment_that_runs(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir("/")
    monkeypatch.delenv("ADMIN_JWT_SECRET", raising=False)
    monkeypatch.delenv("DATA_DIR", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    data = tmp_path / "moved"
    write_private(data / "admin_jwt_secret", "m" * 32)
    at = RunningEnvironment(str(data), os.getpid(), "http://x", "http://y")
    with locked_folder(data, "dev"), recorded(at):
        assert main(["token", "carol"]) == 0
    minted = capsys.readouterr().out.strip()
    assert authenticate(b"m" * 32, f"Bearer {minted}").subject == "carol"


def test_without_a_secret_no_token_is_minted(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.delenv("ADMIN_JWT_SECRET", raising=False)
    assert main(["token", "carol"]) == 2
    assert "ADMIN_JWT_SECRET is not set" in capsys.readouterr().err


def test_the_audit_trail_is_verified_from_the_command_line(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, database_url: str
) -> None:
    monkeypatch.setenv("DATABASE_URL", database_url)
    with psycopg.connect(database_url, autocommit=True) as conn:
        trio.run(_three_entries, database_url)
        assert main(["audit", "verify"]) == 3
        assert "no signed or published head" in capsys.readouterr().err
        conn.execute("UPDATE audit_logs SET actor = 'nobody' WHERE id = 2")
        assert main(["audit", "verify"]) == 1
    assert "entry 2 of the audit trail was changed or removed" in capsys.readouterr().err


SECRET = bytes(range(32))


@pytest.fixture
def keypair(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The file of the operator's key, as the setting names it."""
    path = tmp_path / "operator.json"
    write_private(path, json.dumps(list(bytes(Keypair.from_seed(SECRET)))))
    monkeypatch.setenv("DEPLOYER_KEYPAIR_PATH", str(path))
    return path


async def _sign(database_url: str, key: AuditKey) -> SignedHead:
    """Sign the head as the service does."""
    async with open_database(database_url) as database, database.dedicated() as conn:
        signed = key.sign(await audit_heads.current(conn), datetime.now(UTC))
        await audit_heads.store(conn, signed)
    return signed


def log_line(head: SignedHead) -> str:
    return json.dumps(
        {
            "event": "audit_head_signed",
            "id": head.id,
            "hash": head.hash.hex(),
            "signed_at": head.signed_at.isoformat(),
            "key": head.key.hex(),
            "signature": head.signature.hex(),
        }
    )


def test_the_key_of_the_audit_trail_is_printed_and_verifies_without_the_secret(
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    keypair: Path,
    database_url: str,
) -> None:
    monkeypatch.setenv("DATABASE_URL", database_url)
    assert main(["audit", "key"]) == 0
    public = capsys.readouterr().out.strip()
    assert public == AuditKey(SECRET).public.hex()
    trio.run(_three_entries, database_url)
    trio.run(_sign, database_url, AuditKey(SECRET))
    assert main(["audit", "verify"]) == 0
    monkeypatch.delenv("DEPLOYER_KEYPAIR_PATH")
    keypair.unlink()
    assert main(["audit", "verify", "--key", public]) == 0
    assert "attests the entries up to 3" in capsys.readouterr().out
    assert main(["audit", "verify", "--key", "00" * 32]) == 1
    assert "is not signed with the key" in capsys.readouterr().err
    assert main(["audit", "verify"]) == 3


@pytest.mark.usefixtures("keypair")
def test_a_trail_that_was_cut_off_with_its_head_contradicts_what_was_published(
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    database_url: str,
    tmp_path: Path,
) -> None:
    monkeypatch.setenv("DATABASE_URL", database_url)
    trio.run(_three_entries, database_url)
    early = trio.run(_sign, database_url, AuditKey(SECRET))
    trio.run(_three_entries, database_url)
    late = trio.run(_sign, database_url, AuditKey(SECRET))
    logged, published = tmp_path / "log", f"{late.id}:{late.hash.hex()}"
    logged.write_text("\n".join(["starting", "{}", log_line(early), log_line(late), ""]))
    ways = (["--head", str(logged)], ["--expected", published])
    for way in ([], *ways):
        assert main(["audit", "verify", *way]) == 0
    with psycopg.connect(database_url, autocommit=True) as conn:
        conn.execute("DELETE FROM audit_logs WHERE id > 3")
        conn.execute("UPDATE audit_head SET id = 3, hash = %s", [early.hash])
        assert main(["audit", "verify"]) == 1
        conn.execute(
            "UPDATE audit_signed_head SET id = 3, hash = %s, signature = %s, signed_at = %s",
            [early.hash, early.signature, early.signed_at],
        )
    assert main(["audit", "verify"]) == 0  # an older head fits: only what is outside tells
    capsys.readouterr()
    for way in ways:
        assert main(["audit", "verify", *way]) == 1
        assert "ends with entry 3, but a head of entry 6" in capsys.readouterr().err
    trio.run(_three_entries, database_url)
    for way in ways:
        assert main(["audit", "verify", *way]) == 1
        assert "entry 6 of the audit trail is not the one" in capsys.readouterr().err
    logged.write_text(log_line(replace(late, id=3)))
    assert main(["audit", "verify", "--head", str(logged)]) == 1
    assert "the head of entry 3 is not signed with the key" in capsys.readouterr().err


@pytest.mark.usefixtures("keypair")
def test_a_trail_that_was_cut_off_contradicts_a_copy_of_the_log_of_proofs(
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    database_url: str,
    tmp_path: Path,
) -> None:
    monkeypatch.setenv("DATABASE_URL", database_url)
    trio.run(_three_entries, database_url)
    head = trio.run(_sign, database_url, AuditKey(SECRET))
    copy = tmp_path / "proofs.ndjson"
    copy.write_bytes(log_of_proofs(head, AuditKey(SECRET)))
    assert main(["audit", "verify", "--proofs", str(copy)]) == 0
    assert "entry 1 of the log of proofs attests those up to 3" in capsys.readouterr().out
    with psycopg.connect(database_url, autocommit=True) as conn:
        [[before]] = conn.execute("SELECT hash FROM audit_logs WHERE id = 2").fetchall()
        conn.execute("DELETE FROM audit_logs WHERE id > 2")
        conn.execute("UPDATE audit_head SET id = 2, hash = %s", [before])
        conn.execute("DELETE FROM audit_signed_head")
    assert main(["audit", "verify", "--proofs", str(copy)]) == 1
    assert "ends with entry 2, but a head of entry 3" in capsys.readouterr().err
    copy.write_bytes(log_of_proofs(head, AuditKey(b"another")))
    assert main(["audit", "verify", "--proofs", str(copy)]) == 2
    assert "which is not the key" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("make", "problem"),
    [
        (None, "No such file"),
        (Path.mkdir, "is not a regular file"),
        (os.mkfifo, "is not a regular file"),
    ],
)
def test_a_file_of_reserves_that_cannot_be_read_twice_is_an_error_of_one_line(
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    make: Callable[[Path], None] | None,
    problem: str,
) -> None:
    """The second reading of a FIFO would find no lines, and so nothing that is wrong."""
    proof, reserves = tmp_path / "proof.json", tmp_path / "reserves"
    proof.write_bytes(msgspec.json.encode(Snapshot(vaults(6)).proof(0)))
    if make is not None:
        make(reserves)
    assert main(["verify", str(proof), "--reserves", str(reserves)]) == 2
    [line] = capsys.readouterr().err.splitlines()
    assert problem in line


# httpx does not close the body of a reply that is cancelled. The connection is closed.
@pytest.mark.filterwarnings("ignore:Async generator 'http:ResourceWarning")
def test_a_service_that_never_ends_its_reply_is_given_up(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(verify, "FETCH_SECONDS", 0.3)
    proof = tmp_path / "proof.json"
    proof.write_bytes(msgspec.json.encode(Snapshot(vaults(6)).proof(0)))
    with socket.create_server(("127.0.0.1", 0)) as service:
        port = service.getsockname()[1]
        endless = threading.Thread(target=reply_for_ever, args=(service,))
        endless.start()
        url = f"http://somebody:very-secret@127.0.0.1:{port}"
        assert main(["verify", str(proof), "--service", url]) == 2
        endless.join()
    [line] = capsys.readouterr().err.splitlines()
    assert "did not end its reply within 0.3 s" in line
    assert "very-secret" not in line


def reply_for_ever(service: socket.socket) -> None:
    """Send a reply's body, byte by byte, until the client leaves."""
    connection, _ = service.accept()
    with connection, contextlib.suppress(OSError):
        connection.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
        while not select.select([connection], [], [], 0.01)[0] or connection.recv(65_536):
            connection.sendall(b"x")


def test_a_service_whose_host_cannot_be_is_an_error_of_one_line(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    proof = tmp_path / "proof.json"
    proof.write_bytes(msgspec.json.encode(Snapshot(vaults(6)).proof(0)))
    assert main(["verify", str(proof), "--service", "http://xn--a"]) == 2
    [line] = capsys.readouterr().err.splitlines()
    assert "xn--a" in line


@pytest.mark.parametrize("option", ["--service", "--rpc"])
@pytest.mark.parametrize("host", ["a..b", "x" * 64])
def test_a_host_that_no_resolver_takes_is_a_bad_argument(
    capsys: pytest.CaptureFixture[str], option: str, host: str
) -> None:
    with pytest.raises(SystemExit, match="2"):
        main(["verify", "proof.json", option, f"http://{host}"])
    line = capsys.readouterr().err.splitlines()[-1]
    assert f"argument {option}: http://{host} is not an http or https URL" in line


def log_of_proofs(head: SignedHead, key: AuditKey) -> bytes:
    """Return a log of one entry with the trail's head."""
    text = Snapshot([]).entry(audit=AuditHead(id=head.id, hash=head.hash.hex())).text
    signature = key.sign_text(signed_bytes(text)).hex()
    address = str(Pubkey.from_bytes(key.public))
    return msgspec.json.encode(SignedEntry(text=text, key=address, signature=signature)) + b"\n"


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (["--head", "nowhere"], "No such file"),
        (["--head", "/dev/null"], "no line is a JSON event"),
    ],
)
@pytest.mark.usefixtures("keypair")
def test_a_file_without_heads_is_an_error_of_one_line(
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    arguments: list[str],
    problem: str,
) -> None:
    monkeypatch.setenv("DATABASE_URL", "postgresql://nobody@127.0.0.1:9/none")
    assert main(["audit", "verify", *arguments]) == 2
    assert problem in capsys.readouterr().err


@pytest.mark.parametrize(
    ("flag", "value"),
    [
        ("--key", "12"),
        ("--expected", "3"),
        ("--expected", "x:" + "00" * 32),
        ("--expected", "0:" + "00" * 32),
    ],
)
def test_a_bad_key_or_head_is_refused(flag: str, value: str) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["audit", "verify", flag, value])
    assert ended.value.code == 2


def test_without_a_schema_the_trail_is_not_judged(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, empty_database_url: str
) -> None:
    monkeypatch.setenv("DATABASE_URL", empty_database_url)
    assert main(["audit", "verify"]) == 3
    assert "schema is not applied yet" in capsys.readouterr().err


def test_without_a_database_the_trail_is_not_judged(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DATABASE_URL", "postgresql://nobody@127.0.0.1:9/none")
    assert main(["audit", "verify"]) == 3
    assert len(capsys.readouterr().err.splitlines()) == 1


async def _three_entries(database_url: str) -> None:
    async with open_database(database_url) as database:
        await database.prepare()
        async with database.transaction() as conn:
            for number in range(3):
                await audit_log.record(
                    conn, actor="carol", action="test", owner=None, details={"n": number}
                )
