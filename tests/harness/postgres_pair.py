"""A PostgreSQL primary and its synchronous standby, which can be promoted."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg

from tests.harness.debian_programs import postgres_15
from tests.store.own_server import OwnServer

REPLICATING = """
SELECT count(*)
FROM pg_stat_replication
WHERE sync_state = 'sync'
"""


class Standby(OwnServer):
    """Replays what `primary` writes."""

    def __init__(self, folder: Path, primary: OwnServer, binaries: tuple[Path, str | None]) -> None:
        self._primary = primary
        super().__init__(folder, binaries)

    def _make_data(self) -> None:
        source = ("-h", "127.0.0.1", "-p", str(self._primary.port), "-U", "postgres")
        self._run("pg_basebackup", *source, "-R", "-c", "fast", "-D", str(self._data))

    def promote(self) -> None:
        """Replay what was received, and accept writes."""
        execute(self.uri(), "SELECT pg_promote(TRUE)")


class Pair:
    """Whatever the primary has confirmed is on the disk of the standby too."""

    def __init__(self, primary: OwnServer, standby: Standby) -> None:
        self.primary, self.standby = primary, standby

    @property
    def uri(self) -> str:
        hosts = ",".join(f"127.0.0.1:{each.port}" for each in (self.primary, self.standby))
        return f"postgresql://postgres@{hosts}/postgres"

    def demote_primary(self) -> None:
        """Make the primary read-only, with its sessions kept, and wait for the writes under way."""
        execute(self.primary.uri(), "ALTER SYSTEM SET default_transaction_read_only = on")
        execute(self.primary.uri(), "SELECT pg_reload_conf()")
        with psycopg.connect(self.primary.uri(), autocommit=True) as connection:
            while connection.execute(WRITERS).fetchone() != (0,):
                pass


WRITERS = """
SELECT count(*)
FROM pg_stat_activity
WHERE backend_xid IS NOT NULL
"""


def execute(uri: str, statement: str) -> None:
    with psycopg.connect(uri, autocommit=True) as connection:
        connection.execute(statement.encode())


@contextmanager
def postgres_pair() -> Iterator[Pair]:
    """Run a primary and a standby that replicates synchronously."""
    binaries = postgres_15()
    with (
        tempfile.TemporaryDirectory(prefix="cvms-primary-") as one,
        tempfile.TemporaryDirectory(prefix="cvms-standby-") as other,
    ):
        primary = OwnServer(Path(one), binaries)
        primary.start()
        try:
            standby = Standby(Path(other), primary, binaries)
            standby.start()
            try:
                execute(primary.uri(), "ALTER SYSTEM SET synchronous_standby_names = '*'")
                execute(primary.uri(), "SELECT pg_reload_conf()")
                with psycopg.connect(primary.uri(), autocommit=True) as connection:
                    while connection.execute(REPLICATING).fetchone() != (1,):
                        pass
                yield Pair(primary, standby)
            finally:
                standby.stop()
        finally:
            primary.stop()
