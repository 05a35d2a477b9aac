"""Removal of secrets from lines, whoever wrote them.

Whoever logs takes care that a line has no secret. This holds where that fails: texts of libraries,
nodes and drivers quote URLs, which have keys in their path, query or password, and headers.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, MutableMapping
from typing import Any

HIDDEN = "…"

# The scheme and the host are shown. A path, query or fragment may be a key, and so may the user.
_URL = re.compile(
    r"\b(?P<scheme>(?:https?|wss?|postgres(?:ql)?|rediss?)://)(?:[^\s/?#'\"<>]*@)?"
    r"(?P<host>[^\s/?#'\"<>@,;)]*)(?P<rest>[/?#][^\s'\"<>]*)?",
    re.IGNORECASE,
)
_CREDENTIALS = re.compile(r"\b(?P<scheme>Bearer|Basic)\s+[\w.~+/=-]{8,}", re.IGNORECASE)
_JWT = re.compile(r"\beyJ[\w-]{8,}\.[\w-]{8,}\.[\w-]*")
# As in `password=…` of a connection string, `"token": "…"` of JSON and `?signature=…` of a path.
_NAMED = re.compile(
    r"(?P<name>\b(?:password|passwd|secret|token|api[-_]?key|authorization|pin-value)\b"
    r"[\"']?\s*[=:]\s*[\"']?|[?&][\w-]+=)[^\s\"'&;,]{4,}",
    re.IGNORECASE,
)
_SECRET_FIELDS = frozenset(
    {"password", "secret", "token", "api_key", "authorization", "nonce", "private_key"}
)
_SUSPICIOUS = ("://", "earer", "asic", "eyJ", "=", ":")


def redact(logger: Any, method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """Hide what may be a secret in every value of a line, as a processor of structlog."""
    return {
        name: HIDDEN if name in _SECRET_FIELDS else _redacted(value)
        for name, value in event.items()
    }


def redacted_text(text: str) -> str:
    """Return a text without what may be a secret."""
    if not any(each in text for each in _SUSPICIOUS):
        return text
    text = _URL.sub(_host_only, text)
    text = _CREDENTIALS.sub(lambda found: f"{found['scheme']} {HIDDEN}", text)
    text = _JWT.sub(HIDDEN, text)
    return _NAMED.sub(lambda found: f"{found['name']}{HIDDEN}", text)


def _host_only(found: re.Match[str]) -> str:
    rest = found["rest"]
    if rest is not None and "@" in rest:  # a password with a slash: what is before it is no host
        return f"{found['scheme']}{HIDDEN}"
    hidden = rest if rest in (None, "/") else f"/{HIDDEN}"
    return f"{found['scheme']}{found['host']}{hidden or ''}"


def _redacted(value: Any) -> Any:
    if isinstance(value, str):
        return redacted_text(value)
    if isinstance(value, Mapping):
        return {name: _redacted(each) for name, each in value.items()}
    if isinstance(value, list | tuple):
        return [_redacted(each) for each in value]
    return value
