"""The files of the console, as the service sends them."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from cvms.http import pages
from tests.harness.service import Service

DIST = Path(pages.__file__).parent / "dist"
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
    for path in ("/console", "/console/runbooks"):
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


def test_the_first_load_is_small() -> None:
    loaded = [each for each in DIST.iterdir() if each.name != "runbooks.json"]
    assert sum(each.stat().st_size for each in loaded) < 200_000
