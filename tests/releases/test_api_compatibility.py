"""Clients that were written for the last release work with the service of today."""

from __future__ import annotations

import json
from collections.abc import Callable
from copy import deepcopy
from pathlib import Path
from typing import Any

import httpx
import pytest
from solders.keypair import Keypair

from tests.harness.free_ports import free_port
from tests.harness.processes import cvms, until_ready
from tests.harness.service import running
from tests.releases.last_release import last_wheel, unpack, version
from tests.releases.openapi_changes import Json, breaking_changes


async def test_nothing_is_taken_away_from_clients_of_the_last_release(
    database_url: str, tmp_path: Path
) -> None:
    old = await released_document(database_url, tmp_path)
    assert old["info"]["version"] == version(last_wheel())
    async with running(database_url) as service:
        new = (await service.get("/openapi.json")).json()
    assert list(breaking_changes(old, new)) == []


async def released_document(database_url: str, folder: Path) -> Json:
    key, port = folder / "operator.json", free_port()
    key.touch(0o600)
    key.write_text(json.dumps(list(bytes(Keypair()))))
    environ = unpack(last_wheel(), folder / "release") | {
        "DATABASE_URL": database_url,
        "DEPLOYER_KEYPAIR_PATH": str(key),
        "SOLANA_RPC_URL": "http://127.0.0.1:1",
        "PORT": str(port),
    }
    url = f"http://127.0.0.1:{port}"
    async with cvms("serve", folder=folder, environ=environ) as released:
        await until_ready(url, released, components=("database",))
        async with httpx.AsyncClient() as http:
            document: Json = (await http.get(f"{url}/openapi.json")).json()
        return document


# --- each kind of change is found ----------------------------------------------------------------

BODY = {
    "type": "object",
    "required": ["owner"],
    "properties": {
        "owner": {"type": "string"},
        "kind": {"type": "string", "enum": ["a", "b"]},
    },
}
REPLY = {
    "type": "object",
    "required": ["items"],
    "properties": {"items": {"type": "array", "items": {"$ref": "#/components/schemas/Item"}}},
}
ITEM = {
    "type": "object",
    "required": ["amount"],
    "properties": {"amount": {"type": "integer"}, "inner": {"$ref": "#/components/schemas/Item"}},
}


def document() -> Json:
    operation = {
        "parameters": [{"in": "query", "name": "limit"}],
        "requestBody": {"content": {"application/json": {"schema": deepcopy(BODY)}}},
        "responses": {"200": {"content": {"application/json": {"schema": deepcopy(REPLY)}}}},
    }
    return {
        "paths": {"/things": {"post": operation}},
        "components": {"schemas": {"Item": deepcopy(ITEM)}},
    }


def operation(changed: Json) -> Json:
    found: Json = changed["paths"]["/things"]["post"]
    return found


def body(changed: Json) -> Json:
    found: Json = operation(changed)["requestBody"]["content"]["application/json"]["schema"]
    return found


def item(changed: Json) -> Json:
    found: Json = changed["components"]["schemas"]["Item"]
    return found


@pytest.mark.parametrize(
    ("change", "line"),
    [
        (lambda new: new["paths"].clear(), "POST /things is gone"),
        (
            lambda new: operation(new)["parameters"].clear(),
            "POST /things: the query parameter limit is gone",
        ),
        (
            lambda new: operation(new)["parameters"][0].update(required=True),
            "POST /things: the query parameter limit has become required",
        ),
        (
            lambda new: body(new)["properties"].pop("kind"),
            "POST /things: the body's .kind is no longer taken",
        ),
        (
            lambda new: body(new)["required"].append("kind"),
            "POST /things: the body's .kind has become required",
        ),
        (
            lambda new: body(new)["properties"]["kind"]["enum"].remove("b"),
            "POST /things: the body's .kind may no longer be b",
        ),
        (
            lambda new: operation(new)["responses"].pop("200"),
            "POST /things: no longer answers 200",
        ),
        (
            lambda new: (item(new)["properties"].pop("amount"), item(new)["required"].clear()),
            "POST /things: the reply's .items[].amount is gone",
        ),
        (
            lambda new: item(new)["required"].clear(),
            "POST /things: the reply's .items[].amount may be missing",
        ),
        (
            lambda new: item(new)["properties"]["amount"].update(type=["integer", "null"]),
            "POST /things: the reply's .items[].amount may be null",
        ),
    ],
)
def test_a_change_that_breaks_clients_is_found(change: Callable[[Json], Any], line: str) -> None:
    new = document()
    change(new)
    assert list(breaking_changes(document(), new)) == [line]


def test_additions_break_nobody() -> None:
    new = document()
    body(new)["properties"]["note"] = {"type": "string"}
    body(new)["properties"]["kind"]["enum"].append("c")
    item(new)["properties"]["fee"] = {"type": "integer"}
    operation(new)["responses"]["202"] = {"description": "an approval"}
    new["paths"]["/more"] = {"get": {"responses": {}}}
    assert list(breaking_changes(document(), new)) == []
