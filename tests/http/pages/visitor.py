"""A person at a page of the service: what they see, press and type, in Debian's Chromium."""

from __future__ import annotations

import base64
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import trio

from cvms.http.framework.admin_tokens import Role, mint
from tests.harness.service import Served
from tests.http.admin.test_admin_routes import SECRET
from tests.http.service_info.browser import Tab, browsing

DEADLINE_MS = 60_000
# Until a condition holds: the page draws when an answer or a frame arrives.
UNTIL = f"""new Promise((done, fail) => {{
  const look = () => {{
    const found = (() => {{ %s }})();
    if (found) {{ watch.disconnect(); done(found); }}
  }};
  setTimeout(() => fail(new Error(document.body.innerText)), {DEADLINE_MS});
  const watch = new MutationObserver(look);
  watch.observe(document,
    {{childList: true, subtree: true, characterData: true, attributes: true}});
  look();
}})"""


@dataclass(frozen=True, slots=True)
class Visitor:
    """A browser's tab on a page of a service."""

    tab: Tab
    url: str

    async def until(self, condition: str) -> Any:
        """Wait until the body of a function returns something true, and return that."""
        return await self.tab.evaluate(UNTIL % condition)

    async def see(self, text: str, *, within: str = "body") -> None:
        """Wait until an element shows a text."""
        look = f"document.querySelector({json.dumps(within)})?.innerText.includes"
        await self.until(f"return {look}({json.dumps(text)})")

    async def sign_in(self, name: str = "bob", role: Role = Role.ADMIN) -> None:
        """Paste a token, as `cvms token` prints it."""
        await self.tab.appear("[name=token]")
        await self.type("token", mint(SECRET, subject=name, role=role, seconds=600))
        await self.tab.evaluate("document.querySelector('form button[type=submit]').click()")
        await self.see(f"{name}, {role.label}")

    async def type(self, name: str, text: str) -> None:
        """Type into the field of this name, in the dialog if there is one."""
        await self.tab.evaluate(
            f"""(() => {{
              const form = document.querySelector("dialog") ?? document;
              const field = form.querySelector("[name={name}]");
              field.value = {json.dumps(text)};
              field.dispatchEvent(new Event("input", {{bubbles: true}}));
              field.dispatchEvent(new Event("change", {{bubbles: true}}));
            }})()"""
        )

    async def go(self, place: str, title: str) -> None:
        """Go to a page, and wait until it shows what it has read."""
        await self.tab.evaluate(f"location.hash = {json.dumps('#/' + place)}")
        await self.until(
            f"return document.querySelector('h1')?.innerText === {json.dumps(title)}"
            " && !document.body.innerText.includes('Loading…')"
        )

    async def press(self, name: str) -> None:
        """Press the button of this name once it is there and may be pressed."""
        await self.until(
            f"""const found = [...document.querySelectorAll("button")].find((each) =>
              (each.getAttribute("aria-label") ?? each.innerText).startsWith({json.dumps(name)})
              && !each.disabled && (each.closest("dialog") || !document.querySelector("dialog")));
            found?.click(); return found !== undefined"""
        )

    async def confirm(self, outcome: str) -> None:
        """Confirm the open dialog, see what came of it, and close it."""
        await self.until(
            """const button = document.querySelector("dialog[open] [type=submit]");
            button?.click(); return button !== null"""
        )
        await self.until(
            "return document.querySelector('dialog .outcome, dialog .trouble') !== null"
        )
        text = await self.tab.evaluate("document.querySelector('dialog').innerText")
        assert outcome in text, text
        await self.press("Close")
        await self.until("return document.querySelector('dialog') === null")

    async def screenshot(self, file: Path) -> None:
        """Write what the whole page looks like."""
        shown = await self.tab.call("Page.captureScreenshot", captureBeyondViewport=True)
        await trio.Path(file).write_bytes(base64.b64decode(shown["data"]))

    async def resize(self, width: int) -> None:
        """Give the page a window of this width, a telephone's if it is narrow."""
        telephone = width <= 640
        ratio = 2 if telephone else 1
        screen = {"width": width, "height": 900, "deviceScaleFactor": ratio, "mobile": telephone}
        await self.tab.call("Emulation.setDeviceMetricsOverride", **screen)


@asynccontextmanager
async def visiting(
    folder: Path,
    served: Served,
    *,
    width: int = 1280,
    port: int | None = None,
    page: str = "console",
    extension: str = "",
) -> AsyncIterator[Visitor]:
    """Open a page in a browser of its own, by way of another port if one is given."""
    url = f"{served.url if port is None else f'http://127.0.0.1:{port}'}/{page}"
    async with browsing(folder, url, width=width, extension=extension) as tab:
        visitor = Visitor(tab, url)
        await visitor.resize(width)
        yield visitor
