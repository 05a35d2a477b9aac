"""The schemas of bodies, queries and replies, in the words that generators of clients understand.

msgspec makes them from the types that validate and encode. Here they lose what stops a generator:
Python's own syntax of patterns, unions, integers of unknown size, fields of replies that pass for
optional because they have a default.
"""

from __future__ import annotations

import inspect
from collections.abc import Collection, Iterable, Iterator
from typing import Any

import msgspec
from msgspec import inspect as types
from solders.pubkey import Pubkey

from cvms.amounts import MARK
from cvms.http.framework.request import MAX_AMOUNT, Exact, TokenAmount, WholeNumber

Schema = dict[str, Any]

REF = "#/components/schemas/{name}"
MAX_INT32 = 2**31 - 1

PUBKEY: Schema = {
    "type": "string",
    "description": "Public key in base58",
    "format": "solana-pubkey",
    "pattern": "^[1-9A-HJ-NP-Za-km-z]{32,44}$",
}


class ComponentSchemas:
    """The components of these types, and a reference to each type."""

    def __init__(self, *, requests: Iterable[Any], replies: Iterable[Any]) -> None:
        kinds = [*requests, *replies]
        refs, self.components = msgspec.json.schema_components(
            kinds, schema_hook=schema_of, ref_template=REF
        )
        self._refs = dict(zip(kinds, refs, strict=True))
        times = set(_times(types.multi_type_info(kinds)))
        for name, schema in self.components.items():
            _simplify_component(schema, {field for kind, field in times if kind == name})

    def of(self, kind: Any) -> Schema:
        """Return the schema of one of the types."""
        schema: Schema = self._refs[kind]
        return schema

    def component_of(self, kind: Any) -> Schema:
        """Return the component that the type's schema refers to."""
        component: Schema = self.components[self._refs[kind]["$ref"].rpartition("/")[2]]
        return component


def schema_of(kind: type) -> Schema:
    """Return the schema of a type that msgspec does not know."""
    if kind is Pubkey:
        return PUBKEY
    if issubclass(kind, WholeNumber):
        return _whole_number(kind)
    if kind is Exact:
        return {"type": "number"}
    raise NotImplementedError(kind)


def _whole_number(kind: type[WholeNumber]) -> Schema:
    amount = {MARK: True} if kind is TokenAmount else {}
    description = f"Whole number{kind.unit}; a string of its digits is accepted too"
    bounds = {"minimum": kind.least, "maximum": kind.most}
    return {"type": "integer", "description": description, **bounds, **amount}


def _simplify_component(schema: Schema, times: Collection[str]) -> None:
    schema.pop("title", None)
    if "description" in schema:
        schema["description"] = inspect.cleandoc(schema["description"])
    if "enum" in schema:
        schema["type"] = "string"
    is_input = schema.get("additionalProperties") is False
    for name, field in schema.get("properties", {}).items():
        if is_input:
            schema["properties"][name] = _simplify(_without_null(field))
        else:
            if "default" in field:
                del field["default"]
                schema["required"].append(name)
            schema["properties"][name] = _simplify(field, is_time=name in times)
    if not schema.get("required", True):
        del schema["required"]


def _without_null(field: Schema) -> Schema:
    """Return the schema of an input: what is optional is left out, and not sent as null."""
    match field:
        case {"anyOf": [dict() as only, {"type": "null"}], "default": None, **others}:
            return others | only
    return field


def _simplify(field: Schema, *, is_time: bool = False) -> Schema:
    if "anyOf" in field:
        return _nullable(field, is_time=is_time)
    simple = dict(field)
    for key in ("items", "additionalProperties"):
        if isinstance(simple.get(key), dict):
            simple[key] = _simplify(simple[key])
    if "enum" in simple:
        simple["type"] = "string"
    if "pattern" in simple:  # ECMA-262 knows no other end of a text
        simple["pattern"] = simple["pattern"].replace(r"\Z", "$")
    if simple.get("type") == "integer":
        simple["format"] = "int32" if _is_int32(simple) else "int64"
    elif simple.get("type") == "number":
        simple["format"] = "double"
    elif is_time:
        simple["format"] = "date-time"
    return simple


def _nullable(field: Schema, *, is_time: bool) -> Schema:
    """Return the schema of a value or null. Raises NotImplementedError for any other union."""
    match field["anyOf"]:
        case [{"$ref": _}, {"type": "null"}]:
            return field
        case [{"anyOf": _}, _] | [_, _, _, *_]:
            pass
        case [only, {"type": "null"}]:
            simple = _simplify(only, is_time=is_time)
            return simple | {"type": [simple["type"], "null"]}
    raise NotImplementedError(f"generators of clients do not know this union: {field}")


def _is_int32(field: Schema) -> bool:
    least, most = field.get("minimum", -MAX_AMOUNT), field.get("maximum", MAX_AMOUNT)
    return bool(least >= -MAX_INT32 and most <= MAX_INT32)


def _times(kinds: Iterable[types.Type]) -> Iterator[tuple[str, str]]:
    """Yield the type and the field of each time: msgspec calls them strings."""
    for kind in kinds:
        match kind:
            case types.StructType() | types.DataclassType():
                for field in kind.fields:
                    if _is_time(field.type):
                        yield kind.cls.__name__, field.encode_name
                    yield from _times([field.type])
            case types.CollectionType():
                yield from _times([kind.item_type])
            case types.DictType():
                yield from _times([kind.value_type])
            case types.UnionType():
                yield from _times(kind.types)


def _is_time(kind: types.Type) -> bool:
    match kind:
        case types.DateTimeType():
            return True
        case types.UnionType():
            return any(map(_is_time, kind.types))
        case types.Metadata():
            return _is_time(kind.type)
    return False
