"""Borsh codec for dataclasses: the annotated fields, in order, are the layout.

Supported are numbers (`U64`, `I64` and so on), Pubkey, bool, 1-byte enums, nested dataclasses,
`A | B` of dataclasses for an enum whose variants have fields, and `tuple[T, ...]` for a vector. A
length is checked against the remaining bytes before anything is allocated, and every failure is a
DecodeError.
"""

from __future__ import annotations

import dataclasses
import enum
import hashlib
import struct
import types
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Annotated, Any, TypeVar, cast, get_args, get_origin, get_type_hints

from solders.pubkey import Pubkey

from cvms.errors import DecodeError

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Number:
    """A little-endian integer, as a format of `struct`."""

    format: str


@dataclass(frozen=True, slots=True)
class Wide:
    """A little-endian unsigned integer of `size` bytes, for which `struct` has no format."""

    size: int


@dataclass(frozen=True, slots=True)
class Fixed:
    """An array of `size` bytes."""

    size: int


U8 = Annotated[int, Number("<B")]
U32 = Annotated[int, Number("<I")]
U64 = Annotated[int, Number("<Q")]
I64 = Annotated[int, Number("<q")]
U128 = Annotated[int, Wide(16)]
Bytes8 = Annotated[bytes, Fixed(8)]
Bytes15 = Annotated[bytes, Fixed(15)]
Bytes31 = Annotated[bytes, Fixed(31)]


@dataclass(frozen=True, slots=True)
class _Codec:
    """Codec of one type. `read` returns the value at an offset, and the offset after it."""

    read: Callable[[bytes, int], tuple[Any, int]]
    write: Callable[[Any], bytes]
    min_size: int


def discriminator(namespace: str, name: str) -> bytes:
    """Return the 8 bytes with which Anchor marks an instruction, account or event."""
    return hashlib.sha256(f"{namespace}:{name}".encode()).digest()[:8]


def decode(layout: type[T], data: bytes, *, offset: int = 0, trailing: bool) -> T:
    """Decode a `layout` from `data` at `offset`. Raises DecodeError, and nothing else.

    `trailing` says whether bytes may follow: accounts are allocated at their maximum length.
    """
    value: T
    value, end = _codec(cast(Any, layout)).read(data, offset)
    if end != len(data) and not trailing:
        raise DecodeError(f"{layout.__name__}: {len(data) - end} bytes too many")
    return value


def decode_as(layout: Any, data: bytes) -> Any:
    """Decode a value of any supported type, after which nothing follows; as `decode`."""
    value, end = _codec(layout).read(data, 0)
    if end != len(data):
        raise DecodeError(f"{len(data) - end} bytes too many")
    return value


def encode(value: object) -> bytes:
    """Return the Borsh bytes of a dataclass, without a discriminator.

    Raises ValueError for a number out of range.
    """
    return encode_as(type(value), value)


def encode_as(layout: Any, value: object) -> bytes:
    """Return the Borsh bytes of a value of any supported type; as `encode`."""
    try:
        return _codec(layout).write(value)
    except struct.error as error:
        raise ValueError(str(error)) from None


@cache
def _codec(hint: Any) -> _Codec:
    if get_origin(hint) is Annotated:
        return _marked(get_args(hint)[1])
    if get_origin(hint) is tuple:
        return _vector(_codec(get_args(hint)[0]))
    if isinstance(hint, types.UnionType):
        return _variants(get_args(hint))
    if hint in (bool, Pubkey):
        return _boolean() if hint is bool else _pubkey()
    if isinstance(hint, type) and issubclass(hint, enum.IntEnum):
        return _enumeration(hint)
    if isinstance(hint, type) and dataclasses.is_dataclass(hint):
        return _structure(hint)
    raise TypeError(f"no Borsh layout for {hint}")


def _marked(mark: Number | Wide | Fixed) -> _Codec:
    match mark:
        case Number():
            return _number(mark)
        case Wide():
            return _wide(mark)
        case Fixed():
            return _bytes(mark)


