"""What a transaction's record says that a program did: the reader's own view of it.

It shares no line with cvms/chain: the log is read word by word here, the IDL says what bytes mean.
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

# Native programs that run without a frame in the log: the three signature checks.
WITHOUT_FRAMES = frozenset(
    {
        "Ed25519SigVerify111111111111111111111111111",
        "KeccakSecp256k11111111111111111111111111111",
        "Secp256r1SigVerify1111111111111111111111111",
    }
)


class CannotRead(AssertionError):
    """The reader does not understand the chain, so it cannot judge the books."""


@dataclass(frozen=True, slots=True)
class Call:
    """One run of the program: its instruction, and the data fields it logged with their numbers."""

    instruction_index: int
    data: bytes
    accounts: tuple[str, ...]
    fields: tuple[tuple[int, bytes], ...]


def calls_of(entry: Entry, program: Pubkey) -> list[Call]:
    """Every run of `program` in a transaction that succeeded, in the order of their beginnings."""
    if entry.err is not None:
        return []
    executed = list(_instructions(entry, program))
    logged = _frames(entry.meta["logMessages"], str(program), _top_level(entry))
    if [index for index, *_ in executed] != [index for index, _ in logged]:
        raise CannotRead(f"{entry.signature}: its log and its instructions do not agree")
    return [
        Call(index, data, accounts, tuple(fields))
        for (index, data, accounts), (_, fields) in zip(executed, logged, strict=True)
    ]


def _top_level(entry: Entry) -> list[str]:
    message = VersionedTransaction.from_bytes(entry.wire).message
    return [str(entry.keys[each.program_id_index]) for each in message.instructions]


def _instructions(entry: Entry, program: Pubkey) -> Iterator[tuple[int, bytes, tuple[str, ...]]]:
    """The program's instructions, each after the one that called it."""
    message = VersionedTransaction.from_bytes(entry.wire).message
    inner = {group["index"]: group["instructions"] for group in entry.meta["innerInstructions"]}
    for index, outer in enumerate(message.instructions):
        if entry.keys[outer.program_id_index] == program:
            yield index, bytes(outer.data), _names(entry, bytes(outer.accounts))
        for each in inner.get(index, ()):
            if entry.keys[each["programIdIndex"]] == program:
                yield index, b58decode(each["data"].encode()), _names(entry, each["accounts"])


def _names(entry: Entry, positions: Sequence[int]) -> tuple[str, ...]:
    return tuple(str(entry.keys[position]) for position in positions)


Fields = list[tuple[int, bytes]]


def _frames(
    lines: Sequence[str], program: str, top_level: Sequence[str]
) -> list[tuple[int, Fields]]:
    """For each frame of the program its top-level index and its data, by a stack of open frames."""
    outer = iter([at for at, name in enumerate(top_level) if name not in WITHOUT_FRAMES])
    found: list[tuple[int, Fields]] = []
    stack: list[tuple[str, Fields]] = []
    index, numbers = -1, itertools.count()
    for line in lines:
        match line.split(" "):
            case ["Log", "truncated"]:
                raise CannotRead("the chain's own log is cut short")
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
        raise CannotRead("frames and instructions of a transaction do not agree")
    return found


class Vocabulary:
    """The program's events, instructions and accounts by what their first eight bytes are."""

    def __init__(self, name: str = "collateral_vault") -> None:
        self._idl = idl(name)
        self._events = {bytes(each["discriminator"]): each["name"] for each in self._idl["events"]}
        self._accounts = {
            each["name"]: bytes(each["discriminator"]) for each in self._idl["accounts"]
        }

    def event(self, data: bytes) -> tuple[str, dict[str, Any]] | None:
        """The event's name and fields; None for other data."""
        name = self._events.get(data[:8])
        if name is None:
            return None
        fields, left = read_struct(self._idl, name, data[8:])
        if left:
            raise CannotRead(f"a {name} with {len(left)} bytes more than its fields")
        return name, fields

    def account(self, name: str, data: bytes) -> dict[str, Any]:
        """The account's fields."""
        if data[:8] != self._accounts[name]:
            raise CannotRead(f"an account that is not a {name}")
        fields, _ = read_struct(self._idl, name, data[8:])
        return fields


def is_instruction(data: bytes, name: str) -> bool:
    """Whether an instruction's data begins with Anchor's name for it."""
    return data[:8] == hashlib.sha256(f"global:{name}".encode()).digest()[:8]
