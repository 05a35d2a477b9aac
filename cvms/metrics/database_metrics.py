"""Metrics of PostgreSQL: the pool, what is asked, and the replicas for reads."""

from __future__ import annotations

import math

from cvms.metrics.series import Series
from cvms.metrics.snapshot import Across


class PoolMetrics:
    """The connections of a process to the primary, and what they are asked."""

    def __init__(self, series: Series) -> None:
        self.connections = series.gauge(
            "database_pool_connections",
            "Connections of the pool by state; the others of DATABASE_CONNECTIONS are not open",
            Across.SUM,
            state=("idle", "in_use"),
        )
        self.waiting = series.gauge(
            "database_pool_waiting", "Tasks that wait for a connection of the pool", Across.SUM
        )
        self.wait_seconds = series.histogram(
            "database_pool_wait_seconds",
            "Time that a task waited for its turn at the pool, mostly none",
            (0.001, 0.01, 0.1, 0.5, 2.0),
        )
        queries = series.counter(
            "database_queries_total",
            "Exchanges with PostgreSQL (a statement, or several sent together) by outcome",
            outcome=("ok", "error", "timeout", "cancelled"),
        )
        self.answered = queries.labels("ok")
        self.failed = queries.labels("error")
        self.timed_out = queries.labels("timeout")
        self.cancelled = queries.labels("cancelled")
        self.transaction_repeats = series.counter(
            "database_transaction_repeats_total",
            "Database transactions repeated after a deadlock or a serialization failure",
        )


class DiskMetrics:
    """What PostgreSQL keeps on its disk; NaN until it was read."""

    def __init__(self, series: Series) -> None:
        self.database = series.gauge(
            "database_size_bytes", "Bytes of the database's files, without WAL"
        )
        self.slot_wal = series.gauge(
            "database_slot_wal_bytes",
            "Bytes of WAL that the slowest replication slot keeps from being removed",
        )
        self.database.set(math.nan)
        self.slot_wal.set(math.nan)


class ReplicaMetrics:
    """The replicas of DATABASE_READ_URLS, by their place there."""

    def __init__(self, series: Series) -> None:
        self.up = series.gauge(
            "read_replica_up",
            "1 while reads may go to a replica of DATABASE_READ_URLS, by its place there",
            Across.MIN,
            replica=(),
        )
        self.slot = series.gauge(
            "read_replica_slot", "Newest indexed slot at a replica", replica=()
        )
        self.lag = series.gauge(
            "read_replica_lag_seconds",
            "Seconds by which a replica was behind the primary, when it last answered",
            replica=(),
        )
        self.reads = series.counter(
            "indexed_reads_total",
            "Reads of what is indexed whose slot is known, by the replica that answered or primary",
            server=(),
        )
