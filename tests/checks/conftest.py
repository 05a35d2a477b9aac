"""A deployment that passes every check, which each test breaks in one place."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import trio
from solders.pubkey import Pubkey

from cvms.chain.types import USDT_MINT
from cvms.cli import main
from cvms.config.environment import environment
from cvms.dev.data_folder import write_private
from tests.harness.localnet import Localnet

JWT_SECRET = "0123456789abcdefghijklmnopqrstuv"
ENCRYPTION_KEY = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8="
MINT = Pubkey.from_string(USDT_MINT)


@dataclass(frozen=True, slots=True)
class Line:
    """One finding of the command."""

    group: str
    check: str
    subject: str | None
    level: str
    seen: str
    advice: str | None


@dataclass(frozen=True, slots=True)
class Checked:
    """What `cvms check` has said, and how it has ended."""

    status: int
    lines: list[Line]

    def lines_of(self, check: str, subject: str | None = None) -> list[Line]:
        found = [each for each in self.lines if each.check == check]
        return [each for each in found if subject in {None, each.subject}]

    def line(self, check: str, subject: str | None = None) -> Line:
        [line] = self.lines_of(check, subject)
        return line

    @property
    def failures(self) -> set[str]:
        return {each.check for each in self.lines if each.level == "failure"}


@dataclass(slots=True, eq=False)
class Setup:
    """The environment of the command."""

    monkeypatch: pytest.MonkeyPatch
    capsys: pytest.CaptureFixture[str]
    folder: Path

    def set(self, **values: str) -> None:
        for name, value in values.items():
            self.monkeypatch.setenv(name, value)

    def use_chain(self, chain: Localnet) -> None:
        """Point the settings at a chain, and at its operator's key."""
        write_private(self.folder / "operator.json", json.dumps(list(bytes(chain.operator))))
        self.set(
            SOLANA_RPC_URL=chain.rpc_url,
            SOLANA_WS_URL=chain.ws_url,
            DEPLOYER_KEYPAIR_PATH=str(self.folder / "operator.json"),
        )

    async def run(self, *arguments: str) -> tuple[int, str]:
        """Run the command in a thread, since it has an event loop of its own."""
        self.capsys.readouterr()
        status = await trio.to_thread.run_sync(partial(main, ["check", *arguments]))
        return status, self.capsys.readouterr().out

    async def check(self, *arguments: str) -> Checked:
        status, printed = await self.run("--json", *arguments)
        report: dict[str, Any] = json.loads(printed)
        assert (report["status"] == "failure") == (status == 1)
        return Checked(status, [Line(**each) for each in report["findings"]])


@pytest.fixture
def setup(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> Setup:
    """The command in an empty folder, without a database, a chain or an operator."""
    monkeypatch.chdir(tmp_path)
    setup = Setup(monkeypatch, capsys, tmp_path)
    nowhere = "127.0.0.1:1"
    setup.set(
        DATABASE_URL=f"postgresql://carol:Zq7vXw2kLm9tRb4y@{nowhere}/cvms",
        SOLANA_RPC_URL=f"http://{nowhere}",
        SOLANA_WS_URL=f"ws://{nowhere}",
        ADMIN_JWT_SECRET=JWT_SECRET,
        DATA_ENCRYPTION_KEYS=ENCRYPTION_KEY,
    )
    assert environment()["ADMIN_JWT_SECRET"] == JWT_SECRET
    return setup


@pytest.fixture
def deployed(setup: Setup, localnet: Localnet, database_url: str) -> Setup:
    """The same with a database, and a chain that is ready for the service."""
    setup.use_chain(localnet)
    setup.set(DATABASE_URL=database_url)
    return setup
