"""Where a saturated read's time goes: the server is sampled while each route is asked.

    .venv/bin/python -m bench.reads.profile [--seconds 4] [--only history]

py-spy reads the stack of the server's process 250 times a second, which costs the process some of
its speed. A sample counts for the layer of the innermost function. Linux lets only a process's
parent or root do that.
"""

from __future__ import annotations

import argparse
import re
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Callable
from functools import partial
from pathlib import Path

from bench import report
from bench.load import saturate
from bench.reads.__main__ import routes
from bench.reads.database import filled_database
from bench.servers import front_end
from bench.servers.processes import started

SAMPLES_PER_SECOND = 250
KERNEL = "kernel: send, receive, wait"
OTHERS = "others of Python"
# The first that is found in the innermost frame, `function (file:line)`.
LAYERS = (
    (r"HttpConnection\._(send|receive) |_update_registrations|get_events|_nonblocking", KERNEL),
    (r"\((trio|outcome)/|trio\._core|outcome\.", "trio"),
    (r"psycopg|cvms/store/(?!redis)", "database"),
    (r"ordinary_requests\.py", "parse the request, write the response"),
    (r"prometheus_client|structlog|logging/", "metrics and logs"),
    (r"cvms/", "edge, limits, routes"),
    (r"", OTHERS),
)


def main() -> None:
    parser = argparse.ArgumentParser(description="where a read's time goes")
    parser.add_argument("--seconds", type=int, default=4)
    parser.add_argument("--only", help="sample this route alone", metavar="NAME")
    options = parser.parse_args()
    print(report.machine())
    names = [layer for _, layer in LAYERS]
    print(f"| % of the samples | {' | '.join(names)} |\n|{'---|' * (len(names) + 1)}")
    with (
        tempfile.TemporaryDirectory(prefix="cvms-bench-") as folder,
        filled_database(Path(folder)) as (url, owners),
        started(front_end.SERVE, url, "", "1") as server,
    ):
        for route in routes(owners):
            if route.redis or options.only not in (None, route.name):
                continue
            saturate(server.port, route.warm_up, seconds=1)
            saturated = (server.port, route.requests)
            stacks = sampled(
                server.process.pid,
                Path(folder) / "stacks",
                options.seconds,
                partial(saturate, *saturated, seconds=options.seconds),
            )
            shares = shares_of(stacks)
            print(f"| {route.name} | {' | '.join(f'{shares[name]:.0f}' for name in names)} |")


def sampled(pid: int, path: Path, seconds: int, work: Callable[[], object]) -> str:
    """Return the stacks of a process during `work`: frames with semicolons, and their number."""
    command = ["py-spy", "record", "--pid", str(pid), "--duration", str(seconds)]
    command += ["--rate", str(SAMPLES_PER_SECOND), "--format", "raw", "--output", str(path)]
    command[0] = str(Path(sys.executable).with_name("py-spy"))
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE) as sampler:
        work()
        _, problem = sampler.communicate(timeout=seconds + 10)
    if sampler.returncode:
        raise RuntimeError(f"py-spy cannot read process {pid}: {problem.decode().strip()}")
    return path.read_text()


def shares_of(stacks: str) -> dict[str, float]:
    """Return the share of each layer in the samples of the event loop, in per cent."""
    counts: Counter[str] = Counter()
    for line in stacks.splitlines():
        stack, _, number = line.rpartition(" ")
        if "trio/_core/_run.py" in stack:
            frame = stack.rpartition(";")[2]
            layer = next(layer for pattern, layer in LAYERS if re.search(pattern, frame))
            counts[layer] += int(number)
    return {layer: 100 * counts[layer] / max(1, counts.total()) for _, layer in LAYERS}


if __name__ == "__main__":
    main()
