"""An incident at the console, run by `make incident`: what the pages show goes to SCREENSHOTS.

The RPC node goes away and comes back, somebody changes a vault's row by hand, and the outcome of a
deposit is unknown. Two administrators see each, and end it.
"""

from __future__ import annotations

import os
from functools import partial
from pathlib import Path
from urllib.parse import urlsplit

import trio

from tests.harness.localnet import Localnet
from tests.harness.tcp_proxy import tcp_proxy
from tests.http.pages.office import Office, office_of
from tests.http.pages.test_actions import (
    approve_settlement,
    heal_a_difference,
    request_settlement,
)
from tests.http.pages.visitor import Visitor, visiting
from tests.paths import ROOT

FOLDER = "build/incident"


class Album:
    """Numbered pictures of a console, in a folder."""

    def __init__(self, visitor: Visitor) -> None:
        self._visitor = visitor
        self._folder = ROOT / (os.environ.get("SCREENSHOTS") or FOLDER)
        self._folder.mkdir(parents=True, exist_ok=True)
        self._count = 0

    async def add(self, name: str) -> None:
        self._count += 1
        await self._visitor.screenshot(self._folder / f"{self._count:02}-{name}.png")


async def test_two_administrators_see_an_incident_and_end_it(
    database_url: str, localnet: Localnet, tmp_path: Path
) -> None:
    port = urlsplit(localnet.rpc_url).port or 0
    async with (
        tcp_proxy(partial(trio.open_tcp_stream, "127.0.0.1", port)) as rpc,
        office_of(database_url, localnet, rpc_urls=(f"http://127.0.0.1:{rpc.port}",)) as office,
        visiting(tmp_path, office.served) as visitor,
    ):
        album = Album(visitor)
        await visitor.sign_in("carol")
        await visitor.see("Ready", within=".tile.good")
        await album.add("everything-is-well")

        rpc.refuse()
        await visitor.see("Not ready", within=".tile.critical")
        await album.add("the-node-is-away")
        owner = str(office.owner.pubkey())
        await visitor.go(f"vaults/{owner}", "Vaults")
        await visitor.see("look at the endpoints under Overview", within="main")
        await album.add("no-comparison-without-a-node")
        rpc.heal()
        await visitor.go("overview", "Overview")
        await visitor.see("Ready", within=".tile.good")
        await visitor.go(f"vaults/{owner}", "Vaults")
        await visitor.see("The books say what the chain says", within="main")
        await album.add("the-node-is-back")

        await heal_a_difference(visitor, office)
        await album.add("a-difference-was-healed")
        await _see_quarantine(visitor, office, album)
        await request_settlement(visitor, office)
        await album.add("a-settlement-waits")
        await visitor.press("Sign out")
        await visitor.sign_in("bob")
        await approve_settlement(visitor, office)
        await visitor.go("audit", "Audit")
        await album.add("what-both-did")


async def _see_quarantine(visitor: Visitor, office: Office, album: Album) -> None:
    await visitor.go("alerts", "Alerts")
    await visitor.see("submission quarantined", within="main")
    await album.add("alerts")
    await visitor.go(f"submissions/{office.submission}", "Submissions")
    await visitor.see("The evidence shows", within="main")
    await album.add("evidence")
