"""What stock Anchor clients start from: the programs' IDLs, with the addresses they have here."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import partial
from typing import Any, get_args

import msgspec
from quart import Response

from cvms.chain.program.idl import ProgramName, idl_json
from cvms.chain.types import Programs
from cvms.errors import NotFound
from cvms.http.framework.dependencies import Dependencies
from cvms.http.framework.response import conditional
from cvms.http.framework.routing import Route


@dataclass(frozen=True, slots=True)
class Document:
    """An IDL as it is served; `etag` is of these bytes."""

    body: bytes
    etag: str


def routes(deps: Dependencies) -> tuple[Route, ...]:
    documents = {name: _document(name, deps.programs) for name in get_args(ProgramName)}
    return (
        Route(
            method="GET",
            rule="/api/idl/<program>",
            handler=partial(idl, documents=documents),
            replies={200: dict[str, Any], 304: None},
            refusals=(NotFound,),
            tags=("operation",),
        ),
    )


async def idl(deps: Dependencies, program: str, *, documents: dict[str, Document]) -> Response:
    """The program's IDL; 304 for whoever has it already."""
    document = documents.get(program)
    if document is None:
        known = ", ".join(documents)
        raise NotFound(f"There is no program of this name here; there are {known}.")
    return conditional(Response(document.body, content_type="application/json"), document.etag)


def _document(name: ProgramName, programs: Programs) -> Document:
    addresses = {
        "collateral_vault": programs.vault,
        "position_manager": programs.position_manager,
        "yield_pool": programs.yield_pool,
    }
    interface: dict[str, Any] = msgspec.json.decode(idl_json(name))
    body = msgspec.json.encode(interface | {"address": str(addresses[name])})
    return Document(body, hashlib.sha256(body).hexdigest()[:32])
