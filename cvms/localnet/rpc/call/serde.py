"""JSON parameters as a validator reads them: types declared as values, errors in serde's words.

Agave declares its parameters as Rust types and lets serde parse them. Each class here is one way
in which serde reads a JSON value (`serde`, `serde_json` 1.0, and the code `serde_derive` writes).
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from cvms.errors import CvmsError
from cvms.localnet.types import Json

MIN_I64 = -(2**63)
MAX_U64 = 2**64 - 1


class NotOfType(CvmsError):
    """A JSON value is not of the declared type. The text is that of serde's error."""


class Kind(Protocol):
    """A type of JSON values."""

    def read(self, value: Json) -> Json:
        """Return the value without what a validator ignores. Raises NotOfType."""
        ...


def invalid_type(value: Json, expected: str) -> NotOfType:
    return NotOfType(f"invalid type: {describe(value)}, expected {expected}")


def describe(value: Json) -> str:
    """Return serde's description of an unexpected value."""
    if isinstance(value, bool):
        return f"boolean `{str(value).lower()}`"
    if isinstance(value, int) and MIN_I64 <= value <= MAX_U64:
        return f"integer `{value}`"
    if isinstance(value, int | float):
        return f"floating point `{float(value)!r}`"
    if isinstance(value, str):
        return f"string {json.dumps(value, ensure_ascii=False)}"
    return {type(None): "null", list: "sequence"}.get(type(value), "map")


@dataclass(frozen=True, slots=True)
class Unsigned:
    """An unsigned integer of the Rust type `name`."""

    name: str
    maximum: int = MAX_U64

    def read(self, value: Json) -> Json:
        whole = isinstance(value, int) and not isinstance(value, bool)
        if not whole or not MIN_I64 <= value <= MAX_U64:
            raise invalid_type(value, self.name)
        if not 0 <= value <= self.maximum:
            raise NotOfType(f"invalid value: {describe(value)}, expected {self.name}")
        return value


@dataclass(frozen=True, slots=True)
class Bool:
    def read(self, value: Json) -> Json:
        if not isinstance(value, bool):
            raise invalid_type(value, "a boolean")
        return value


@dataclass(frozen=True, slots=True)
class Text:
    def read(self, value: Json) -> Json:
        if not isinstance(value, str):
            raise invalid_type(value, "a string")
        return value


@dataclass(frozen=True, slots=True)
class Array:
    """A `Vec`."""

    item: Kind

    def read(self, value: Json) -> Json:
        if not isinstance(value, list):
            raise invalid_type(value, "a sequence")
        return [self.item.read(each) for each in value]


@dataclass(frozen=True, slots=True)
class Optional:
    """An `Option`: null is None."""

    some: Kind

    def read(self, value: Json) -> Json:
        return None if value is None else self.some.read(value)


@dataclass(frozen=True, slots=True)
class Lenient:
    """A flattened `Option`: a value of another type counts as absent."""

    some: Kind

    def read(self, value: Json) -> Json:
        try:
            return self.some.read(value)
        except NotOfType:
            return None


@dataclass(frozen=True, slots=True)
class Default:
    """A field with `#[serde(default)]`: it may be absent, but not null."""

    some: Kind
    value: Json

    def read(self, value: Json) -> Json:
        return self.some.read(value)


@dataclass(frozen=True, slots=True)
class Enum:
    """An externally tagged enum: a unit variant is its name, another one is `{name: value}`."""

    variants: Mapping[str, Kind | None]

    def read(self, value: Json) -> Json:
        if isinstance(value, str):
            if self._variant(value) is not None:
                raise NotOfType("invalid type: unit variant, expected newtype variant")
            return value
        if not isinstance(value, dict):
            raise invalid_type(value, "string or map")
        if len(value) != 1:
            raise NotOfType("invalid value: map, expected map with a single key")
        [(name, content)] = value.items()
        kind = self._variant(name)
        if kind is not None:
            return {name: kind.read(content)}
        if content is not None:
            raise invalid_type(content, "unit")
        return name

    def _variant(self, name: str) -> Kind | None:
        if name not in self.variants:
            quoted = [f"`{each}`" for each in self.variants]
            one_of = "one of " + ", ".join(quoted) if len(quoted) > 2 else " or ".join(quoted)
            raise NotOfType(f"unknown variant `{name}`, expected {one_of}")
        return self.variants[name]


def names(*variants: str) -> Enum:
    """Return an enum of unit variants."""
    return Enum(dict.fromkeys(variants))


@dataclass(frozen=True, slots=True)
class Struct:
    """A struct. One with a flattened field is read from a map only, another also from an array."""

    name: str
    fields: Mapping[str, Kind]
    flattened: bool = False

    def read(self, value: Json) -> Json:
        if isinstance(value, list) and not self.flattened:
            return self._read_array(value)
        if not isinstance(value, dict):
            raise invalid_type(value, f"struct {self.name}")
        found = {
            field: self.fields[field].read(value[field])
            for field in sorted(value)
            if field in self.fields
        }
        return {
            field: found[field] if field in found else _absent(field, kind)
            for field, kind in self.fields.items()
        }

    def _read_array(self, values: list[Json]) -> Json:
        found: dict[str, Json] = {}
        for index, (field, kind) in enumerate(self.fields.items()):
            if index < len(values):
                found[field] = kind.read(values[index])
            elif isinstance(kind, Default):
                found[field] = kind.value
            else:
                elements = f"{len(self.fields)} element{'s' if len(self.fields) > 1 else ''}"
                raise NotOfType(
                    f"invalid length {index}, expected struct {self.name} with {elements}"
                )
        if len(values) > len(self.fields):
            raise NotOfType(f"invalid length {len(values)}, expected fewer elements in array")
        return found


def _absent(field: str, kind: Kind) -> Json:
    if isinstance(kind, Default):
        return kind.value
    if not isinstance(kind, Optional | Lenient):
        raise NotOfType(f"missing field `{field}`")
    return None


@dataclass(frozen=True, slots=True)
class Untagged:
    """An untagged enum: the first variant that can be read. Each may change what it reads."""

    name: str
    variants: Sequence[Kind]

    def read(self, value: Json) -> Json:
        for variant in self.variants:
            try:
                return variant.read(value)
            except NotOfType:
                continue
        raise NotOfType(f"data did not match any variant of untagged enum {self.name}")


@dataclass(frozen=True, slots=True)
class Wrapped:
    """A value that stands for a struct with only this field."""

    field: str
    some: Kind

    def read(self, value: Json) -> Json:
        return {self.field: self.some.read(value)}
