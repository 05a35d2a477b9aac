"""The verifier of proofs in TypeScript, as its README has it built and run."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

from tests.clients.typescript import run
from tests.harness.installed_tools import node_modules
from tests.paths import ROOT

SOURCE = ROOT / "clients" / "verifier"
SECONDS = 60


def build_verifier(folder: Path) -> Path:
    """Compile the verifier in strict mode into a folder, unless that exists; return the folder."""
    if not folder.exists():
        modules = node_modules(SOURCE)
        shutil.copytree(SOURCE, folder, ignore=shutil.ignore_patterns("node_modules", "dist"))
        (folder / "node_modules").symlink_to(modules)
        run("npm", "run", "build", cwd=folder)
    return folder


def verify(verifier: Path, *arguments: object) -> tuple[int, dict[str, str], str]:
    """Return the command's exit status, the outcome of each check, and its errors."""
    done = subprocess.run(
        ["node", str(verifier / "dist" / "verify.js"), *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=SECONDS,
        check=False,
    )
    rows = [(line[:11].strip(), line[13:28].strip()) for line in done.stdout.splitlines()]
    return done.returncode, {name: outcome for outcome, name in rows}, done.stderr