def _number(number: Number) -> _Codec:
    packed = struct.Struct(number.format)

    def read(data: bytes, offset: int) -> tuple[int, int]:
        end = _end(data, offset, packed.size)
        return packed.unpack_from(data, offset)[0], end

    return _Codec(read, packed.pack, packed.size)


def _wide(number: Wide) -> _Codec:
    def read(data: bytes, offset: int) -> tuple[int, int]:
        end = _end(data, offset, number.size)
        return int.from_bytes(data[offset:end], "little"), end

    def write(value: int) -> bytes:
        try:
            return value.to_bytes(number.size, "little")
        except OverflowError as error:
            raise ValueError(str(error)) from None

    return _Codec(read, write, number.size)


def _bytes(array: Fixed) -> _Codec:
    def read(data: bytes, offset: int) -> tuple[bytes, int]:
        end = _end(data, offset, array.size)
        return data[offset:end], end

    def write(value: bytes) -> bytes:
        if len(value) != array.size:
            raise ValueError(f"{len(value)} bytes where {array.size} belong")
        return value

    return _Codec(read, write, array.size)


def _pubkey() -> _Codec:
    def read(data: bytes, offset: int) -> tuple[Pubkey, int]:
        end = _end(data, offset, 32)
        return Pubkey(data[offset:end]), end

    return _Codec(read, bytes, 32)


def _boolean() -> _Codec:
    def read(data: bytes, offset: int) -> tuple[bool, int]:
        end = _end(data, offset, 1)
        if data[offset] > 1:
            raise DecodeError(f"{data[offset]} is not a boolean")
        return data[offset] == 1, end

    return _Codec(read, lambda value: b"\1" if value else b"\0", 1)


def _enumeration(kind: type[enum.IntEnum]) -> _Codec:
    def read(data: bytes, offset: int) -> tuple[enum.IntEnum, int]:
        end = _end(data, offset, 1)
        try:
            return kind(data[offset]), end
        except ValueError:
            raise DecodeError(f"{data[offset]} is not a {kind.__name__}") from None

    return _Codec(read, lambda value: bytes([value]), 1)


def _variants(kinds: tuple[type, ...]) -> _Codec:
    """Return the codec of an enum: the variant's place, then its fields."""
    codecs = [_codec(kind) for kind in kinds]

    def read(data: bytes, offset: int) -> tuple[Any, int]:
        start = _end(data, offset, 1)
        if data[offset] >= len(codecs):
            raise DecodeError(f"there is no variant {data[offset]}")
        return codecs[data[offset]].read(data, start)

    def write(value: object) -> bytes:
        place = kinds.index(type(value))
        return bytes([place]) + codecs[place].write(value)

    return _Codec(read, write, 1)


def _vector(item: _Codec) -> _Codec:
    def read(data: bytes, offset: int) -> tuple[tuple[Any, ...], int]:
        offset = _end(data, offset, 4)
        count = int.from_bytes(data[offset - 4 : offset], "little")
        _end(data, offset, count * item.min_size)
        items = []
        for _ in range(count):
            value, offset = item.read(data, offset)
            items.append(value)
        return tuple(items), offset

    def write(values: tuple[Any, ...]) -> bytes:
        return len(values).to_bytes(4, "little") + b"".join(map(item.write, values))

    return _Codec(read, write, 4)


def _structure(layout: type) -> _Codec:
    hints = get_type_hints(layout, include_extras=True)
    names = [field.name for field in dataclasses.fields(layout)]
    codecs = [_codec(hints[name]) for name in names]

    def read(data: bytes, offset: int) -> tuple[Any, int]:
        values = []
        for codec in codecs:
            value, offset = codec.read(data, offset)
            values.append(value)
        return layout(*values), offset

    def write(value: object) -> bytes:
        fields = zip(names, codecs, strict=True)
        return b"".join(codec.write(getattr(value, name)) for name, codec in fields)

    return _Codec(read, write, sum(codec.min_size for codec in codecs))


def _end(data: bytes, offset: int, size: int) -> int:
    if size > len(data) - offset:
        raise DecodeError(f"{size} bytes expected at {offset}, {len(data) - offset} are left")
    return offset + size
