"""GET /console, a page for administrators, GET /console/runbooks, which needs no token,
GET /vault/{owner}, a page for the owner of a vault, and GET /verify, which verifies proofs.

The pages hold no data. They read it from the API: the console with the token that its user pastes,
an owner's page with the signatures of a wallet. `/verify` reads files of its user only.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from importlib import resources

import msgspec
from werkzeug.exceptions import NotFound

from cvms.errors import InvalidRequest
from cvms.http.framework.edge import Edge
from cvms.http.framework.request import Request, owner_in_path
from cvms.http.framework.response import Response, bytes_with_strong_etag, content

HTML = "text/html; charset=utf-8"
FILES = {
    "console.js": "text/javascript; charset=utf-8",
    "console.css": "text/css; charset=utf-8",
    "icon.svg": "image/svg+xml",
    "runbooks.json": "application/json",
}
OWNERS_FILES = {
    "owners.js": "text/javascript; charset=utf-8",
    "owners.css": "text/css; charset=utf-8",
    "icon.svg": "image/svg+xml",
}
VERIFY_FILES = {
    "verify.js": "text/javascript; charset=utf-8",
    "verify.css": "text/css; charset=utf-8",
    "icon.svg": "image/svg+xml",
}
SILENT_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; "
    "frame-ancestors 'none'; base-uri 'none'; form-action 'none'"
)
POLICY = f"{SILENT_POLICY}; connect-src 'self'"
# Relative links, for a proxy that adds a prefix. `up` leads to the folder of /console.
PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<title>{title} · CVMS</title>
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<link rel="icon" href="{up}console/icon.svg" type="image/svg+xml">
<link rel="stylesheet" href="{up}console/console.css">
</head>
<body>
<header><p class="product">CVMS runbooks</p></header>
<nav aria-label="Pages"><ul>
<li><a href="{up}console/runbooks">All runbooks</a></li>
<li><a href="{up}console">Console</a></li>
</ul></nav>
<main class="prose">
<h1>{title}</h1>
{content}
</main>
</body>
</html>
"""
MAX_OWNER_SHOWN = 80
NO_OWNER = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<title>Not an address · CVMS</title>
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<link rel="icon" href="files/icon.svg" type="image/svg+xml">
<link rel="stylesheet" href="files/owners.css">
</head>
<body>
<header><p class="product">CVMS vault</p></header>
<main>
<h1>This is not the address of a wallet</h1>
<p class="trouble"><code>{owner}</code> is no address of Solana: these are 32 to 44 letters and
digits, without 0, O, I and l.</p>
<p>Copy the address from your wallet, and put it at the end of this page's URL, after
<code>/vault/</code>.</p>
</main>
</body>
</html>
"""


class Runbook(msgspec.Struct, frozen=True):
    """A page of `docs/runbooks/`, whose HTML the build has made."""

    name: str
    title: str
    html: str


def register_pages(app: Edge) -> None:
    """Add the pages, their files and the runbooks to the application."""
    runbooks = msgspec.json.decode(_built("runbooks.json"), type=list[Runbook])

    async def index(request: Request, variables: Mapping[str, str]) -> Response:
        return _page(_index(runbooks))

    async def runbook(request: Request, variables: Mapping[str, str]) -> Response:
        found = [each for each in runbooks if each.name == variables["name"]]
        if not found:
            raise NotFound(
                f"There is no runbook {variables['name']}. /console/runbooks lists them."
            )
        return _page(_shown(found[0].title, found[0].html, up="../../"))

    app.add("GET", "/console", _console)
    app.add("GET", "/console/<name>", _file)
    app.add("GET", "/console/runbooks", index)
    app.add("GET", "/console/runbooks/<name>", runbook)
    app.add("GET", "/vault/<owner>", _vault)
    app.add("GET", "/vault/files/<name>", _owners_file)
    app.add("GET", "/verify", _verify)
    app.add("GET", "/verify/<name>", _verify_file)


async def _console(request: Request, variables: Mapping[str, str]) -> Response:
    return _page(_built("index.html"))


async def _file(request: Request, variables: Mapping[str, str]) -> Response:
    return _one_of(FILES, variables["name"])


async def _vault(request: Request, variables: Mapping[str, str]) -> Response:
    """Return the page of an owner, which is the same for all, or say that this is no owner."""
    try:
        owner_in_path(variables["owner"])
    except InvalidRequest:
        shown = escape(variables["owner"][:MAX_OWNER_SHOWN])
        fault = content(NO_OWNER.format(owner=shown).encode(), HTML, 404)
        fault.headers["Content-Security-Policy"] = POLICY
        return fault
    return _page(_built("owners.html"))


async def _owners_file(request: Request, variables: Mapping[str, str]) -> Response:
    return _one_of(OWNERS_FILES, variables["name"])


async def _verify(request: Request, variables: Mapping[str, str]) -> Response:
    return _page(_built("verify.html"), SILENT_POLICY)


async def _verify_file(request: Request, variables: Mapping[str, str]) -> Response:
    return _one_of(VERIFY_FILES, variables["name"])


def _one_of(files: Mapping[str, str], name: str) -> Response:
    if name not in files:
        raise NotFound
    return bytes_with_strong_etag(_built(name), files[name])


def _built(name: str) -> bytes:
    return resources.files("cvms.http.pages").joinpath("dist", name).read_bytes()


def _page(body: bytes, policy: str = POLICY) -> Response:
    response = bytes_with_strong_etag(body, HTML)
    response.headers["Content-Security-Policy"] = policy
    return response


def _index(runbooks: Sequence[Runbook]) -> bytes:
    items = "\n".join(
        f'<li><a href="runbooks/{escape(each.name)}">{escape(each.title)}</a></li>'
        for each in runbooks
    )
    content = f"<ul>\n{items}\n</ul>" if runbooks else "<p>This build has no runbooks.</p>"
    return _shown("Runbooks", content, up="../")


def _shown(title: str, content: str, *, up: str) -> bytes:
    return PAGE.format(title=escape(title), content=content, up=up).encode()
