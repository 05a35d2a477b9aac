"""Parsing of a call's positional parameters. Errors have the texts of an Agave node."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeVar

from solders.hash import Hash, ParseHashError
from solders.pubkey import Pubkey
from solders.signature import Signature

from cvms.localnet.rpc.call.rpc_errors import invalid_params
from cvms.localnet.types import Commitment, Json

KeyLike = TypeVar("KeyLike", Pubkey, Hash, Signature)

MAX_U64 = 2**64 - 1


@dataclass(frozen=True, slots=True)
class CallOptions:
    """The options object of a call. Each method returns a default for an absent option."""

    fields: dict[str, Json]

    def commitment(self, default: Commitment = Commitment.FINALIZED) -> Commitment:
        return read_commitment(self.fields.get("commitment"), default)

    def slot(self, name: str) -> int | None:
        value = self.fields.get(name)
        return None if value is None else read_int(value, name)

    def flag(self, name: str) -> bool:
        value = self.fields.get(name)
        if value is not None and not isinstance(value, bool):
            raise invalid_params(f"Invalid params: invalid type for {name}, expected a boolean.")
        return bool(value)

    def text(self, name: str, default: str) -> str:
        value = self.fields.get(name)
        if value is not None and not isinstance(value, str):
            raise invalid_params(f"Invalid params: invalid type for {name}, expected a string.")
        return default if value is None else value

    def object(self, name: str) -> CallOptions | None:
        value = self.fields.get(name)
        return None if value is None else read_options(value)

    def items(self, name: str) -> list[Json]:
        value = self.fields.get(name)
        return [] if value is None else read_list(value)


@dataclass(frozen=True, slots=True)
class Params:
    """The positional parameters of one call."""

    items: Sequence[Json]

    def at(self, index: int) -> Json:
        """Return a parameter, or None if the client omitted it."""
        return self.items[index] if index < len(self.items) else None

    def required(self, index: int) -> Json:
        if (value := self.at(index)) is None:
            expected = index + 1
            raise invalid_params(
                f"Invalid params: invalid length {len(self.items)}, "
                f"expected at least {expected} elements."
            )
        return value

    def text(self, index: int) -> str:
        return read_text(self.required(index))

    def integer(self, index: int) -> int:
        return read_int(self.required(index), "parameter")

    def list(self, index: int) -> list[Json]:
        return read_list(self.required(index))

    def pubkey(self, index: int) -> Pubkey:
        return read_pubkey(self.required(index))

    def options(self, index: int) -> CallOptions:
        value = self.at(index)
        return CallOptions({}) if value is None else read_options(value)


def read_options(value: Json) -> CallOptions:
    if isinstance(value, str):  # old clients send the commitment alone
        return CallOptions({"commitment": value})
    if not isinstance(value, dict):
        raise invalid_params("Invalid params: invalid type, expected an object.")
    return CallOptions(value)


def read_commitment(value: Json, default: Commitment) -> Commitment:
    if value is None:
        return default
    try:
        return Commitment(value)
    except ValueError:
        raise invalid_params(
            f"Invalid params: unknown variant `{value}`, expected one of "
            "`processed`, `confirmed`, `finalized`."
        ) from None


def read_text(value: Json) -> str:
    if not isinstance(value, str):
        raise invalid_params("Invalid params: invalid type, expected a string.")
    return value


def read_list(value: Json) -> list[Json]:
    if not isinstance(value, list):
        raise invalid_params("Invalid params: invalid type, expected a sequence.")
    return value


def read_int(value: Json, name: str) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value <= MAX_U64:
        raise invalid_params(f"Invalid params: invalid value for {name}, expected u64.")
    return value


def read_pubkey(value: Json) -> Pubkey:
    return _read_key(Pubkey, value)


def read_hash(value: Json) -> Hash:
    return _read_key(Hash, value)


def read_signature(value: Json) -> Signature:
    return _read_key(Signature, value)


def _read_key(kind: type[KeyLike], value: Json) -> KeyLike:
    text = read_text(value)
    try:
        return kind.from_string(text)
    except (ValueError, ParseHashError) as error:
        reason = "WrongSize" if "size" in str(error).lower() else "Invalid"
        raise invalid_params(f"Invalid param: {reason}") from None
