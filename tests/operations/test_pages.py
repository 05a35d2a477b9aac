"""The shell in which the operations pages are run shows what went wrong, and where."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import trio

from tests.operations.pages import Block, shell


async def test_blocks_share_a_shell(tmp_path: Path) -> None:
    async with shell(tmp_path, {"GIVEN": "from outside"}) as bash:
        await bash.run(Block("page.md", 1, 'name="$GIVEN"\ngreet() { echo "hello $name"; }'))
        assert await bash.run(Block("page.md", 5, "greet\nprintf 'no newline'")) == (
            "hello from outside\nno newline"
        )


@pytest.mark.parametrize("text", ["false", "echo $UNSET_NAME", "false | cat", "exit 3"])
async def test_a_command_that_fails_names_its_line(text: str, tmp_path: Path) -> None:
    async with shell(tmp_path, {}) as bash:
        with pytest.raises(AssertionError, match=r"page\.md:7 failed"):
            await bash.run(Block("page.md", 7, f"echo before\n{text}\necho after"))


async def test_background_jobs_end_with_the_shell(tmp_path: Path) -> None:
    async with shell(tmp_path, {}) as bash:
        number = int(await bash.run(Block("page.md", 1, "sleep 1000 >job.log 2>&1 & echo $!")))
        os.kill(number, 0)
    with trio.fail_after(10):
        while running(number):  # noqa: ASYNC110 - nobody tells
            await trio.sleep(0.01)


def running(number: int) -> bool:
    try:
        return "Z" not in Path(f"/proc/{number}/stat").read_text().rpartition(")")[2][:3]
    except FileNotFoundError:
        return False
