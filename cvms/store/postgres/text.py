"""Texts of others, such as errors of nodes, as PostgreSQL can store them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

# PostgreSQL stores neither NUL, also not in JSONB, nor surrogates, which are no characters.
_NOT_STORABLE = re.compile("[\0\ud800-\udfff]")
REPLACEMENT = "\N{REPLACEMENT CHARACTER}"


def storable(text: str) -> str:
    """Return the text with a replacement for each character that PostgreSQL does not store."""
    return _NOT_STORABLE.sub(REPLACEMENT, text)


def storable_json(value: Any) -> Any:
    """Return the JSON value with storable texts, at every depth."""
    match value:
        case str():
            return storable(value)
        case Mapping():
            return {storable(key): storable_json(each) for key, each in value.items()}
        case list() | tuple():
            return [storable_json(each) for each in value]
        case _:
            return value
