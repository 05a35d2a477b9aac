"""What `cvms dev` prints when it is ready: where everything is, and what to do next.

Each command stands on a line of its own, and works as it is pasted, in any folder.
"""

from __future__ import annotations

import os
import shlex
import shutil
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

DEMO_FUNDS = "--sol 2 --usdt 1000"


@dataclass(frozen=True, slots=True)
class Terminal:
    """How a command finds `cvms` and this environment.

    `setup` is what puts `cvms` on the PATH, None if it is there. `options` choose among several
    environments.
    """

    setup: str | None
    options: str


def terminal(data: Path, *, several: bool) -> Terminal:
    """Return what a second terminal needs to reach the environment in `data`."""
    options = f" --data-dir {shlex.quote(str(data))}" if several else ""
    return Terminal(_path_setup(Path(sys.executable).parent, os.environ), options)


def _path_setup(folder: Path, environ: Mapping[str, str]) -> str | None:
    found = shutil.which("cvms", path=environ.get("PATH"))
    if found is not None and Path(found).parent == folder:
        return None
    activate = folder / "activate"
    if activate.exists():
        return f". {shlex.quote(str(activate))}"
    return f"export PATH={shlex.quote(str(folder))}:$PATH"


def banner(addresses: Mapping[str, str], at: Terminal) -> str:
    """Return the text; `addresses` are lines of a name and what it is."""
    lines = [f"{name:<10}{text}" for name, text in addresses.items()]
    lines += ["", "In a second terminal, in any folder:"]
    steps = {
        "cvms on the PATH": at.setup,
        "what a vault can do, step by step": f"cvms demo{at.options}",
        "an administrator's token": f"cvms token alice --role admin{at.options}",
        "a wallet, with SOL and test USDT": f"cvms wallet alice.json {DEMO_FUNDS}{at.options}",
        "a key alone, such as an operator's": "cvms wallet key.json",
    }
    for text, command in steps.items():
        if command is not None:
            lines += [f"- {text}:", f"    {command}"]
    return "\n".join(["", *lines, "", "Ctrl-C stops all."])
