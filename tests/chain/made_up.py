"""Values for properties: strategies for every layout, and how many examples to try."""

from __future__ import annotations

import dataclasses
import enum
from typing import Annotated, Any, get_args, get_origin, get_type_hints

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from solders.pubkey import Pubkey

from cvms.chain.borsh import Fixed, Number, Wide

# No limit on an example's time: on a busy machine it would measure the neighbours.
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
    """Values of an annotated type, as `cvms.chain.borsh` writes them down."""
    if get_origin(hint) is Annotated:
        return _marked(get_args(hint)[1])
    if get_origin(hint) is tuple:
        return st.lists(values_of(get_args(hint)[0]), max_size=4).map(tuple)
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
    """Values of a dataclass layout."""
    hints = get_type_hints(layout, include_extras=True)
    fields = [values_of(hints[field.name]) for field in dataclasses.fields(layout)]
    return st.tuples(*fields).map(lambda values: layout(*values))
