"""A person at the page that verifies proofs of reserves."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from tests.http.pages.visitor import Visitor
from tests.http.service_info.browser import Tab

# The names of the checks that the page shows with an outcome.
SHOWN = """[...document.querySelectorAll("[data-check]")]
  .filter((each) => each.querySelector(".badge").innerText === %s)
  .map((each) => each.dataset.check).sort()"""
RESULT = "return document.querySelector('#result')?.innerText"
FILES = ("verify.js", "verify.css", "icon.svg")


async def visit(tab: Tab, url: str) -> Visitor:
    await tab.call("Page.navigate", url=url)
    await tab.appear("[name=proof]")
    return Visitor(tab, url)


async def choose(tab: Tab, name: str, *files: Path) -> None:
    document = await tab.call("DOM.getDocument")
    found = await tab.call(
        "DOM.querySelector", nodeId=document["root"]["nodeId"], selector=f"[name={name}]"
    )
    paths = [str(file) for file in files]
    await tab.call("DOM.setFileInputFiles", files=paths, nodeId=found["nodeId"])


async def shown(tab: Tab, outcome: str) -> Any:
    return await tab.evaluate(SHOWN % json.dumps(outcome))
