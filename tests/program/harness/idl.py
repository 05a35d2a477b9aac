"""A small Borsh codec driven by an IDL, independent of the codec under test."""

import json
from dataclasses import dataclass
from typing import Any

from solders.pubkey import Pubkey

from tests.paths import IDL

INTEGERS = {
    "u8": (1, False),
    "u32": (4, False),
    "u64": (8, False),
    "u128": (16, False),
    "i64": (8, True),
}


@dataclass(slots=True)
class Cursor:
    data: bytes
    at: int = 0

    def take(self, length: int) -> bytes:
        part = self.data[self.at : self.at + length]
        assert len(part) == length, "the data end early"
        self.at += length
        return part


def read_scalar(kind: str, cursor: Cursor) -> Any:
    if kind == "pubkey":
        return Pubkey.from_bytes(cursor.take(32))
    if kind == "bool":
        return {0: False, 1: True}[cursor.take(1)[0]]
    size, signed = INTEGERS[kind]
    return int.from_bytes(cursor.take(size), "little", signed=signed)


def write_scalar(kind: str, value: Any) -> bytes:
    if kind in {"pubkey", "bool"}:
        return bytes(value) if kind == "pubkey" else bytes([value])
    size, signed = INTEGERS[kind]
    return int(value).to_bytes(size, "little", signed=signed)


class Idl:
    """A codec. Structs are dicts in field order, options None or a value.

    Enums are the names of their variants, or a pair of the name and the variant's fields.
    """

    def __init__(self, program: str) -> None:
        content = json.loads((IDL / f"{program}.json").read_text())
        self.types = {entry["name"]: entry["type"] for entry in content["types"]}
        self.instructions = {entry["name"]: entry for entry in content["instructions"]}
        self.accounts = {
            entry["name"]: bytes(entry["discriminator"]) for entry in content["accounts"]
        }
        self.events = {bytes(entry["discriminator"]): entry["name"] for entry in content["events"]}
        self.errors = {entry["code"]: entry for entry in content["errors"]}

    def read(self, kind: Any, cursor: Cursor) -> Any:
        match kind:
            case str():
                return read_scalar(kind, cursor)
            case {"vec": item}:
                return [self.read(item, cursor) for _ in range(read_scalar("u32", cursor))]
            case {"array": ["u8", length]}:
                return cursor.take(length)
            case {"option": item}:
                return self.read(item, cursor) if read_scalar("bool", cursor) else None
            case {"defined": {"name": name}}:
                return self.read_defined(name, cursor)
        raise AssertionError(f"unknown type {kind}")

    def read_defined(self, name: str, cursor: Cursor) -> Any:
        kind = self.types[name]
        if kind["kind"] == "enum":
            variant = kind["variants"][read_scalar("u8", cursor)]
            if "fields" not in variant:
                return variant["name"]
            return variant["name"], self.read_fields(variant["fields"], cursor)
        return self.read_fields(kind["fields"], cursor)

    def read_fields(self, kinds: list[Any], cursor: Cursor) -> dict[str, Any]:
        return {kind["name"]: self.read(kind["type"], cursor) for kind in kinds}

    def write(self, kind: Any, value: Any) -> bytes:
        match kind:
            case str():
                return write_scalar(kind, value)
            case {"vec": item}:
                entries = b"".join(self.write(item, entry) for entry in value)
                return write_scalar("u32", len(value)) + entries
            case {"array": ["u8", length]}:
                assert len(value) == length
                return bytes(value)
            case {"option": item}:
                return b"\0" if value is None else b"\1" + self.write(item, value)
            case {"defined": {"name": name}} if self.types[name]["kind"] == "enum":
                return self.write_enum(name, *value)
            case {"defined": {"name": name}}:
                return self.write_struct(name, value)
        raise AssertionError(f"unknown type {kind}")

    def write_enum(self, name: str, variant: str, fields: dict[str, Any]) -> bytes:
        variants = self.types[name]["variants"]
        number = [each["name"] for each in variants].index(variant)
        return bytes([number]) + self.write_fields(variants[number]["fields"], fields)

    def write_struct(self, name: str, fields: dict[str, Any]) -> bytes:
        return self.write_fields(self.types[name]["fields"], fields)

    def write_fields(self, kinds: list[Any], fields: dict[str, Any]) -> bytes:
        return b"".join(self.write(kind["type"], fields[kind["name"]]) for kind in kinds)

    def decode_account(self, name: str, data: bytes) -> dict[str, Any]:
        cursor = Cursor(data)
        assert cursor.take(8) == self.accounts[name]
        fields: dict[str, Any] = self.read_defined(name, cursor)
        assert not any(cursor.data[cursor.at :]), "bytes behind the account's fields"
        return fields

    def encode_account(self, name: str, fields: dict[str, Any], length: int = 0) -> bytes:
        return (self.accounts[name] + self.write_struct(name, fields)).ljust(length, b"\0")

    def decode_event(self, data: bytes) -> tuple[str, dict[str, Any]]:
        cursor = Cursor(data)
        name = self.events[cursor.take(8)]
        fields: dict[str, Any] = self.read_defined(name, cursor)
        assert cursor.at == len(data), "bytes behind the event's fields"
        return name, fields

    def instruction_data(self, name: str, arguments: dict[str, Any]) -> bytes:
        instruction = self.instructions[name]
        data = bytes(instruction["discriminator"])
        for argument in instruction["args"]:
            data += self.write(argument["type"], arguments[argument["name"]])
        return data
