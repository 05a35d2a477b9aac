"""Kinds of outages of the database: words that may be shown to anybody, unlike libpq's."""

from __future__ import annotations

import re

import psycopg

from cvms.errors import DatabaseUnavailable

# Classes and codes of SQLSTATE, https://www.postgresql.org/docs/current/errcodes-appendix.html
_STATES = {
    "25006": "read_only",
    "28": "authentication",
    "3D000": "no_such_database",
    "53100": "disk_full",
    "53300": "too_many_connections",
    "57P03": "starting",
    "57P": "connection_lost",
    "57014": "timeout",
    "08": "connection_lost",
}
# A connection that fails has no SQLSTATE in libpq, and the circuit breaker keeps the text only.
# Several hosts may fail in several ways: what a person has to correct comes first.
_WORDS = {
    "authentication": r"authentication|no password supplied|pg_hba|role \"\" does not exist"
    r"|not permitted to log in|permission denied for database",
    "no_such_database": r"database \"\" does not exist",
    "disk_full": r"no space left|free disk space",
    "read_only": r"read-only",
    "too_many_connections": r"too many (clients|connections)|connection slots are reserved",
    "starting": r"starting up|shutting down|not yet accepting|in recovery mode",
    "tls": r"\bssl\b|certificate",
    "no_schema": r"schema is not applied",
    "name_not_resolved": r"cannot resolve|could not translate|did not resolve",
    "busy": r"no connection came free",
    "timeout": r"did not answer|no answer|timeout|timed out",
    "refused": r"refused|no such file or directory",
    "connection_lost": r"closed the connection|terminating connection|was lost|is closed|reset by",
}


def kind_of(error: DatabaseUnavailable) -> str:
    """Return the kind of an outage; `unavailable` for any other, or one in another language."""
    cause = error.__cause__
    state = cause.sqlstate if isinstance(cause, psycopg.Error) else None
    for prefix, kind in _STATES.items():
        if state is not None and state.startswith(prefix):
            return kind
    text = re.sub(r'"[^"]*"', '""', str(error)).lower()  # names may have any words
    return next((kind for kind, words in _WORDS.items() if re.search(words, text)), "unavailable")
