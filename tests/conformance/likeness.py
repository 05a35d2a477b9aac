"""Whether two answers are alike: JSON kinds, keys, error codes and error words, not values."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

Json = Any

ADDRESS = re.compile("[1-9A-HJ-NP-Za-km-z]{32,44}")


def kind(value: Json) -> str:
    """Return a JSON value's kind. JSON has one kind of number."""
    if isinstance(value, bool):
        return "bool"
    if isinstance(value, int | float):
        return "number"
    return {dict: "object", list: "array", str: "string", type(None): "null"}[type(value)]


def differences(expected: Json, actual: Json, path: str = "") -> list[str]:
    """Return how a value differs in kind from what was expected, empty if it does not."""
    if kind(expected) != kind(actual):
        return [f"{path or '.'}: {kind(actual)}, not {kind(expected)}"]
    if isinstance(expected, dict):
        return _differences_of_objects(expected, actual, path)
    if isinstance(expected, list):
        return _differences_of_arrays(expected, actual, path)
    return []


def _differences_of_objects(expected: Json, actual: Json, path: str) -> list[str]:
    expected, actual = _without_addresses(expected), _without_addresses(actual)
    found = [f"{path}.{key}: missing" for key in expected if key not in actual]
    found += [f"{path}.{key}: not expected" for key in actual if key not in expected]
    for key in expected:
        if key in actual:
            found += differences(expected[key], actual[key], f"{path}.{key}")
    return found


def _without_addresses(value: Json) -> Json:
    """Return an object with `<address>` for keys that are addresses, which differ in every run."""
    return {"<address>" if ADDRESS.fullmatch(key) else key: each for key, each in value.items()}


def _differences_of_arrays(expected: list[Json], actual: list[Json], path: str) -> list[str]:
    """Compare elements. Each must be like one of those expected: lengths differ in every run."""
    if bool(expected) != bool(actual):
        return [f"{path}: {len(actual)} elements, not {len(expected)}"]
    shapes = {_shape(other): other for other in expected}
    for shape, element in {_shape(element): element for element in actual}.items():
        if shape not in shapes:
            each = [differences(other, element, f"{path}[]") for other in shapes.values()]
            if [] not in each:
                return min(each, key=len)
    return []


def _shape(value: Json) -> str:
    """Return the kinds in a value, as a text: a list may be long and have few kinds."""
    if isinstance(value, dict):
        return f"{{{','.join(f'{key}:{_shape(value[key])}' for key in sorted(value))}}}"
    if isinstance(value, list):
        return f"[{','.join(sorted({_shape(each) for each in value}))}]"
    return kind(value)


def differences_of_replies(
    expected: Json, actual: Json, words: Mapping[str, str] | None = None
) -> list[str]:
    """Compare two JSON-RPC replies. `words` of this run stand for others in the recording."""
    if "error" not in expected or "error" not in actual:
        shown = f" ({actual['error']})" if "error" in actual else ""
        return [each + shown for each in differences(expected, actual)]
    one, other = expected["error"], actual["error"]
    found = []
    if one["code"] != other["code"]:
        found.append(f"code {other['code']}, not {one['code']}")
    message = other["message"]
    for ours, theirs in (words or {}).items():
        message = message.replace(ours, theirs)
    if message != one["message"]:
        found.append(f"«{message}», not «{one['message']}»")
    return found + differences(one.get("data"), other.get("data"), "data")
