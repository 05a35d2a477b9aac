"""A call's positional parameters: checked against the method's types, then read by the method."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeVar

from solders.hash import Hash, ParseHashError
from solders.pubkey import Pubkey
from solders.signature import Signature

from cvms.errors import RpcError
from cvms.localnet.rpc.call.rpc_errors import INVALID_PARAMS, invalid_params
from cvms.localnet.rpc.call.serde import Kind, NotOfType, Optional, describe
from cvms.localnet.types import Commitment, Json

KeyLike = TypeVar("KeyLike", Pubkey, Hash, Signature)


@dataclass(frozen=True, slots=True)
class CallOptions:
    """The options object of a call. Each method returns a default for an absent option."""

    fields: dict[str, Json]

    def commitment(self, name: str = "commitment") -> Commitment:
        value = self.fields.get(name)
        return Commitment.FINALIZED if value is None else Commitment(value)

    def number(self, name: str) -> int | None:
        value: int | None = self.fields.get(name)
        return value

    def flag(self, name: str, *, on: bool = False) -> bool:
        """Return an option, or `on` if it is absent."""
        value: bool | None = self.fields.get(name)
        return on if value is None else value

    def text(self, name: str, default: str) -> str:
        value: str | None = self.fields.get(name)
        return default if value is None else value

    def object(self, name: str) -> CallOptions | None:
        value = self.fields.get(name)
        return None if value is None else CallOptions(value)

    def items(self, name: str) -> list[Json]:
        return self.fields.get(name) or []


@dataclass(frozen=True, slots=True)
class Params:
    """The positional parameters of one call."""

    items: Sequence[Json]

    def at(self, index: int) -> Json:
        """Return a parameter, or None if the client omitted it."""
        return self.items[index] if index < len(self.items) else None

    def text(self, index: int) -> str:
        value: str = self.items[index]
        return value

    def integer(self, index: int) -> int:
        value: int = self.items[index]
        return value

    def list(self, index: int) -> list[Json]:
        return self.at(index) or []

    def pubkey(self, index: int) -> Pubkey:
        return read_pubkey(self.text(index))

    def options(self, index: int) -> CallOptions:
        return CallOptions(self.at(index) or {})


def check_params(given: Json, kinds: Sequence[Kind]) -> Params:
    """Read `params` (None, a list or an object) as a method with these types does.

    The last `Optional` ones may be omitted (`jsonrpc-derive`, `to_delegate.rs`). Raises RpcError.
    """
    if not kinds:
        if given or isinstance(given, dict):
            raise _details("No parameters were expected", _debug(given))
        return Params([])
    trailing = 0
    while trailing < len(kinds) and isinstance(kinds[-1 - trailing], Optional):
        trailing += 1
    try:
        if not trailing:
            return Params(_read_tuple(given, kinds))
        if isinstance(given, dict):
            raise invalid_params("`params` should be an array")
        values, required = given or [], len(kinds) - trailing
        if len(values) < required:
            raise invalid_params(f"`params` should have at least {required} argument(s)")
        if len(values) > len(kinds):
            expected = f"Expected from {required} to {len(kinds)} parameters."
            raise _details(expected, f'"Got: {len(values)}"')
        return Params([kind.read(value) for kind, value in zip(kinds, values, strict=False)])
    except NotOfType as error:
        raise invalid_params(f"Invalid params: {error}.") from None


def _read_tuple(given: Json, kinds: Sequence[Kind]) -> list[Json]:
    expected = f"a tuple of size {len(kinds)}"
    if not isinstance(given, list):
        raise NotOfType(f"invalid type: {describe(given)}, expected {expected}")
    found = [kind.read(value) for kind, value in zip(kinds, given, strict=False)]
    if len(given) != len(kinds):
        more = len(given) > len(kinds)
        wanted = "fewer elements in array" if more else expected
        raise NotOfType(f"invalid length {len(given)}, expected {wanted}")
    return found


def _details(message: str, data: str) -> RpcError:
    return RpcError(INVALID_PARAMS, f"Invalid parameters: {message}", data)


def _debug(params: Json) -> str:
    """Return parameters in Rust's notation for debugging, as far as it is told from JSON."""
    return f"{'Map' if isinstance(params, dict) else 'Array'}({json.dumps(params)})"


def read_pubkey(text: str) -> Pubkey:
    return read_key(Pubkey, text)


def read_signature(text: str) -> Signature:
    return read_key(Signature, text)


def read_key(kind: type[KeyLike], text: str, *, error: str = "Invalid param: {}") -> KeyLike:
    """Parse a base58 key. Raises RpcError with `error` and the reason."""
    try:
        return kind.from_string(text)
    except (ValueError, ParseHashError) as failure:
        reason = "WrongSize" if "size" in str(failure).lower() else "Invalid"
        raise invalid_params(error.format(reason)) from None
