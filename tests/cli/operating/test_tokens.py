"""`cvms token`: issues tokens, and revokes them for every process on the database."""

from __future__ import annotations

import re
import time
from datetime import UTC, datetime

import pytest
import trio

from cvms.cli import main
from cvms.http.framework.admin_tokens import LEEWAY_SECONDS, Role, authenticate, mint
from cvms.store.security import revoked_tokens
from tests.harness.service import Service, running
from tests.http.admin.test_admin_routes import SECRET, ask
from tests.http.wallets import rows

TASKS = "/api/admin/tasks"
WITHIN_SECONDS = 2.0


def issued(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[str, str]:
    """Return the token of `cvms token`, and its id."""
    assert main(["token", *arguments]) == 0
    printed = capsys.readouterr()
    found = re.fullmatch(r"token id: ([0-9a-f-]{36})\n", printed.err)
    assert found, printed.err
    return printed.out.splitlines()[-1], found[1]


def said(capsys: pytest.CaptureFixture[str]) -> list[str]:
    """Return what was printed, without the log of the service."""
    return [line for line in capsys.readouterr().out.splitlines() if "[" not in line]


def test_the_first_of_several_secrets_signs(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ADMIN_JWT_SECRET", "o" * 32)
    monkeypatch.setenv("ADMIN_JWT_SECRETS", f"new:{'n' * 32}, old:{'x' * 32}")
    token, token_id = issued(capsys, "--role", "admin", "carol", "--hours", "2")
    holder = authenticate(None, f"Bearer {token}", {"new": b"n" * 32})
    assert (holder.subject, holder.role, holder.token_id) == ("carol", Role.ADMIN, token_id)
    assert holder.expires_at == holder.issued_at + 2 * 3600


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--role", "admin", "revoke"], "revoke is a command, and cannot be a name"),
        (["--role", "admin", "list-revoked"], "list-revoked is a command"),
        (["revoke"], "one of the arguments ID --name is required"),
        (["revoke", "one", "--name", "carol"], "not allowed with"),
        (["revoke", "one", "--issued-before", "2027-01-31"], "--issued-before goes with --name"),
        (["revoke", "--name", "carol", "--issued-before", "soon"], "soon is not a time"),
        (["revoke", "a\0b"], "printable"),
        (["revoke", "--name", ""], "printable"),
    ],
)
def test_what_cannot_be_meant_is_refused(
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    arguments: list[str],
    said: str,
) -> None:
    monkeypatch.setenv("ADMIN_JWT_SECRET", "s" * 32)
    monkeypatch.delenv("DATABASE_URL", raising=False)
    try:
        status = main(["token", *arguments])
    except SystemExit as ended:
        status = ended.code  # type: ignore[assignment]
    printed = capsys.readouterr()
    assert (status, printed.out) == (2, "")
    assert said in printed.err


def test_the_help_names_the_commands_and_their_arguments(
    capsys: pytest.CaptureFixture[str],
) -> None:
    for arguments, texts in (
        (["token", "--help"], ["NAME", "--role", "--hours", "revoke", "list-revoked"]),
        (["token", "revoke", "--help"], ["cvms token revoke", "ID", "--name", "--issued-before"]),
        (["token", "list-revoked", "--help"], ["cvms token list-revoked"]),
    ):
        with pytest.raises(SystemExit) as ended:
            main(arguments)
        assert ended.value.code == 0
        shown = capsys.readouterr().out
        assert [text for text in texts if text not in shown] == []


async def refused_within_seconds(service: Service, token: str) -> None:
    """Wait until the token is refused. Requests cost no query meanwhile."""
    with trio.fail_after(WITHIN_SECONDS + 1):
        while (await ask(service, "GET", TASKS, bearer=token)).status_code == 200:  # noqa: ASYNC110
            await trio.sleep(0.05)
    reply = await ask(service, "GET", TASKS, bearer=token)
    assert (reply.status_code, reply.json()["code"]) == (401, "invalid_token")


async def test_a_revocation_reaches_every_replica_within_two_seconds(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, database_url: str
) -> None:
    monkeypatch.setenv("DATABASE_URL", database_url)
    monkeypatch.setenv("ADMIN_JWT_SECRET", SECRET.decode())
    async with (
        running(database_url, admin_jwt_secret=SECRET) as one,
        running(database_url, admin_jwt_secret=SECRET) as other,
    ):
        token, token_id = issued(capsys, "carol")
        kept, _ = issued(capsys, "carol")
        for service in (one, other):
            assert (await ask(service, "GET", TASKS, bearer=token)).status_code == 200
        assert await trio.to_thread.run_sync(main, ["token", "revoke", token_id]) == 0
        assert said(capsys) == [f"token {token_id} is revoked"]
        one.board.set_component("rpc", ok=False, detail="rpc.internal", trouble="refused")
        assert "rpc.internal" in (await ask(one, "GET", "/ready", bearer=kept)).text
        for service in (one, other):
            await refused_within_seconds(service, token)
            assert "rpc.internal" not in (await ask(one, "GET", "/ready", bearer=token)).text
            assert (await ask(service, "GET", TASKS, bearer=kept)).status_code == 200

        now = int(time.time())
        before = datetime.fromtimestamp(now + 1, UTC).isoformat()
        revoke = ["token", "revoke", "--name", "CAROL", "--issued-before", before]
        assert await trio.to_thread.run_sync(main, revoke) == 0
        for service in (one, other):
            await refused_within_seconds(service, kept)
        assert said(capsys)[0].startswith("CAROL's tokens issued before 20")
        later = mint(SECRET, subject="carol", role=Role.VIEWER, seconds=60, now=now + 1)
        assert (await ask(one, "GET", TASKS, bearer=later)).status_code == 200

        assert await trio.to_thread.run_sync(main, ["token", "list-revoked"]) == 0
        listed = said(capsys)
        assert len(listed) == 2
        assert listed[0].endswith(f": token {token_id}")
        assert re.search(r": carol, issued before 20\d\d-", listed[1])
        trail = await rows(one, "SELECT actor, details FROM audit_logs WHERE action LIKE 'token%'")
        assert [row["details"].get("token_id") for row in trail] == [token_id, None]
        assert trail[1]["details"]["person"] == "carol"


async def test_no_token_that_a_clock_ahead_has_issued_outlives_the_revocation(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, database_url: str
) -> None:
    monkeypatch.setenv("DATABASE_URL", database_url)
    async with running(database_url, admin_jwt_secret=SECRET) as service:
        ahead = int(time.time()) + LEEWAY_SECONDS
        token = mint(SECRET, subject="carol", role=Role.VIEWER, seconds=60, now=ahead)
        assert (await ask(service, "GET", TASKS, bearer=token)).status_code == 200
        revoke = ["token", "revoke", "--name", "carol"]
        assert await trio.to_thread.run_sync(main, revoke) == 0
        async with service.database.connection() as conn:
            revoked = await revoked_tokens.read(conn)
        assert authenticate(SECRET, f"Bearer {token}").token in revoked
