"""Calls of a program and their events, read from the record of a transaction.

This reader is independent of cvms/chain: it parses the log itself, and decodes bytes by the IDL.
"""

from __future__ import annotations

import base64
import hashlib
import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from based58 import b58decode
from solders.pubkey import Pubkey
from solders.transaction import VersionedTransaction

from cvms.localnet.types import Entry
from tests.chain.program.idl_borsh import idl, read_struct

# Native programs without a frame in the log: the precompiles that check signatures.
WITHOUT_FRAMES = frozenset(
    {
        "Ed25519SigVerify111111111111111111111111111",
        "KeccakSecp256k11111111111111111111111111111",
        "Secp256r1SigVerify1111111111111111111111111",
    }
)


class CannotRead(AssertionError):
    """The reader cannot interpret the chain, so the tables cannot be checked."""


@dataclass(frozen=True, slots=True)
class Call:
    """One call of the program: its instruction, and the numbered data fields that it logged."""

    instruction_index: int
    data: bytes
    accounts: tuple[str, ...]
    fields: tuple[tuple[int, bytes], ...]


def calls_of(entry: Entry, program: Pubkey) -> list[Call]:
    """Return every call of `program` in a successful transaction, in order of invocation."""
    if entry.err is not None:
        return []
    executed = list(_instructions(entry, program))
    logged = _frames(entry.meta["logMessages"], str(program), _top_level(entry))
    if [index for index, *_ in executed] != [index for index, _ in logged]:
        raise CannotRead(f"{entry.signature}: log and instructions do not match")
    return [
        Call(index, data, accounts, tuple(fields))
        for (index, data, accounts), (_, fields) in zip(executed, logged, strict=True)
    ]


def _top_level(entry: Entry) -> list[str]:
    message = VersionedTransaction.from_bytes(entry.wire).message
    return [str(entry.keys[step.program_id_index]) for step in message.instructions]


def _instructions(entry: Entry, program: Pubkey) -> Iterator[tuple[int, bytes, tuple[str, ...]]]:
    """Yield the program's instructions, each after the one that called it."""
    message = VersionedTransaction.from_bytes(entry.wire).message
    inner = {group["index"]: group["instructions"] for group in entry.meta["innerInstructions"]}
    for index, outer in enumerate(message.instructions):
        if entry.keys[outer.program_id_index] == program:
            yield index, bytes(outer.data), _names(entry, bytes(outer.accounts))
        for step in inner.get(index, ()):
            if entry.keys[step["programIdIndex"]] == program:
                yield index, b58decode(step["data"].encode()), _names(entry, step["accounts"])


def _names(entry: Entry, positions: Sequence[int]) -> tuple[str, ...]:
    return tuple(str(entry.keys[position]) for position in positions)


Fields = list[tuple[int, bytes]]


def _frames(
    lines: Sequence[str], program: str, top_level: Sequence[str]
) -> list[tuple[int, Fields]]:
    """Return the top-level index and the data fields of each frame of the program."""
    outer = iter([at for at, name in enumerate(top_level) if name not in WITHOUT_FRAMES])
    found: list[tuple[int, Fields]] = []
    stack: list[tuple[str, Fields]] = []
    index, numbers = -1, itertools.count()
    for line in lines:
        match line.split(" "):
            case ["Log", "truncated"]:
                raise CannotRead("the chain's own log is truncated")
            case ["Program", "data:", *texts] if stack and stack[-1][0] == program:
                stack[-1][1].extend((next(numbers), base64.b64decode(text)) for text in texts)
            case ["Program", name, "invoke", depth] if depth == f"[{len(stack) + 1}]":
                if not stack:
                    index, numbers = next(outer), itertools.count()
                stack.append((name, []))
                if name == program:
                    found.append((index, stack[-1][1]))
            case ["Program", name, "success"] if stack and stack[-1][0] == name:
                stack.pop()
    if stack or next(outer, None) is not None:
        raise CannotRead("frames and instructions of a transaction do not match")
    return found


class EventDecoder:
    """Decoder of the program's events and accounts, by their eight-byte discriminators."""

    def __init__(self, name: str = "collateral_vault") -> None:
        self._idl = idl(name)
        events, accounts = self._idl["events"], self._idl["accounts"]
        self._events = {bytes(item["discriminator"]): item["name"] for item in events}
        self._accounts = {item["name"]: bytes(item["discriminator"]) for item in accounts}

    def event(self, data: bytes) -> tuple[str, dict[str, Any]] | None:
        """Return the event's name and fields, None if the data is no event."""
        name = self._events.get(data[:8])
        if name is None:
            return None
        fields, left = read_struct(self._idl, name, data[8:])
        if left:
            raise CannotRead(f"a {name} with {len(left)} extra bytes")
        return name, fields

    def account(self, name: str, data: bytes) -> dict[str, Any]:
        """Return the account's fields."""
        if data[:8] != self._accounts[name]:
            raise CannotRead(f"an account that is not a {name}")
        fields, _ = read_struct(self._idl, name, data[8:])
        return fields


def is_instruction(data: bytes, name: str) -> bool:
    """Return whether an instruction's data begins with the discriminator of `name`."""
    return data[:8] == hashlib.sha256(f"global:{name}".encode()).digest()[:8]
