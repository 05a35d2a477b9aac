"""Runs the commands of an operations page as an operator would: block after block, in one shell.

Blocks that begin with ```sh are run. Those of another kind, such as ```console, are not.
"""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import trio

from tests.paths import ROOT

PAGES = ROOT / "docs" / "operations"
BLOCK_SECONDS = 300.0
BLOCK = re.compile(r"^(?P<indent> *)```sh\n(?P<text>.*?)^ *```$", re.DOTALL | re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Block:
    """Commands of a page, and the line on which they begin."""

    page: str
    line: int
    text: str

    def __str__(self) -> str:
        return f"{self.page}:{self.line}"


def blocks(page: str, *, section: str = "") -> list[Block]:
    """Return the blocks of a page, or those below the heading `section` up to the next heading."""
    text = (PAGES / page).read_text()
    start, end = 0, len(text)
    if section:
        heading = re.search(rf"^(#+) {re.escape(section)}$", text, re.MULTILINE)
        assert heading, f"{page} has no heading {section!r}"
        start = heading.end()
        level = len(heading[1])
        following = re.compile(rf"^#{{1,{level}}} ", re.MULTILINE).search(text, start)
        end = following.start() if following else len(text)
    found = [
        Block(page, text.count("\n", 0, match.start()) + 2, match["text"])
        for match in BLOCK.finditer(text, start, end)
    ]
    assert found, f"{page} has no commands {section!r}"
    return found


@dataclass(slots=True)
class Shell:
    """A bash in which blocks run. Variables, functions and jobs last from one to the next."""

    process: trio.Process
    printed: str = ""
    _rest: bytes = field(default=b"", repr=False)

    async def run(self, block: Block) -> str:
        """Run a block and return what it printed. Raises AssertionError if a command fails."""
        mark = f"--{os.urandom(8).hex()}--"
        script = f"{{\n{block.text}\n}} </dev/null 2>&1\necho {mark}\n"
        assert self.process.stdin is not None
        await self.process.stdin.send_all(script.encode())
        printed = ""
        with trio.move_on_after(BLOCK_SECONDS) as deadline:
            while (line := await self._line()) is not None:
                if line.endswith(mark):
                    self.printed += printed
                    return printed + line.removesuffix(mark)
                printed += line + "\n"
        how = "did not end" if deadline.cancelled_caught else "failed"
        raise AssertionError(f"{block} {how}:\n{block.text}\n{printed}")

    async def run_all(self, page: str, *, section: str = "") -> str:
        return "".join([await self.run(block) for block in blocks(page, section=section)])

    async def _line(self) -> str | None:
        assert self.process.stdout is not None
        while b"\n" not in self._rest:
            received = await self.process.stdout.receive_some()
            if not received:
                return None
            self._rest += received
        line, self._rest = self._rest.split(b"\n", 1)
        return line.decode()


@asynccontextmanager
async def shell(folder: Path, environ: Mapping[str, str]) -> AsyncIterator[Shell]:
    """Run a shell in `folder` for the block, which ends at the first command that fails.

    What it has left running in the background is ended with it.
    """
    process = await trio.lowlevel.open_process(
        ["bash", "-euo", "pipefail", "-s"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        cwd=folder,
        env=dict(os.environ) | dict(environ),
        process_group=0,
    )
    try:
        yield Shell(process)
    finally:
        with trio.CancelScope(shield=True):
            _end_group(process.pid)
            await process.wait()


def _end_group(leader: int) -> None:
    try:
        os.killpg(leader, 9)
    except ProcessLookupError:
        return
