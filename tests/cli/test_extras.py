"""Without the extras, a command works or says in one line which one it needs."""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest
from solders.keypair import Keypair

from cvms.cli import EXTRAS
from cvms.cli.parser import build_parser
from cvms.dev.data_folder import write_private
from tests.paths import ROOT

ARGUMENTS: dict[str, list[str]] = {
    "demo": ["--url=http://127.0.0.1:1", "--rpc-url=http://127.0.0.1:1"],
    "dev": ["--port=0", "--localnet-port=0"],
    "localnet": ["--port=0"],
    "submissions settle": ["x", "--as=failed", "--reason=x"],
    "submissions show": ["x"],
    "token": ["carol"],
    "wallet": ["alice.json", "--sol=1", "--rpc-url=http://127.0.0.1:1"],
}
"""What a command cannot do without. Nothing answers at these addresses."""

NEEDS = {"dev": "dev", "localnet": "dev"}
"""The commands that do nothing without an extra."""

SCRIPT = """
import io, json, sys
from contextlib import redirect_stderr, redirect_stdout

for name in json.loads(sys.argv[1]):
    sys.modules[name] = None  # as if it were not installed

from cvms.cli import main

results = {}
for command, words in json.loads(sys.argv[2]).items():
    out, err = io.StringIO(), io.StringIO()
    with redirect_stdout(out), redirect_stderr(err):
        try:
            status = main(command.split() + words)
        except SystemExit as ended:
            status = ended.code
        except BaseException as error:
            status = repr(error)
    results[command] = [status, err.getvalue()]
print(json.dumps(results))
"""


def commands(parser: argparse.ArgumentParser, *names: str) -> Iterator[str]:
    """Yield each command that has no commands of its own."""
    groups = [each for each in parser._actions if isinstance(each, argparse._SubParsersAction)]
    for group in groups:
        for name, below in group.choices.items():
            yield from commands(below, *names, name)
    if not groups:
        yield " ".join(names)


@pytest.fixture
def without_extras(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, tuple[int, str]]:
    """Run every command where no extra is installed; return status and errors of each."""
    write_private(tmp_path / "operator.json", json.dumps(list(bytes(Keypair()))))
    environ = {
        "PATH": "/usr/bin:/bin",
        "HOME": str(tmp_path),
        "PYTHONPATH": str(ROOT),
        "DATABASE_URL": "postgresql://carol@127.0.0.1:1/cvms",
        "SOLANA_RPC_URL": "http://127.0.0.1:1",
        "DEPLOYER_KEYPAIR_PATH": str(tmp_path / "no-such-key"),
        "ADMIN_JWT_SECRET": "s" * 32,
    }
    words = {each: ARGUMENTS.get(each, []) for each in commands(build_parser())}
    ran = subprocess.run(
        [sys.executable, "-c", SCRIPT, json.dumps(sorted(EXTRAS)), json.dumps(words)],
        cwd=tmp_path,
        env=environ,
        capture_output=True,
        text=True,
        check=True,
    )
    found: dict[str, tuple[int, str]] = json.loads(ran.stdout.splitlines()[-1])
    return found


def test_every_command_works_or_names_its_extra(
    without_extras: dict[str, tuple[int, str]],
) -> None:
    assert NEEDS.keys() <= without_extras.keys() >= ARGUMENTS.keys()
    for command, (status, err) in without_extras.items():
        if command in NEEDS:
            extra = NEEDS[command]
            assert status == 2, (command, err)
            assert err == (
                f"cvms: this command needs the extra `{extra}`; run `pip install 'cvms[{extra}]'`\n"
            )
        else:
            assert status in (0, 1, 2, 3), (command, status, err)
            assert "extra" not in err, (command, err)
            assert "Traceback" not in err, (command, err)
            assert "usage:" not in err, f"{command} lacks an argument in ARGUMENTS: {err}"


def test_the_modules_of_every_extra_are_known() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    installed = packages_distributions()
    for extra, packages in project["optional-dependencies"].items():
        for package in packages:
            name = package.partition("==")[0]
            modules = [each for each, owners in installed.items() if name in owners]
            known = {EXTRAS[each] for each in modules if each in EXTRAS}
            assert known == {extra} or not modules, package
