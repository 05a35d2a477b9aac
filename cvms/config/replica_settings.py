"""Settings of the databases that are only read from."""

from __future__ import annotations

from cvms.config import parsers as parse
from cvms.config.fields import setting, settings_class


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
