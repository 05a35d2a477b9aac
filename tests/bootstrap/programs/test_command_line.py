"""The commands as they are typed: a whole upgrade, and what is refused before anything happens."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import pytest
import trio

from cvms.chain.program.bundled_programs import bundled_elf
from cvms.chain.program.upgradeable_loader import executable_hash
from cvms.cli import main
from tests.bootstrap.deployer import Deployer
from tests.bootstrap.programs.test_upgrades import GROWN, NAME

LIMITS = ("--transfer-limit", "1", "--transfer-limit-total", "1")


async def typed(*arguments: str) -> int:
    """Run a command in a thread, since it has an event loop of its own."""
    return await trio.to_thread.run_sync(partial(main, arguments))


async def test_a_program_that_has_grown_is_upgraded_and_shown(
    deployed: Deployer,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "grown.so").write_bytes(GROWN)
    url = ("--rpc-url", deployed.running.rpc_url)
    assert await typed("program", "upgrade", NAME, "--elf", "grown.so", "--yes", *url) == 0
    assert "extend it by 10240 bytes" in capsys.readouterr().out
    assert await typed("program", "show", *url) == 0
    shown = capsys.readouterr().out
    assert executable_hash(GROWN) in shown
    assert shown.count("version    this one") == 2
    assert await typed("program", "upgrade", NAME, "--yes", *url) == 0
    assert await typed("program", "show", NAME, *url) == 0
    assert executable_hash(bundled_elf(NAME)) in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["bootstrap"], "nobody can be asked; pass --yes"),
        (["program", "upgrade", NAME], "nobody can be asked; pass --yes"),
        (["bootstrap", "--yes", "--transfer-limit", "1"], "go together"),
        (
            ["bootstrap", "--no-transfer-limits", *LIMITS],
            "contradicts",
        ),
        (["program", "set-authority", NAME, "--yes"], "name the new authority, or pass --final"),
        (["bootstrap", "--yes", "--rpc-url", "rpc.example"], "expected one or more http"),
    ],
)
def test_what_cannot_work_is_refused_in_words(
    arguments: list[str],
    said: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(arguments) == 2
    assert said in capsys.readouterr().err
    assert [*tmp_path.iterdir()] == []


@pytest.mark.parametrize("value", ["someone", "no-such-file.json"])
def test_a_governance_that_is_no_key_is_refused(
    value: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["bootstrap", "--governance", value])
    assert ended.value.code == 2
    assert "a public key or a keypair file" in capsys.readouterr().err
