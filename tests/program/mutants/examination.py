"""Examines mutants with several workers at once, and says what became of each."""

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from queue import SimpleQueue
from typing import Any

from tests.paths import ROOT
from tests.program.mutants.mutations import Mutant
from tests.program.mutants.workshop import Workshop

MANY = 20  # to build them together takes as long as ten of them


@dataclass(frozen=True, slots=True)
class Selection:
    """Those whose ids have `text`; if `quick`, without those that are marked slow."""

    text: str = ""
    quick: bool = False


@dataclass(frozen=True, slots=True)
class Result:
    """What became of a mutant, and by which test or message."""

    mutant: Mutant
    outcome: str
    by: str

    @property
    def survived(self) -> bool:
        return self.outcome == "survived"


def examine(
    mutants: Sequence[Mutant], *, jobs: int, tests: Callable[[Mutant], Selection]
) -> Iterator[Result]:
    """Yield the result of each mutant as it comes. `tests` says which tests it has to fail.

    Many of them are built together first.
    """
    with tempfile.TemporaryDirectory(prefix="cvms-mutants-") as folder:
        jobs = min(jobs, len(mutants))
        folders = [Path(folder) / str(number) for number in range(jobs)]
        numbers = set_up(folders, mutants)
        with ThreadPoolExecutor(max(jobs, 1)) as pool:
            idle: SimpleQueue[subprocess.Popen[str]] = SimpleQueue()
            with workers(folders) as started:
                for process in started:
                    if numbers:
                        converse(process, {"reach": f"{folder}/reach.json"})
                    idle.put(process)

                def one(mutant: Mutant) -> Result:
                    process = idle.get()
                    try:
                        return ask(process, mutant, numbers.get(mutant, 0), tests(mutant))
                    finally:
                        idle.put(process)

                for done in as_completed([pool.submit(one, mutant) for mutant in mutants]):
                    yield done.result()


def set_up(folders: Sequence[Path], mutants: Sequence[Mutant]) -> dict[Mutant, int]:
    """Make the workshops. Return the numbers of the mutants that are built together."""
    numbers = {}
    for folder in folders[:1]:
        workshop = Workshop(folder)
        workshop.set_up(mutants)
        if len(mutants) >= MANY:
            numbers = workshop.combine(mutants)
    for folder in folders[1:]:
        shutil.copytree(folders[0], folder, symlinks=True)
    return numbers


@contextmanager
def workers(folders: Sequence[Path]) -> Iterator[list[subprocess.Popen[str]]]:
    processes = [start(folder) for folder in folders]
    try:
        yield processes
    finally:
        for process in processes:
            os.killpg(process.pid, signal.SIGKILL)  # with the fork that runs tests
            process.communicate()


def start(folder: Path) -> subprocess.Popen[str]:
    """Start a worker. What it and its tests print goes to a file in its folder."""
    with (folder / "log").open("w") as log:
        return subprocess.Popen(
            [sys.executable, "-m", "tests.program.mutants.worker", str(folder)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
            cwd=ROOT,
            process_group=0,
            env=os.environ | {"CVMS_TEST_PROGRAMS": str(Workshop(folder).elfs)},
        )


def ask(process: subprocess.Popen[str], mutant: Mutant, number: int, tests: Selection) -> Result:
    request = {"mutant": asdict(mutant), "number": number, "tests": asdict(tests)}
    reply = converse(process, request)
    return Result(mutant, reply["outcome"], reply["by"])


def converse(process: subprocess.Popen[str], request: dict[str, Any]) -> Any:
    """Send a request to a worker, and return its reply."""
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write(json.dumps(request) + "\n")
    process.stdin.flush()
    line = process.stdout.readline()
    assert line, f"the worker ended with {process.wait()}"
    return json.loads(line)
