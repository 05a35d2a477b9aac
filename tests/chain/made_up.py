"""Generated values for every layout, their encodings, and settings for property tests."""

from __future__ import annotations

import dataclasses
import enum
import types
from typing import Annotated, Any, get_args, get_origin, get_type_hints

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from solders.pubkey import Pubkey

from cvms.chain import borsh
from cvms.chain.borsh import Fixed, Number, Wide
from cvms.chain.program.events.events import Event
from cvms.chain.program.guard_changes import GuardChange

# No deadline for an example: on a busy machine it would measure other processes.
unhurried = settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.too_slow])

_RANGES = {
    "<B": (0, 2**8 - 1),
    "<I": (0, 2**32 - 1),
    "<Q": (0, 2**64 - 1),
    "<q": (-(2**63), 2**63 - 1),
}

PUBKEYS = st.binary(min_size=32, max_size=32).map(Pubkey)

_PLAIN: dict[Any, st.SearchStrategy[Any]] = {
    Pubkey: PUBKEYS,
    bool: st.booleans(),
}


def values_of(hint: Any) -> st.SearchStrategy[Any]:
    """Return a strategy for an annotated type of `cvms.chain.borsh`."""
    if get_origin(hint) is Annotated:
        return _marked(get_args(hint)[1])
    if get_origin(hint) is tuple:
        return st.lists(values_of(get_args(hint)[0]), max_size=4).map(tuple)
    if isinstance(hint, types.UnionType):
        return st.one_of(*map(structures, get_args(hint)))
    if hint in _PLAIN:
        return _PLAIN[hint]
    if issubclass(hint, enum.IntEnum):
        return st.sampled_from(list(hint))
    return structures(hint)


def _marked(mark: Number | Wide | Fixed) -> st.SearchStrategy[Any]:
    if isinstance(mark, Number):
        return st.integers(*_RANGES[mark.format])
    if isinstance(mark, Wide):
        return st.integers(0, 2 ** (8 * mark.size) - 1)
    return st.binary(min_size=mark.size, max_size=mark.size)


def structures(layout: type) -> st.SearchStrategy[Any]:
    """Return a strategy for a dataclass layout."""
    hints = get_type_hints(layout, include_extras=True)
    fields = [values_of(hints[field.name]) for field in dataclasses.fields(layout)]
    return st.tuples(*fields).map(lambda values: layout(*values))


def to_json(value: object) -> dict[str, object]:
    """Return a decoded account or event as JSON: base58 keys, names of enum members, integers.

    A variant with fields is an object whose only field is its name. Fields that begin with an
    underscore (reserved space) are omitted.
    """
    plain = _plain(value)
    assert isinstance(plain, dict)
    return plain


def _plain(value: Any) -> object:
    match value:
        case Pubkey():
            return str(value)
        case enum.IntEnum():
            return value.name
        case tuple():
            return [_plain(item) for item in value]
        case bool() | int():
            return value
        case bytes():
            return value.hex()
    names = [field.name for field in dataclasses.fields(value)]
    fields = {name: _plain(getattr(value, name)) for name in names if not name.startswith("_")}
    return {type(value).__name__: fields} if type(value) in get_args(GuardChange) else fields


def encode_event(event: Event) -> bytes:
    """Return the `Program data:` field that the program logs for this event."""
    return borsh.discriminator("event", type(event).__name__) + borsh.encode(event)
