"""Builds the TypeScript client as `npm publish` would, and runs its tests with the result."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import trio

from tests.harness.debian_programs import missing
from tests.paths import ROOT

SOURCE = ROOT / "clients" / "typescript"
MODULES = SOURCE / "node_modules"
SECONDS = 120
NOT_SOURCE = ("node_modules", "dist", "*.tgz", "openapi.ts")


@dataclass(frozen=True, slots=True)
class Package:
    """A project that has the packed client installed, with the client's tests in `test`."""

    folder: Path

    async def run(self, *command: str, **environ: str) -> None:
        """Run a command in the project. Fails the test with its output."""
        await trio.to_thread.run_sync(partial(run, *command, cwd=self.folder, environ=environ))

    async def node_test(self, name: str, **environ: str) -> None:
        """Run a file of tests with Node's test runner."""
        await self.run("node", "--test", f"test/{name}", **environ)


def require_modules() -> None:
    """Skip the test without Node and what the client's tests need there."""
    if shutil.which("node") is None or not MODULES.exists():
        missing("Node 20 with what `npm ci --prefix clients/typescript` installs")


def chromium() -> str:
    """Return the path of Chromium, or skip the test."""
    return shutil.which("chromium") or missing("the Debian package chromium")


def build_package(folder: Path, document: bytes) -> Package:
    """Build the client with an OpenAPI document, pack it, and install the package."""
    project = folder / "project"
    if project.exists():
        return Package(project)
    require_modules()
    draft = Path(tempfile.mkdtemp(dir=folder))
    source = draft / "source"
    shutil.copytree(
        SOURCE, source, ignore=shutil.ignore_patterns("node_modules", "dist", "*.tgz", "openapi.ts")
    )
    (source / "node_modules").symlink_to(MODULES)
    (draft / "openapi.json").write_bytes(document)
    given = {"CVMS_OPENAPI": str(draft / "openapi.json")}
    run("npm", "run", "build", cwd=source, environ=given)
    run("npm", "pack", "--pack-destination", str(draft), cwd=source)
    [archive] = draft.glob("*.tgz")
    modules = draft / "project" / "node_modules"
    installed = modules / "cvms-client"
    installed.mkdir(parents=True)
    run("tar", "-xzf", str(archive), "-C", str(installed), "--strip-components=1", cwd=draft)
    for entry in MODULES.iterdir():
        (modules / entry.name).symlink_to(entry)
    for tests in ("test", "example", "scripts"):
        shutil.copytree(source / tests, draft / "project" / tests)
    (draft / "project" / "package.json").write_text('{"private": true, "type": "module"}')
    (draft / "project").rename(project)
    return Package(project)


def run(*command: str, cwd: Path, environ: Mapping[str, str] | None = None) -> None:
    """Run a command within a deadline. Fails the test with the command's output."""
    done = subprocess.run(
        command,
        cwd=cwd,
        env=os.environ | dict(environ or {}),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        timeout=SECONDS,
        check=False,
    )
    assert done.returncode == 0, f"{' '.join(command)}\n{done.stdout.decode()}"
