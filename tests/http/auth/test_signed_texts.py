"""The table of signed texts is complete, and the documents show it."""

from __future__ import annotations

import re
from types import NoneType
from typing import Any, get_args, get_type_hints

from cvms.http.auth.nonce_routes import SignedFields
from cvms.http.auth.signed_texts import SIGNED_TEXTS, TEXT_OF_ACTION, TEXT_OF_ROUTE
from tests.harness.service import Service
from tests.http.auth.test_wallet_security import TABLE, routes_of
from tests.paths import DOCS


def test_each_action_and_each_route_has_one_text() -> None:
    assert len(TEXT_OF_ACTION) == len({each.route for each in SIGNED_TEXTS}) == len(SIGNED_TEXTS)


def test_the_table_is_that_of_the_tests_of_every_signed_route() -> None:
    expected = {
        route: row.text
        if row.optional is None
        else row.text.replace(":{nonce}", f"[:{{{row.optional}}}]:{{nonce}}")
        for route, row in TABLE.items()
    }
    assert {route: each.template for route, each in TEXT_OF_ROUTE.items()} == expected
    assert {route: each.signer for route, each in TEXT_OF_ROUTE.items()} == {
        route: row.signer for route, row in TABLE.items()
    }


def test_the_document_has_the_same_table() -> None:
    text = (DOCS / "http.md").read_text()
    rows = re.findall(r"^\| `([A-Z]+ /api/[^`]+)` \| `([^`]+\{nonce\})` \|$", text, re.MULTILINE)
    assert rows == [(each.route, each.template) for each in SIGNED_TEXTS]
    # Nowhere else, except in examples of the section.
    outside = text.partition("## Idempotency")[2]
    assert "{nonce}" not in outside


async def test_the_interface_description_says_what_each_route_signs(service: Service) -> None:
    document = (await service.get("/openapi.json")).json()
    for each in SIGNED_TEXTS:
        method, path = each.route.split()
        description = document["paths"][path][method.lower()]["description"]
        assert f"The wallet of `{each.signer}` signs `{each.template}`." in description
    action = document["components"]["schemas"]["NonceRequest"]["properties"]["action"]
    assert action["enum"] == list(TEXT_OF_ACTION)
    for each in SIGNED_TEXTS:
        assert f"`{each.template}` for `{each.route}`" in action["description"]


def required(kind: Any) -> Any:
    """Return the type without None."""
    given = tuple(each for each in get_args(kind) if each is not NoneType)
    return given[0] if NoneType in get_args(kind) and len(given) == 1 else kind


async def test_the_fields_of_a_nonce_are_checked_as_those_of_the_request(service: Service) -> None:
    offered = get_type_hints(SignedFields, include_extras=True)
    used = set()
    for route in routes_of(service.app):
        text = TEXT_OF_ROUTE.get(f"{route.method} {route.rule}")
        if text is None:
            continue
        assert route.body is not None
        types = get_type_hints(route.body, include_extras=True)
        for name in set(text.names) - {text.signer}:
            assert required(offered[name]) == required(types[name]), (text.action, name)
            used.add(name)
    assert used == {*SignedFields.__struct_fields__}
