"""Dumper of lists as arrays, several times as fast as psycopg's for texts, integers and times.

psycopg dumps each element by itself and looks whether it needs quotes. Here texts are escaped all
at once and always quoted, and a time in UTC that many rows share is formatted once. In other zones
two times that compare as equal may be an hour apart.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime
from types import NoneType
from typing import Any

from psycopg.abc import Buffer
from psycopg.types.array import ListDumper

_SEPARATOR = "\0"
"""PostgreSQL's texts cannot contain it."""


class ArrayDumper(ListDumper):
    """Dumps flat lists of one type; all others are left to psycopg, and what it raises."""

    def dump(self, obj: list[Any]) -> Buffer | None:
        types = set(map(type, obj))
        if types and all(issubclass(each, str) for each in types):
            return _texts(obj) or super().dump(obj)
        types.discard(NoneType)
        if types == {int}:
            return _joined("NULL" if each is None else str(each) for each in obj)
        if types == {datetime} and all(each is None or each.tzinfo is UTC for each in obj):
            shown = {each: "NULL" if each is None else f'"{each}"' for each in set(obj)}
            return _joined(map(shown.__getitem__, obj))
        return super().dump(obj)


def _texts(values: list[str]) -> bytes | None:
    """Return the array, or None if a value contains the separator."""
    joined = _SEPARATOR.join(values)
    if joined.count(_SEPARATOR) != len(values) - 1:
        return None
    escaped = joined.replace("\\", "\\\\").replace('"', '\\"').replace(_SEPARATOR, '","')
    return f'{{"{escaped}"}}'.encode()


def _joined(items: Iterable[str]) -> bytes:
    return f"{{{','.join(items)}}}".encode()
