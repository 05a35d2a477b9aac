"""`cvms wallet`: a keypair file, and what the local chain gives it."""

from __future__ import annotations

import json
import os
import stat
from functools import partial
from pathlib import Path

import pytest
import trio
from solders.keypair import Keypair

from cvms.chain.program.accounts import read_token_account
from cvms.chain.program.addresses import token_account
from cvms.chain.rpc.rpc_client import open_rpc
from cvms.chain.types import Commitment
from cvms.cli import main
from cvms.dev.data_folder import locked_folder
from cvms.dev.running import RunningEnvironment, recorded
from tests.harness.localnet import Localnet


@pytest.fixture(autouse=True)
def folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """An empty folder, and no environment that runs."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("DATA_DIR", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path


def test_a_key_is_made_once_and_readable_by_its_owner_only(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / "alice.new").write_text("another file of the user's")
    assert main(["wallet", "keys/alice.json"]) == 0
    address = capsys.readouterr().out.strip()
    file = folder / "keys" / "alice.json"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert str(Keypair.from_json(file.read_text()).pubkey()) == address
    assert len(json.loads(file.read_text())) == 64
    assert main(["wallet", "keys/alice.json"]) == 0
    assert capsys.readouterr().out.strip() == address
    assert (folder / "alice.new").exists()


def test_without_a_chain_nothing_is_made(capsys: pytest.CaptureFixture[str], folder: Path) -> None:
    assert main(["wallet", "alice.json", "--sol", "1"]) == 2
    assert capsys.readouterr().err == (
        "cvms: no `cvms dev` runs; start it, or name a local chain in --rpc-url\n"
    )
    assert not (folder / "alice.json").exists()


def test_a_file_that_is_no_keypair_is_named(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / "text").write_text("no key")
    (folder / "text").chmod(0o600)
    for name in ("text", "text/below", "."):
        assert main(["wallet", name]) == 2
        err = capsys.readouterr().err
        assert err.startswith(f"cvms: {name}: ")
        assert err.count("\n") == 1


async def test_the_chain_of_the_environment_that_runs_gives_it_funds(
    localnet: Localnet, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    at = RunningEnvironment(str(folder), os.getpid(), "http://service", localnet.rpc_url)
    words = ["wallet", "alice.json", "--sol", "1.5", "--usdt", "1000"]
    with locked_folder(folder, "dev"), recorded(at):
        for _ in range(2):
            assert await trio.to_thread.run_sync(partial(main, words)) == 0
    assert capsys.readouterr().err == ""
    wallet = Keypair.from_json((folder / "alice.json").read_text()).pubkey()
    async with open_rpc([localnet.rpc_url]) as rpc:
        assert await rpc.get_balance(wallet) == 3_000_000_000
        address = token_account(wallet, localnet.programs.mint)
        found = await rpc.get_accounts([address], commitment=Commitment.CONFIRMED)
    tokens = read_token_account(found.accounts[0])
    assert tokens is not None
    assert tokens.amount == 1000 * 10**6
