"""What a newer OpenAPI document takes away from those who were written for an older one."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, TypeAlias

Json: TypeAlias = dict[str, Any]
METHODS = ("get", "post", "put", "patch", "delete")
UNIONS = ("anyOf", "oneOf", "allOf")


@dataclass(frozen=True, slots=True)
class Node:
    """A value's place within a body: its types, what it may be, and whether it is always there."""

    types: frozenset[str]
    values: frozenset[str]
    required: bool


Tree: TypeAlias = dict[str, Node]


def breaking_changes(old: Json, new: Json) -> Iterator[str]:
    """Yield a line for each route, parameter, field or value that a client may miss."""
    for path, item in old["paths"].items():
        for method in METHODS:
            if method not in item:
                continue
            name = f"{method.upper()} {path}"
            operation = new["paths"].get(path, {}).get(method)
            if operation is None:
                yield f"{name} is gone"
                continue
            yield from _parameters(name, item[method], operation)
            yield from _request(name, (old, item[method]), (new, operation))
            yield from _replies(name, (old, item[method]), (new, operation))


def _parameters(name: str, old: Json, new: Json) -> Iterator[str]:
    before, after = (
        {(each["in"], each["name"]): each.get("required", False) for each in operation}
        for operation in (old.get("parameters", []), new.get("parameters", []))
    )
    for key, required in after.items():
        if required and not before.get(key):
            yield f"{name}: the {key[0]} parameter {key[1]} has become required"
    for key in before.keys() - after.keys():
        yield f"{name}: the {key[0]} parameter {key[1]} is gone"


def _request(name: str, old: tuple[Json, Json], new: tuple[Json, Json]) -> Iterator[str]:
    before, after = (
        _tree(document, operation.get("requestBody", {})) for document, operation in (old, new)
    )
    for place, node in before.items():
        if place not in after:
            yield f"{name}: the body's {place} is no longer taken"
            continue
        if gone := (node.types - after[place].types) | _gone(node.values, after[place].values):
            yield f"{name}: the body's {place} may no longer be {', '.join(sorted(gone))}"
    for place, node in after.items():
        parent = place.rpartition(".")[0]
        if node.required and (not parent or parent in before):
            was = before.get(place)
            if was is None or not was.required:
                yield f"{name}: the body's {place} has become required"


def _replies(name: str, old: tuple[Json, Json], new: tuple[Json, Json]) -> Iterator[str]:
    for status, reply in old[1]["responses"].items():
        if not status.startswith("2"):
            continue
        if status not in new[1]["responses"]:
            yield f"{name}: no longer answers {status}"
            continue
        before, after = _tree(old[0], reply), _tree(new[0], new[1]["responses"][status])
        for place, node in before.items():
            if place not in after:
                yield f"{name}: the reply's {place} is gone"
            elif node.required and not after[place].required:
                yield f"{name}: the reply's {place} may be missing"
            elif new_types := after[place].types - node.types:
                yield f"{name}: the reply's {place} may be {', '.join(sorted(new_types))}"


def _gone(old: frozenset[str], new: frozenset[str]) -> frozenset[str]:
    """Return the values that are no longer allowed; no values are any value."""
    return old - new if new else frozenset()


def _tree(document: Json, holder: Json) -> Tree:
    tree: Tree = {}
    for content in _resolve(document, holder).get("content", {}).values():
        for place, node in _nodes(document, content.get("schema", {}), "", required=True):
            known = tree.get(place, node)
            tree[place] = Node(
                known.types | node.types,
                known.values | node.values,
                known.required and node.required,
            )
    return tree


def _nodes(
    document: Json, schema: Json, place: str, *, required: bool, above: tuple[str, ...] = ()
) -> Iterator[tuple[str, Node]]:
    reference = schema.get("$ref")
    if reference in above:
        return  # a type that holds itself
    if reference:
        above = (*above, reference)
    schema = _resolve(document, schema)
    if place:
        types = schema.get("type", [])
        yield (
            place,
            Node(
                frozenset([types] if isinstance(types, str) else types),
                frozenset(map(str, schema.get("enum", []))),
                required,
            ),
        )
    parts = [(place, part, required) for kind in UNIONS for part in schema.get(kind, [])]
    if isinstance(items := schema.get("items"), dict):
        parts.append((f"{place}[]", items, required))
    always = schema.get("required", [])
    for name, part in schema.get("properties", {}).items():
        parts.append((f"{place}.{name}", part, required and name in always))
    for where, part, needed in parts:
        yield from _nodes(document, part, where, required=needed, above=above)


def _resolve(document: Json, schema: Json) -> Json:
    while "$ref" in schema:
        found: Any = document
        for part in schema["$ref"].removeprefix("#/").split("/"):
            found = found[part.replace("~1", "/").replace("~0", "~")]
        schema = found
    return schema
