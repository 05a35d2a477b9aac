"""A real PgBouncer before a PostgreSQL server."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg
from psycopg.conninfo import conninfo_to_dict

from tests.harness.debian_programs import pgbouncer, server_user
from tests.harness.free_ports import free_port

CONFIGURATION = """
[databases]
* = host={host} port={server_port}
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = {port}
unix_socket_dir =
auth_type = trust
auth_file = {folder}/users
pool_mode = {pool_mode}
server_round_robin = {round_robin}
default_pool_size = 50
logfile = {folder}/log
"""


@contextmanager
def bouncer(server: str, pool_mode: str, *, round_robin: bool = False) -> Iterator[str]:
    """Run PgBouncer before the database of the URI `server`, and yield the URI that leads there."""
    program = pgbouncer()
    parts = conninfo_to_dict(server)
    with tempfile.TemporaryDirectory(prefix="cvms-bouncer-") as folder:
        port, user = free_port(), server_user()
        configuration = Path(folder) / "pgbouncer.ini"
        configuration.write_text(
            CONFIGURATION.format(
                host=parts["host"],
                server_port=parts.get("port", 5432),
                port=port,
                folder=folder,
                pool_mode=pool_mode,
                round_robin=int(round_robin),
            )
        )
        (Path(folder) / "users").write_text(f'"{parts["user"]}" ""\n')
        if user:
            shutil.chown(folder, user)
        uri = f"postgresql://{parts['user']}@127.0.0.1:{port}/{parts['dbname']}"
        with subprocess.Popen(
            [str(program), "-q", str(configuration)], user=user, stderr=subprocess.DEVNULL
        ) as process:
            try:
                _wait_for(uri, process)
                yield uri
            finally:
                process.terminate()


def _wait_for(uri: str, process: subprocess.Popen[bytes]) -> None:
    while True:
        assert process.poll() is None, "PgBouncer has ended"
        try:
            psycopg.connect(uri).close()
        except psycopg.OperationalError:
            continue
        return
