"""Amounts in replies: the type that marks them, and how they become strings.

A JSON number above 2^53 is not exact in JavaScript. Whoever asks for it gets the amounts of a reply
as strings; which fields that are is said by the types of the replies and nowhere else.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cache
from typing import Annotated, Any

import msgspec
from msgspec import inspect

MARK = "x-amount"

Amount = Annotated[int, msgspec.Meta(extra_json_schema={MARK: True})]
"""An amount, or a sum or difference of amounts, in the token's smallest unit."""

Rewrite = Callable[[Any], Any]
"""Returns a decoded value with strings for amounts; null stays null."""


@cache
def amounts_to_strings(kind: Any) -> Rewrite | None:
    """Return what rewrites replies of this type, None if they have no amounts."""
    return None if kind is None else _rewrite(inspect.type_info(kind))


def _rewrite(kind: inspect.Type) -> Rewrite | None:
    match kind:
        case inspect.Metadata():
            return str if MARK in (kind.extra_json_schema or {}) else _rewrite(kind.type)
        case inspect.UnionType():
            return _optional(next(filter(None, map(_rewrite, kind.types)), None))
        case inspect.CollectionType():
            return _each(_rewrite(kind.item_type))
        case inspect.DictType():
            return _values(_rewrite(kind.value_type))
        case inspect.StructType() | inspect.DataclassType():
            found = {field.encode_name: _rewrite(field.type) for field in kind.fields}
            return _fields({name: rewrite for name, rewrite in found.items() if rewrite})
    return None


def _optional(rewrite: Rewrite | None) -> Rewrite | None:
    return rewrite and (lambda value: None if value is None else rewrite(value))


def _each(rewrite: Rewrite | None) -> Rewrite | None:
    return rewrite and (lambda items: [rewrite(item) for item in items])


def _values(rewrite: Rewrite | None) -> Rewrite | None:
    return rewrite and (lambda items: {name: rewrite(item) for name, item in items.items()})


def _fields(rewrites: Mapping[str, Rewrite]) -> Rewrite | None:
    def rewrite(value: dict[str, Any]) -> dict[str, Any]:
        return {
            name: rewrites[name](field) if name in rewrites else field
            for name, field in value.items()
        }

    return rewrite if rewrites else None
