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

from tests.paths import ROOT
from tests.program.mutants.mutations import Mutant
from tests.program.mutants.workshop import Workshop


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
    mutants: Sequence[Mutant], *, jobs: int, tests: Callable[[Mutant], str]
) -> Iterator[Result]:
    """Yield the result of each mutant as it comes. `tests` gives a part of the ids of its tests."""
    with tempfile.TemporaryDirectory(prefix="cvms-mutants-") as folder:
        jobs = min(jobs, len(mutants))
        with ThreadPoolExecutor(max(jobs, 1)) as pool:
            idle: SimpleQueue[subprocess.Popen[str]] = SimpleQueue()
            with workers([Path(folder) / str(number) for number in range(jobs)]) as started:
                for process in started:
                    idle.put(process)

                def one(mutant: Mutant) -> Result:
                    process = idle.get()
                    try:
                        return ask(process, mutant, tests(mutant))
                    finally:
                        idle.put(process)

                for done in as_completed([pool.submit(one, mutant) for mutant in mutants]):
                    yield done.result()


@contextmanager
def workers(folders: Sequence[Path]) -> Iterator[list[subprocess.Popen[str]]]:
    for folder in folders[:1]:
        Workshop(folder).set_up()
    for folder in folders[1:]:
        shutil.copytree(folders[0], folder, symlinks=True)
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


def ask(process: subprocess.Popen[str], mutant: Mutant, tests: str) -> Result:
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write(json.dumps({"mutant": asdict(mutant), "tests": tests}) + "\n")
    process.stdin.flush()
    line = process.stdout.readline()
    assert line, f"the worker ended with {process.wait()}"
    reply = json.loads(line)
    return Result(mutant, reply["outcome"], reply["by"])
