"""Every page of the console in a browser: what it shows, to whom, and how it looks."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from cvms.errors import ChainUnavailable
from cvms.http import pages as pages_room
from cvms.http.framework.admin_tokens import Role
from tests.harness.installed_tools import node_modules
from tests.harness.localnet import Localnet
from tests.harness.service import running
from tests.http.admin.test_admin_routes import SECRET
from tests.http.pages.office import Office, office_of, request_unfreezing
from tests.http.pages.visitor import Visitor, visiting

PAGES = Path(pages_room.__file__).parent
WIDTHS = (2560, 390)
SMALL, INTERACTIVE_MS = 200_000, 1_000
# Of all rules, only that of contrast has another answer in the dark.
SCHEMES = {"light": "{}", "dark": '{runOnly: ["color-contrast"]}'}
# The worst that axe-core finds, with the elements.
AUDIT = """axe.run(document, %s).then(({violations}) => violations
  .filter(({impact}) => impact === "serious" || impact === "critical")
  .map(({id, nodes}) => `${id}: ${nodes.map(({html, any}) => html.slice(0, 200)
    + " " + any.map(({message}) => message)).join("; ")}`))"""
# What is wider than the window, does not stand below the header, or has lines too long to read.
LAYOUT = """(() => {
  const box = (each) => each.getBoundingClientRect();
  const {scrollWidth, clientWidth} = document.documentElement;
  const left = (selector) => Math.round(box(document.querySelector(selector)).left);
  return [
    ...(scrollWidth === clientWidth ? [] : [`${scrollWidth} pixels wide, of ${clientWidth}`]),
    ...(left(".product") === left("h1") ? [] : [`${left("h1")} and ${left(".product")}`]),
    ...[...document.querySelectorAll("main p, main li, main dd")]
      .filter((each) => each.innerText.length > 200 && box(each).width > 1400)
      .map((each) => `a line of ${box(each).width} pixels: ${each.innerText.slice(0, 60)}`),
  ];
})()"""
LOADED = """(() => {
  const [page, ...rest] = [performance.getEntriesByType("navigation")[0],
    ...performance.getEntriesByType("resource").filter(({name}) => name.includes("/console"))];
  return {bytes: [page, ...rest].reduce((sum, {decodedBodySize}) => sum + decodedBodySize, 0),
    ready: performance.getEntriesByName("console-interactive")[0].startTime};
})()"""


def places(office: Office) -> dict[str, tuple[str, str]]:
    """Return each page's place, its title, and something that only real data makes it show."""
    owner = str(office.owner.pubkey())
    return {
        "overview": ("Overview", "1,250.00"),
        "alerts": ("Alerts", "more than a tenth of all value"),
        f"alerts/{office.alert}": ("Alerts", "a withdrawal"),
        "vaults": ("Vaults", owner),
        f"vaults/{owner}": ("Vaults", "The books say what the chain says"),
        "submissions": ("Submissions", office.submission[:12]),
        f"submissions/{office.submission}": ("Submissions", "The evidence shows"),
        "reconciliation": ("Reconciliation", "No difference has been found."),
        "deliveries": ("Deliveries", office.delivery),
        "approvals": ("Approvals", "carol"),
        "programs": ("Programs and governance", str(office.served.operator.pubkey())),
        "audit": ("Audit", "approval_request"),
        "settings": ("Settings", "DATABASE_URL"),
        "logs": ("Logs", "The lines of the process that answers"),
        "runbooks": ("Runbooks", "runbooks"),
    }


async def audit(visitor: Visitor, place: str) -> list[str]:
    """Return what axe-core finds on the page, in both colour schemes."""
    found = []
    for scheme, options in SCHEMES.items():
        feature = {"name": "prefers-color-scheme", "value": scheme}
        await visitor.tab.call("Emulation.setEmulatedMedia", features=[feature])
        found += [
            f"{place}, {scheme}: {each}" for each in await visitor.tab.evaluate(AUDIT % options)
        ]
    return found


@pytest.mark.slow(seconds=17)
async def test_every_page_shows_real_data_and_everybody_can_use_it(
    database_url: str, localnet: Localnet, tmp_path: Path
) -> None:
    """On a telephone, and without an error, a wide page or a request to another host."""
    axe = (node_modules(PAGES) / "axe-core" / "axe.min.js").read_text()
    async with (
        office_of(database_url, localnet) as office,
        visiting(tmp_path, office.served, width=390) as visitor,
    ):
        await request_unfreezing(office.served)
        tab, faults = visitor.tab, []
        await tab.appear("[name=token]")
        await tab.evaluate(axe)
        faults += await audit(visitor, "sign in")
        loaded: dict[str, Any] = await tab.evaluate(LOADED)
        await visitor.sign_in()
        for place, (title, text) in places(office).items():
            await visitor.go(place, title)
            await visitor.see(text, within="main")
            faults += await audit(visitor, place)
            for width in WIDTHS:
                await visitor.resize(width)
                faults += [f"{place}, {width}: {each}" for each in await tab.evaluate(LAYOUT)]
        assert faults == []
        assert tab.errors == []
        assert loaded["bytes"] < SMALL
        assert loaded["ready"] < INTERACTIVE_MS
        urls = {urlsplit(each) for each in tab.requested if not each.startswith("data:")}
        assert {url.netloc for url in urls} == {urlsplit(visitor.url).netloc}
        assert not any("token" in url.query for url in urls)


async def test_a_viewer_reads_and_is_told_what_needs_more(
    database_url: str, tmp_path: Path
) -> None:
    async with (
        running(database_url, admin_jwt_secret=SECRET) as service,
        visiting(tmp_path, service) as visitor,
    ):
        await visitor.tab.appear("[name=token]")
        await visitor.type("token", "not a token")
        await visitor.press("Sign in")
        await visitor.see("This is not a token.")
        await visitor.sign_in("eve", Role.VIEWER)
        with pytest.raises(ChainUnavailable):
            await service.rpc.probe()
        await visitor.see("failing, ", within="main")
        await visitor.go("reconciliation", "Reconciliation")
        await visitor.see("needs the role operator; yours is viewer")
        disabled = "document.querySelector('[aria-label=\"Reconcile all vaults\"]').disabled"
        assert await visitor.tab.evaluate(disabled)

        service.shutdown.set()
        await visitor.see("Stale since", within=".live")
        await visitor.tab.evaluate("location.hash = '#/audit'")
        await visitor.see("Check your connection, and that the service runs.", within="main")
