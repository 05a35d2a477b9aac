"""Debian's Chromium without a window, driven by the Chrome DevTools Protocol."""

from __future__ import annotations

import itertools
import json
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import trio
from trio_websocket import WebSocketConnection

from tests.harness.debian_programs import chromium
from tests.harness.processes import HANG_SECONDS
from tests.websockets import opened

OPTIONS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--remote-debugging-port=0",
)

PICTURE = 2**25
"""Bytes that a message may have: one may be a picture of a whole page."""


@dataclass(slots=True)
class Tab:
    """One page, the URLs that it has requested, and what its console shows as errors."""

    socket: WebSocketConnection
    session: str = ""
    requested: list[str] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)
    saved: list[str] = field(default_factory=list)
    """Files that it has downloaded."""
    _ids: itertools.count[int] = field(default_factory=itertools.count)

    async def call(self, method: str, **parameters: Any) -> Any:
        """Call a method of the protocol, and return its result."""
        number = next(self._ids)
        call = {"id": number, "method": method, "params": parameters}
        if self.session:
            call["sessionId"] = self.session
        await self.socket.send_message(json.dumps(call))
        while True:
            reply = await self._receive()
            if reply.get("id") == number:
                assert "error" not in reply, reply
                return reply["result"]

    async def _receive(self) -> Any:
        reply = json.loads(await self.socket.get_message())
        self._note(reply.get("method"), reply.get("params", {}))
        return reply

    def _note(self, method: str | None, event: Any) -> None:
        if method == "Network.requestWillBeSent":
            self.requested.append(event["request"]["url"])
        elif method == "Runtime.exceptionThrown":
            self.errors.append(str(event["exceptionDetails"]))
        elif method == "Runtime.consoleAPICalled" and event["type"] in {"error", "warning"}:
            self.errors.append(str(event["args"]))
        elif method == "Log.entryAdded" and event["entry"]["level"] in {"error", "warning"}:
            self.errors.append(f"{event['entry']['text']} {event['entry'].get('url', '')}")
        elif method == "Browser.downloadProgress" and event["state"] == "completed":
            self.saved.append(event["filePath"])

    async def keep_downloads(self, folder: Path) -> None:
        """Save in a folder what the page offers as a file."""
        where = {"behavior": "allowAndName", "downloadPath": str(folder), "eventsEnabled": True}
        await self.call("Browser.setDownloadBehavior", **where)

    async def downloaded(self) -> bytes:
        """Wait until a file is saved, and return what is in it."""
        while not self.saved:
            await self._receive()
        return await trio.Path(self.saved.pop()).read_bytes()

    async def evaluate(self, script: str) -> Any:
        """Return the value of a script, which may be a promise."""
        reply = await self.call(
            "Runtime.evaluate", expression=script, awaitPromise=True, returnByValue=True
        )
        assert "exceptionDetails" not in reply, reply
        return reply["result"].get("value")

    async def appear(self, selector: str) -> None:
        """Wait until the page has an element."""
        await self.evaluate(
            f"""new Promise((found) => {{
              const look = () => document.querySelector({json.dumps(selector)}) && found();
              new MutationObserver(look).observe(document, {{childList: true, subtree: true}});
              look();
            }})"""
        )


@asynccontextmanager
async def browsing(
    folder: Path, url: str, *, width: int, extension: str = ""
) -> AsyncIterator[Tab]:
    """Open a page on a telephone of this width. The script of an extension runs before its own."""
    command = [str(chromium()), *OPTIONS, f"--user-data-dir={folder}", "about:blank"]
    async with trio.open_nursery() as nursery:
        process: trio.Process = await nursery.start(
            partial(trio.run_process, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE), command
        )
        with trio.fail_after(HANG_SECONDS):
            url_of_debugger = await _debugger(process)
            async with opened(url_of_debugger, max_message_size=PICTURE) as socket:
                tab = Tab(socket)
                target = await tab.call("Target.createTarget", url="about:blank")
                attached = await tab.call(
                    "Target.attachToTarget", targetId=target["targetId"], flatten=True
                )
                tab.session = attached["sessionId"]
                for domain in ("Network", "Page", "Runtime", "Log"):
                    await tab.call(f"{domain}.enable")
                screen = {"width": width, "height": 844, "deviceScaleFactor": 2, "mobile": True}
                await tab.call("Emulation.setDeviceMetricsOverride", **screen)
                await tab.call("Page.addScriptToEvaluateOnNewDocument", source=extension)
                await tab.call("Page.navigate", url=url)
                yield tab
        nursery.cancel_scope.cancel()


async def _debugger(process: trio.Process) -> str:
    """Return the address that Chromium prints once it listens."""
    assert process.stderr is not None
    printed = b""
    while b"\n" not in (rest := printed.partition(b"DevTools listening on ")[2]):
        part = await process.stderr.receive_some()
        assert part, printed
        printed += part
    return rest.partition(b"\n")[0].decode().strip()
