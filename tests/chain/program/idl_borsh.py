"""Independent reader of Borsh, which knows only the types of the IDL."""

from __future__ import annotations

import json
import struct
from importlib import resources
from typing import Any

from solders.pubkey import Pubkey

_NUMBERS = {"u8": "<B", "u16": "<H", "u32": "<I", "u64": "<Q", "i64": "<q"}


def idl(name: str) -> dict[str, Any]:
    raw: dict[str, Any] = json.loads(
        resources.files("cvms.chain.program.idl").joinpath(f"{name}.json").read_text()
    )
    return raw


def fields_of(program: dict[str, Any], name: str) -> list[dict[str, Any]]:
    [entry] = [each for each in program["types"] if each["name"] == name]
    fields: list[dict[str, Any]] = entry["type"]["fields"]
    return fields


def read_struct(program: dict[str, Any], name: str, data: bytes) -> tuple[dict[str, Any], bytes]:
    """Return the fields as JSON-like values (keys in base58), and the remaining bytes."""
    return _read_fields(program, fields_of(program, name), data)


def instruction_of(program: dict[str, Any], name: str) -> dict[str, Any]:
    entries: list[dict[str, Any]] = program["instructions"]
    [entry] = [each for each in entries if each["name"] == name]
    return entry


def read_arguments(program: dict[str, Any], name: str, data: bytes) -> tuple[dict[str, Any], bytes]:
    """Return an instruction's arguments by name, and the remaining bytes."""
    return _read_fields(program, instruction_of(program, name)["args"], data)


def _read(program: dict[str, Any], kind: Any, data: bytes) -> tuple[Any, bytes]:
    if isinstance(kind, str) and kind in _NUMBERS:
        size = struct.calcsize(_NUMBERS[kind])
        return struct.unpack(_NUMBERS[kind], data[:size])[0], data[size:]
    if kind == "u128":
        return int.from_bytes(data[:16], "little"), data[16:]
    if kind == "bool":
        return bool(data[0]), data[1:]
    if kind == "pubkey":
        return str(Pubkey(data[:32])), data[32:]
    if "defined" in kind:
        return _read_defined(program, kind["defined"]["name"], data)
    return _read_container(program, kind, data)


def _read_container(
    program: dict[str, Any], kind: dict[str, Any], data: bytes
) -> tuple[Any, bytes]:
    if "option" in kind:
        present, data = _read(program, "bool", data)
        return _read(program, kind["option"], data) if present else (None, data)
    if "vec" in kind:
        count, data = _read(program, "u32", data)
        return _read_many(program, kind["vec"], count, data)
    item, count = kind["array"]
    return _read_many(program, item, count, data)


def _read_many(
    program: dict[str, Any], kind: Any, count: int, data: bytes
) -> tuple[list[Any], bytes]:
    items = []
    for _ in range(count):
        item, data = _read(program, kind, data)
        items.append(item)
    return items, data


def _read_defined(program: dict[str, Any], name: str, data: bytes) -> tuple[Any, bytes]:
    [entry] = [each for each in program["types"] if each["name"] == name]
    if entry["type"]["kind"] == "enum":
        variant = entry["type"]["variants"][data[0]]
        if "fields" not in variant:
            return variant["name"], data[1:]
        values, data = _read_fields(program, variant["fields"], data[1:])
        return {variant["name"]: values}, data
    return read_struct(program, name, data)


def _read_fields(
    program: dict[str, Any], fields: list[dict[str, Any]], data: bytes
) -> tuple[dict[str, Any], bytes]:
    values = {}
    for field in fields:
        values[field["name"]], data = _read(program, field["type"], data)
    return values, data
