"""Digests of library functions that we override or that must keep calling what we override."""

from __future__ import annotations

import hashlib
import inspect
from collections.abc import Callable
from typing import Any

Pin = tuple[Callable[..., Any], str]
"""A function and the digest of its source when our code was written against it."""


def source_digest(function: Callable[..., Any]) -> str:
    """Return a digest of a function's source."""
    return hashlib.sha256(inspect.getsource(function).encode()).hexdigest()[:16]


def check_pin(pin: Pin, *, used_by: str) -> None:
    """Raise AssertionError when the function is no longer the one that was pinned."""
    function, pinned = pin
    digest = source_digest(function)
    assert digest == pinned, (
        f"{function.__module__}.{function.__qualname__} has changed and {used_by} depends on it. "
        f"Read the new source, adapt {used_by}, then pin {digest}."
    )
