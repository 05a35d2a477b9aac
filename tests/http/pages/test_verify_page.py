"""The page that verifies proofs of reserves: in a browser, after the service has gone."""

from __future__ import annotations

import json
import shutil
import tempfile
from pathlib import Path

from tests.harness.installed_tools import node_modules
from tests.harness.service import running
from tests.http.pages.test_pages import LAYOUT, PAGES, WIDTHS, audit
from tests.http.pages.verification import FILES, RESULT, choose, shown, visit
from tests.http.pages.visitor import Visitor
from tests.http.service_info.browser import Tab, browsing
from tests.paths import DOCS

VECTORS = json.loads((DOCS / "proofs" / "vectors.json").read_text())
EXPECTED = {name: VECTORS[name] for name in ("key", "program", "mint")}
EVERYTHING = "with everything"
TAMPERED = (
    "a sibling with another sum",
    "a negative sum",
    "another text",
    "another program",
    "a log with a gap",
    "a forked log",
    "a file that is cut",
    "tokens that are missing",
)
WITH_A_NODE = ["chain", "reserves", "stale"]


async def test_proofs_are_verified_without_the_service_and_everybody_can_do_it(
    database_url: str, tmp_path: Path
) -> None:
    axe = (node_modules(PAGES) / "axe-core" / "axe.min.js").read_text()
    async with browsing(tmp_path / "browser", "about:blank", width=390) as tab:
        async with running(database_url) as service:
            visitor = await visit(tab, f"{service.url}/verify")
        url = visitor.url
        await tab.evaluate(axe)
        faults = await audit(visitor, "form")

        await _fill(visitor, tmp_path, EVERYTHING)
        await tab.evaluate("document.querySelector('[name=mint]').focus()")
        await _press_enter(tab)
        assert await visitor.until(RESULT) == "No check fails"
        assert await tab.evaluate("document.activeElement.id") == "result"
        assert await shown(tab, "not checked") == WITH_A_NODE
        assert len(await shown(tab, "ok")) == 16

        for name in TAMPERED:
            await _fill(visitor, tmp_path, name)
            assert await tab.evaluate("document.querySelector('#result')") is None
            await visitor.press("Verify")
            assert await visitor.until(RESULT) == "The proof fails"
            [failed] = (each["failed"] for each in VECTORS["vectors"] if each["name"] == name)
            assert await shown(tab, "failed") == [failed], name

        faults += await audit(visitor, "result")
        for width in WIDTHS:
            await visitor.resize(width)
            faults += [f"{width}: {each}" for each in await tab.evaluate(LAYOUT)]
        assert faults == []
        # The browser asks for the icon when it likes, perhaps too late.
        assert [each for each in tab.errors if "icon.svg" not in each] == []
        assert set(tab.requested) <= {url, *(f"{url}/{name}" for name in FILES)}


async def test_what_cannot_be_used_is_said_and_the_saved_page_verifies(tmp_path: Path) -> None:
    saved = tmp_path / "saved"
    shutil.copytree(PAGES / "dist", saved / "verify")
    (saved / "verify" / "verify.html").rename(saved / "verify.html")
    async with browsing(tmp_path / "browser", "about:blank", width=1280) as tab:
        visitor = await visit(tab, (saved / "verify.html").as_uri())
        await _fill(visitor, tmp_path, EVERYTHING)
        await visitor.type("key", "0Il")
        await visitor.press("Verify")
        await visitor.see("The key 0Il is no address", within=".trouble")
        await visitor.type("key", "")
        await visitor.press("Verify")
        assert await visitor.until(RESULT) == "No check fails"
        assert await shown(tab, "not checked") == sorted(["key", *WITH_A_NODE])
        await visitor.see("More files and keys would allow key.")

        (tmp_path / "picture.png").write_bytes(b"\x89PNG")
        await choose(tab, "proof", tmp_path / "picture.png")
        await visitor.press("Verify")
        await visitor.see("picture.png is no text. Choose the file", within=".trouble")
        assert tab.errors == []
        assert all(each.startswith("file:") for each in tab.requested)


async def _fill(visitor: Visitor, folder: Path, name: str) -> None:
    """Choose the files of an example, and type what it is to be compared with."""
    [vector] = (each for each in VECTORS["vectors"] if each["name"] == name)
    files = Path(tempfile.mkdtemp(dir=folder))
    proof, reserves = files / "proof.json", files / "reserves.ndjson"
    proof.write_text(json.dumps(vector["proof"]))
    reserves.write_text(vector["reserves"] or "")
    logs = [files / f"log-{place}.ndjson" for place, _ in enumerate(vector["logs"] or [])]
    for file, log in zip(logs, vector["logs"] or [], strict=True):
        file.write_text("".join(f"{json.dumps(each)}\n" for each in log))
    await visitor.tab.evaluate("document.querySelector('form').reset()")
    await choose(visitor.tab, "proof", proof)
    if vector["logs"]:
        await choose(visitor.tab, "logs", *logs)
    if vector["reserves"]:
        await choose(visitor.tab, "reserves", reserves)
    for field, value in EXPECTED.items():
        await visitor.type(field, value)


async def _press_enter(tab: Tab) -> None:
    for kind in ("keyDown", "keyUp"):
        key = {"type": kind, "key": "Enter", "text": "\r", "windowsVirtualKeyCode": 13}
        await tab.call("Input.dispatchKeyEvent", **key)
