"""Settings of the connections that clients open, and of those to databases and a collector."""

from __future__ import annotations

from cvms.config import parsers as parse
from cvms.config.fields import setting, settings_class


@settings_class
class ListenSettings:
    """The port of the probes, and the time and number for which connections may be open."""

    admin_port: int | None = setting(
        "ADMIN_PORT",
        parse.optional(parse.integer(0, 65535)),
        default="",
        expected="a TCP port, 0 to 65535, or unset",
        about="A second TCP port on `HOST` that answers `/health`, `/ready`, `/ready/traffic` and "
        "`/metrics` only, with connections of its own: no client of `PORT` can take them",
    )
    keep_alive: float = setting(
        "KEEP_ALIVE_SECONDS",
        parse.seconds,
        default="75",
        expected="seconds, above 0",
        about="How long a connection without a request stays open. Longer than load balancers keep "
        "theirs, or they send requests on connections that are being closed",
    )
    connections: int = setting(
        "MAX_CONNECTIONS",
        parse.integer(16, 10**6),
        default="8192",
        expected="a whole number of connections, 16 to 1000000",
        about="Connections that a process may have open, three quarters of them WebSockets, if its "
        "limit of open files allows as many. A WebSocket takes about 43 KiB",
    )
    per_address: int = setting(
        "CONNECTIONS_PER_ADDRESS",
        parse.integer(1, 10**6),
        default="512",
        expected="a whole number of connections, 1 to 1000000",
        about="Connections that one address (an IPv6 /64) may have open, at most three quarters of "
        "all. `TRUSTED_PROXIES` may have any number",
    )


@settings_class
class TraceSettings:
    """Destination of traces."""

    endpoint: str | None = setting(
        "OTEL_EXPORTER_OTLP_ENDPOINT",
        parse.optional(parse.url("http", "https")),
        default="",
        expected="an http(s):// URL such as http://127.0.0.1:4318, or unset",
        about="Collector of OpenTelemetry to which traces are sent, as OTLP over HTTP: "
        "[docs/operations/logs.md](docs/operations/logs.md). Unset: nothing is traced",
        secret=True,
    )


@settings_class
class ReplicaSettings:
    """Streaming replicas of the database, and how far they may be behind it."""

    urls: tuple[str, ...] = setting(
        "DATABASE_READ_URLS",
        parse.replica_urls,
        default="",
        expected="postgresql://user:password@host/db, of one host each, separated by commas, "
        "or unset",
        about="Streaming replicas of `DATABASE_URL` that answer reads, as URLs of one host each, "
        "separated by commas: [docs/replicas.md](docs/replicas.md)",
        secret=True,
    )
    max_lag: float = setting(
        "DATABASE_READ_MAX_LAG_SECONDS",
        parse.seconds,
        default="10",
        expected="seconds, above 0",
        about="A replica that is further behind than this answers no reads",
    )
