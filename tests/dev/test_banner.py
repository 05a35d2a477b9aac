"""What `cvms dev` names can be pasted into another terminal, in any folder."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from cvms.dev.banner import Terminal, banner, terminal

BIN = Path(sys.executable).parent


def commands(text: str) -> list[str]:
    return [line.strip() for line in text.splitlines() if line.startswith("    ")]


def test_each_command_stands_alone_on_its_line() -> None:
    text = banner({"Service": "http://x"}, Terminal(". /venv/bin/activate", ""))
    assert text.splitlines()[1] == "Service   http://x"
    assert commands(text) == [
        ". /venv/bin/activate",
        "cvms demo",
        "cvms token alice --role admin",
        "cvms wallet alice.json --sol 2 --usdt 1000",
        "cvms wallet key.json",
    ]


def test_beside_another_environment_the_commands_name_the_folder() -> None:
    named = commands(banner({}, terminal(Path("/some where"), several=True)))
    assert "cvms demo --data-dir '/some where'" in named


def test_the_path_is_set_up_only_if_it_does_not_lead_to_this_cvms(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("PATH", f"{BIN}:/usr/bin:/bin")
    assert terminal(Path("/data"), several=False).setup is None
    monkeypatch.setenv("PATH", "/usr/bin:/bin")
    setup = terminal(Path("/data"), several=False).setup
    assert setup is not None
    shown = subprocess.run(
        ["/bin/sh", "-c", f"{setup} && command -v cvms"],
        env={"PATH": "/usr/bin:/bin"},
        cwd="/",
        capture_output=True,
        text=True,
        check=True,
    )
    assert shown.stdout == f"{BIN / 'cvms'}\n"
