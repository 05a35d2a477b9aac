"""`cvms submissions`: what operators read and decide at a terminal."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from functools import partial

import pytest
import trio
from solders.keypair import Keypair

from cvms.cli import main
from cvms.store.submissions.submissions import State
from tests.nursery.submission.signed_withdrawals import submission
from tests.nursery.world import World
from tests.settlement.conftest import world as world  # noqa: PLC0414 - a fixture
from tests.settlement.quarantined import opened, quarantined

Command = Callable[..., Awaitable[tuple[int, str, str]]]


@pytest.fixture
def command(
    world: World,
    database_url: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> Command:
    """Run a command beside the chain; return its exit status, its output and its errors."""
    monkeypatch.setenv("DATABASE_URL", database_url)
    monkeypatch.setenv("SOLANA_RPC_URL", world.chain.rpc_url)

    async def run(*words: str) -> tuple[int, str, str]:
        status = await trio.to_thread.run_sync(partial(main, ["submissions", *words]))
        return status, *capsys.readouterr()

    return run


async def test_they_are_listed_shown_and_settled(world: World, command: Command) -> None:
    assert await command("list") == (0, "no submission is quarantined\n", "")
    signature = await quarantined(world, await opened(world), lands=False)
    status, out, _ = await command("list")
    assert status == 0
    assert out.startswith(f"{signature}  deposit for ")
    _, out, _ = await command("list", "--json")
    [listed] = json.loads(out)["submissions"]
    assert (listed["signature"], listed["state"]) == (signature, "quarantined")

    status, out, _ = await command("show", listed["id"])
    assert status == 0
    lines = out.splitlines()
    assert f"signature   {signature}" in lines
    assert "all of those in question" in out
    assert "expired     nothing speaks against it" in lines
    assert lines[-1] == "suggested   expired"
    _, out, _ = await command("show", signature, "--json")
    assert json.loads(out)["suggested"] == "expired"

    why = ("--reason", "no block holds it", "--by", "carol")
    status, out, err = await command("settle", signature, "--as", "finalized", *why)
    assert (status, out) == (1, "")
    assert "no endpoint knows the transaction" in err
    assert err.count("\n") == 1
    status, out, err = await command("settle", signature, "--as", "expired", *why)
    assert (status, out, err) == (0, f"{signature} is settled as expired\n", "")
    assert (await submission(world, signature)).state is State.EXPIRED
    status, _, err = await command("settle", signature, "--as", "expired", *why)
    assert status == 1
    assert "is expired, not quarantined" in err
    async with world.database.connection() as conn:
        cursor = await conn.execute("SELECT actor, details->>'reason' FROM audit_logs")
        assert await cursor.fetchall() == [("cli:carol", "no block holds it")]


async def test_one_that_landed_is_shown_with_where(world: World, command: Command) -> None:
    signature = await quarantined(world, await opened(world), lands=True)
    await world.indexer().catch_up()
    _, out, _ = await command("show", signature)
    assert "has it in slot" in out
    assert "holds it" in out
    assert "event DepositEvent in slot" in out
    assert out.splitlines()[-1] == "suggested   finalized"


async def test_what_is_not_there_is_one_line(world: World, command: Command) -> None:
    unknown = str(Keypair().sign_message(b"unknown"))
    for words in (
        ("show", unknown),
        ("settle", unknown, "--as", "failed", "--reason", "x", "--by", "x"),
    ):
        status, out, err = await command(*words)
        assert (status, out) == (1, "")
        assert err == f"cvms: There is no signed submission {unknown}.\n"


@pytest.mark.parametrize(
    "words",
    [
        ["settle", "x", "--reason", "x"],
        ["settle", "x", "--as", "expired"],
        ["settle", "x", "--as", "expired", "--reason", " "],
        ["settle", "x", "--as", "landed", "--reason", "x"],
        ["settle", "x", "--as", "expired", "--reason", "x", "--by", "a\nb"],
        ["show", "x", "--seconds", "0"],
        ["list", "--state", "built"],
    ],
)
def test_a_bad_argument_is_refused(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["submissions", *words])
    assert ended.value.code == 2
    assert "usage: cvms submissions" in capsys.readouterr().err
