"""Server forker: starts `cvms serve` fast, by forking a process that has imported everything.

    python -m tests.harness.server_forker

It reads one JSON object {"environ", "folder"} for each start from standard input, and writes
"started PID" and "ended PID STATUS" to standard output. The children are ordinary processes, which
can be killed with -9. They are killed when this process ends.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import traceback
from pathlib import Path
from typing import Any

from tests.harness.wall_clock import VARIABLE, MovableTime, move_datetimes_too

children: set[int] = set()
clock = MovableTime()

import cvms.nursery.run  # noqa: E402, F401 - once for all children, and with the movable clock
from cvms import cli  # noqa: E402

move_datetimes_too()


def main() -> None:
    signal.signal(signal.SIGCHLD, lambda *_: reap())
    report("ready")
    for line in sys.stdin:
        start(json.loads(line))
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    for pid in children:
        os.kill(pid, signal.SIGKILL)


def start(request: dict[str, Any]) -> None:
    # Blocked, or a child that ends at once could be reaped before it is registered.
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGCHLD})
    pid = os.fork()
    if pid == 0:
        run_server(Path(request["folder"]), request["environ"])
    children.add(pid)
    report(f"started {pid}")
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGCHLD})


def run_server(folder: Path, environ: dict[str, str]) -> None:
    status = 70
    try:
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGCHLD})
        os.setsid()
        os.chdir(folder)
        os.environ.update(environ)
        if VARIABLE in environ:
            clock.follow(environ[VARIABLE])
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        log = os.open("server.log", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        os.dup2(log, 1)
        os.dup2(log, 2)
        status = cli.main(["serve"])
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)


def reap() -> None:
    while children:
        try:
            pid, status = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return
        if pid == 0:
            return
        children.discard(pid)
        report(f"ended {pid} {os.waitstatus_to_exitcode(status)}")


def report(line: str) -> None:
    os.write(1, f"{line}\n".encode())


if __name__ == "__main__":
    main()
