"""A trader at the page of a vault, whose browser has wallets with the test's keys."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import trio
from solders.keypair import Keypair

from tests.harness.processes import HANG_SECONDS
from tests.harness.service import Served
from tests.http.pages.visitor import Visitor, visiting

WALLET = Path(__file__).parent / "wallet.js"
OLD_WALLET = "Old wallet"
"""The name of one that signs no texts."""
# The page's connections. A page that is hidden does not poll: only the stream tells it of changes.
STREAM = """(() => {
  Object.defineProperty(document, "hidden", { value: true });
  const Real = WebSocket;
  window.sockets = [];
  window.WebSocket = class extends Real {
    constructor(...of) {
      super(...of);
      window.sockets.push(this);
      this.addEventListener("open", () => window.isCut && this.close());
    }
  };
})();"""
LANDED = "dialog .outcome, dialog .trouble"


@dataclass(frozen=True, slots=True)
class Trader(Visitor):
    """A visitor of `/vault/{owner}`."""

    async def connect(self, wallet: str) -> None:
        await self.press(f"Connect {wallet}")
        await self.see(wallet, within="section.card")

    async def request(self, button: str, **fields: str) -> None:
        """Press an operation's button, fill its dialog, and sign the request."""
        await self.press(button)
        for name, value in fields.items():
            await self.type(name, value)
        await self.press("Continue")

    async def move(self, button: str, **fields: str) -> str:
        """Do an operation, signing its transaction if there is one, until the chain confirms it.

        Return what the page has shown for review.
        """
        await self.request(button, **fields)
        await self.until(
            f"return document.querySelector('dialog .facts, {LANDED.replace(',', ', ')}') !== null"
        )
        reviewed = await self.dialog()
        if "This is what you sign" in reviewed:
            await self.press("Sign and send")
        await self.until(
            """const badge = document.querySelector("dialog .outcome .badge");
            return badge && ["confirmed", "finalized"].includes(badge.innerText)"""
        )
        await self.close()
        return reviewed

    async def reload(self) -> None:
        """Load the page again, and return once the new one is there."""
        await self.tab.evaluate("window.isOld = true")
        await self.tab.call("Page.reload")
        is_new = "window.isOld === undefined && document.querySelector('h1') !== null"
        with trio.fail_after(HANG_SECONDS):
            while not await self.tab.evaluate(is_new):  # noqa: ASYNC110
                await trio.sleep(0.01)

    async def dialog(self) -> str:
        text: str = await self.tab.evaluate("document.querySelector('dialog').innerText")
        return text

    async def trouble(self) -> str:
        """Wait until the dialog says that something went wrong, and return what."""
        text: str = await self.until("return document.querySelector('dialog .trouble')?.innerText")
        return text

    async def close(self) -> None:
        await self.tab.evaluate("document.querySelector('dialog').close()")
        await self.until("return document.querySelector('dialog') === null")

    async def balance(self, name: str, shown: str) -> None:
        """Wait until the page shows a balance."""
        await self.until(
            f"return document.querySelector('#balance-{name}')?.innerText === {json.dumps(shown)}"
        )

    async def wallet(self, name: str) -> Any:
        """Return what the wallet was asked, and whether it refuses."""
        return await self.tab.evaluate(f"testWallets[{json.dumps(name)}]")


@asynccontextmanager
async def trading(
    folder: Path, served: Served, owner: Keypair, wallets: dict[str, Keypair]
) -> AsyncIterator[Trader]:
    """Open an owner's page on a telephone, in a browser with these wallets."""
    keys = [
        {
            "name": name,
            "address": str(key.pubkey()),
            "seed": list(key.secret()),
            "publicKey": list(bytes(key.pubkey())),
            "lacks": "solana:signMessage" if name == OLD_WALLET else "",
        }
        for name, key in (wallets | {OLD_WALLET: Keypair()}).items()
    ]
    extension = STREAM + WALLET.read_text().replace("KEYS)", f"{json.dumps(keys)})")
    page = f"vault/{owner.pubkey()}"
    async with visiting(folder, served, width=390, page=page, extension=extension) as visitor:
        yield Trader(visitor.tab, visitor.url)
