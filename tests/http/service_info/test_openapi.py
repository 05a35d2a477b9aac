"""The OpenAPI document describes every route, and its page loads nothing from other hosts."""

from __future__ import annotations

import re
from collections import Counter

import pytest

from cvms.http.framework.problems import TITLES
from tests.harness.service import Service

# The verbs that summaries may begin with.
VERBS = {
    "Acknowledge",
    "Add",
    "Approve",
    "Authorize",
    "Check",
    "Close",
    "Compound",
    "Create",
    "Deposit",
    "Disable",
    "Enable",
    "Freeze",
    "Get",
    "Issue",
    "List",
    "Open",
    "Propose",
    "Refresh",
    "Register",
    "Release",
    "Remove",
    "Request",
    "Revoke",
    "Schedule",
    "Send",
    "Set",
    "Start",
    "Submit",
    "Transfer",
    "Withdraw",
}


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


async def test_each_summary_is_one_short_imperative_sentence(service: Service) -> None:
    document = (await service.get("/openapi.json")).json()
    summaries = [each["summary"] for item in document["paths"].values() for each in item.values()]
    assert {name: count for name, count in Counter(summaries).items() if count > 1} == {}
    assert [each for each in summaries if each.split()[0] not in VERBS] == []
    assert [each for each in summaries if not re.fullmatch(r"[\w' -]{1,60}", each)] == []
    assert {each.split()[0] for each in summaries} == VERBS, "a verb that no summary uses"


def test_each_problem_has_a_title_of_its_own_in_sentence_case() -> None:
    assert {name: count for name, count in Counter(TITLES.values()).items() if count > 1} == {}
    words = re.compile(r"[A-Z][a-z]+(?:[ -][a-z]+)*")
    assert {code: title for code, title in TITLES.items() if not words.fullmatch(title)} == {}


async def test_a_route_describes_its_input_and_its_problems(service: Service) -> None:
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


async def test_reads_of_what_is_indexed_take_a_slot_and_tell_one(service: Service) -> None:
    document = (await service.get("/openapi.json")).json()
    takes = {
        path
        for path, operations in document["paths"].items()
        for operation in operations.values()
        if "X-Min-Slot" in {each["name"] for each in operation["parameters"]}
    }
    assert len(takes) == 15
    assert all(path.startswith(("/api/vault", "/api/analytics")) for path in takes)
    tvl = document["paths"]["/api/vault/tvl"]["get"]["responses"]
    assert "X-Slot" in tvl["200"]["headers"]
    problem = tvl["422"]["content"]["application/problem+json"]["schema"]
    assert problem["allOf"][1]["properties"]["code"]["enum"] == ["slot_not_indexed"]
    transaction = document["paths"]["/api/transactions/{signature}"]["get"]
    assert "headers" not in transaction["responses"]["200"]


async def test_every_reference_of_the_document_has_a_target(service: Service) -> None:
    reply = await service.get("/openapi.json")
    schemas = reply.json()["components"]["schemas"]
    references = set(re.findall(r'"\$ref":"#/components/schemas/([^"]+)"', reply.text))
    assert references
    assert references <= schemas.keys()


async def test_no_component_is_named_after_a_module(service: Service) -> None:
    document = (await service.get("/openapi.json")).json()
    assert [name for name in document["components"]["schemas"] if "." in name] == []


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
