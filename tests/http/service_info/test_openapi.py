"""The OpenAPI document says what the routes do, and its page needs no other host."""

from __future__ import annotations

import re

import pytest

from tests.http.conftest import Service


async def test_the_document_names_every_route_of_the_application(service: Service) -> None:
    document = (await service.get("/openapi.json")).json()
    assert document["openapi"] == "3.1.0"
    served = {
        (re.sub(r"<(?:[^:>]*:)?(\w+)>", r"{\1}", rule.rule), method)
        for rule in service.app.url_map.iter_rules()
        for method in (rule.methods or set()) - {"HEAD", "OPTIONS"}
        if not rule.websocket and not rule.rule.startswith(("/openapi.json", "/docs"))
    }
    documented = {
        (path, method.upper()) for path, item in document["paths"].items() for method in item
    }
    assert documented == served
    operations = [each for item in document["paths"].values() for each in item.values()]
    assert all(each["summary"] and each["tags"] for each in operations)
    assert len({each["operationId"] for each in operations}) == len(operations)


async def test_a_route_says_what_it_takes_and_how_it_refuses(service: Service) -> None:
    document = (await service.get("/openapi.json")).json()
    withdraw = document["paths"]["/api/vault/withdraw"]["post"]
    schema = withdraw["requestBody"]["content"]["application/json"]["schema"]
    body = document["components"]["schemas"][schema["$ref"].rpartition("/")[2]]
    assert body["required"] == ["owner", "nonce", "signature", "amount"]
    assert body["additionalProperties"] is False
    problem = withdraw["responses"]["409"]["content"]["application/problem+json"]["schema"]
    assert "nonce_used" in problem["allOf"][1]["properties"]["code"]["enum"]
    assert {"200", "202", "400", "401", "404", "422", "503", "504"} <= withdraw["responses"].keys()
    assert {each["name"] for each in withdraw["parameters"]} == {"Idempotency-Key", "X-2FA-CODE"}


async def test_every_reference_of_the_document_leads_somewhere(service: Service) -> None:
    reply = await service.get("/openapi.json")
    schemas = reply.json()["components"]["schemas"]
    references = set(re.findall(r'"\$ref":"#/components/schemas/([^"]+)"', reply.text))
    assert references
    assert references <= schemas.keys()


async def test_the_page_loads_nothing_from_other_hosts(service: Service) -> None:
    page = await service.get("/docs")
    assert page.status_code == 200
    assert "unsafe-eval" not in page.headers["Content-Security-Policy"]
    links = re.findall(r'(?:src|href)="([^"]+)"', page.text)
    assert links
    for link in links:
        assert not link.startswith(("http:", "https:", "//"))
        assert (await service.get(f"/{link}")).status_code == 200
    assert "default-src 'none'" in page.headers["Content-Security-Policy"]


@pytest.mark.parametrize("name", ["..%2f__init__.py", "index.css", "swagger-ui.js"])
async def test_only_the_pages_own_files_are_served(service: Service, name: str) -> None:
    assert (await service.get(f"/docs/{name}")).status_code == 404
