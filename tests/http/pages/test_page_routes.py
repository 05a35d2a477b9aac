"""The files of the pages, as the service sends them."""

from __future__ import annotations

import re
from urllib.parse import urljoin

import pytest

from tests.harness.service import Service

PAGE, OWNER = "/console", "7Np41oeYqPefeNQEHSv1UDhYrehxin3NStELsSKCT4K2"
OWNERS_PAGE = f"/vault/{OWNER}"
VERIFY_PAGE = "/verify"
FILES = ("console/console.js", "console/console.css", "console/icon.svg", "console/runbooks.json")


async def test_the_console_is_its_own_files_which_are_revalidated(service: Service) -> None:
    page = await service.get("/console")
    assert page.status_code == 200
    links = re.findall(r'(?:src|href)="(console/[^"]+)"', page.text)
    assert sorted(links) == sorted(set(FILES) - {"console/runbooks.json"})
    for path in ("console", *FILES):
        first = await service.get(f"/{path}")
        assert first.status_code == 200, path
        assert first.headers["Cache-Control"] == "no-cache"
        assert not first.headers["ETag"].startswith("W/")
        again = await service.http.get(
            f"{service.url}/{path}", headers={"If-None-Match": first.headers["ETag"]}
        )
        assert (again.status_code, again.content) == (304, b""), path


async def test_the_policy_allows_own_files_and_nothing_inline(service: Service) -> None:
    for path in (PAGE, "/console/runbooks", OWNERS_PAGE, "/vault/none-such"):
        page = await service.get(path)
        policy = dict(
            part.strip().split(" ", 1)
            for part in page.headers["Content-Security-Policy"].split(";")
        )
        assert policy["default-src"] == "'none'"
        assert {policy[f"{kind}-src"] for kind in ("script", "style", "connect", "img")} == {
            "'self'"
        }
        assert not re.search(r"<style|style=|<script(?![^>]* src=)|\son\w+=", page.text)


async def test_the_page_that_verifies_may_connect_to_nothing(service: Service) -> None:
    page = await service.get(VERIFY_PAGE)
    policy = page.headers["Content-Security-Policy"]
    assert "default-src 'none'" in policy
    assert "connect-src" not in policy
    assert not re.search(r"<style|style=|<script(?![^>]* src=)|\son\w+=", page.text)
    for name in ("verify.js", "verify.css", "icon.svg"):
        assert (await service.get(f"{VERIFY_PAGE}/{name}")).status_code == 200
    for name in ("console.js", "verify.html", "runbooks.json", "..%2fx"):
        assert (await service.get(f"{VERIFY_PAGE}/{name}")).status_code == 404


@pytest.mark.parametrize("path", ["index.html", "../page_routes.py", "..%2fpage_routes.py", "x.js"])
async def test_only_the_consoles_own_files_are_served(service: Service, path: str) -> None:
    assert (await service.get(f"/console/{path}")).status_code == 404


async def test_runbooks_are_read_without_a_token(service: Service) -> None:
    index = await service.get("/console/runbooks")
    assert index.status_code == 200
    names = re.findall(r'<li><a href="runbooks/([^"]+)">', index.text)
    assert names == [each["name"] for each in (await service.get("/console/runbooks.json")).json()]
    for name in names:
        page = await service.get(f"/console/runbooks/{name}")
        assert (page.status_code, page.text.count("<h1>")) == (200, 1), name
    missing = await service.get("/console/runbooks/none-such")
    assert (missing.status_code, missing.json()["code"]) == (404, "not_found")


@pytest.mark.parametrize(
    ("page", "most"), [(PAGE, 200_000), (OWNERS_PAGE, 200_000), (VERIFY_PAGE, 100_000)]
)
async def test_the_first_load_of_a_page_is_small(service: Service, page: str, most: int) -> None:
    shown = await service.get(page)
    links = re.findall(r'<(?:link|script) [^>]*(?:src|href)="([^"]+)"', shown.text)
    sizes = [len((await service.get(urljoin(page, link))).content) for link in links]
    assert len(links) == 3
    assert sum(sizes, len(shown.content)) < most


async def test_an_owners_page_is_its_own_files_which_are_revalidated(service: Service) -> None:
    page = await service.get(OWNERS_PAGE)
    assert (page.status_code, page.headers["Content-Type"]) == (200, "text/html; charset=utf-8")
    links = re.findall(r'(?:src|href)="(files/[^"]+)"', page.text)
    assert sorted(links) == ["files/icon.svg", "files/owners.css", "files/owners.js"]
    for path in (OWNERS_PAGE, *(f"/vault/{link}" for link in links)):
        first = await service.get(path)
        assert first.headers["Cache-Control"] == "no-cache"
        known = {"If-None-Match": first.headers["ETag"]}
        again = await service.http.get(f"{service.url}{path}", headers=known)
        assert (again.status_code, again.content) == (304, b""), path


@pytest.mark.parametrize("name", ["console.js", "owners.html", "runbooks.json", "..%2fx"])
async def test_only_the_owners_own_files_are_served(service: Service, name: str) -> None:
    assert (await service.get(f"/vault/files/{name}")).status_code == 404


@pytest.mark.parametrize("owner", ["none-such", "files", "1" * 50, f"{OWNER[:-1]}0"])
async def test_what_is_no_owner_is_told_so_on_a_page(service: Service, owner: str) -> None:
    page = await service.get(f"/vault/{owner}")
    assert page.status_code == 404
    assert page.headers["Content-Type"] == "text/html; charset=utf-8"
    assert f"<code>{owner}</code> is no address of Solana" in page.text


async def test_a_wrong_owner_is_shown_as_text(service: Service) -> None:
    page = await service.get("/vault/%3Cscript%3Ealert(1)")
    assert "<code>&lt;script&gt;alert(1)</code>" in page.text
