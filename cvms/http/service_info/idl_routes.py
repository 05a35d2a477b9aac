"""The programs' IDLs, from which Anchor clients start, with the addresses of this deployment."""

from __future__ import annotations

from typing import Any, get_args

import msgspec
from quart import Response

from cvms.chain.program.idl import ProgramName, idl_json
from cvms.chain.types import Programs
from cvms.errors import NotFound
from cvms.http.framework.dependencies import Dependencies
from cvms.http.framework.response import bytes_with_strong_etag
from cvms.http.framework.routing import Route


def routes(deps: Dependencies) -> tuple[Route, ...]:
    documents = {name: _document(name, deps.programs) for name in get_args(ProgramName)}

    async def get_idl(_deps: Dependencies, program: str) -> Response:
        """Get the IDL of a program.

        `program` is `collateral_vault`, `position_manager` or `yield_pool`.
        """
        document = documents.get(program)
        if document is None:
            known = ", ".join(documents)
            raise NotFound(f"There is no program {program!r}. The programs are {known}.")
        return bytes_with_strong_etag(document)

    return (
        Route(
            method="GET",
            rule="/api/idl/<program>",
            handler=get_idl,
            replies={200: dict[str, Any], 304: None},
            refusals=(NotFound,),
            tags=("operation",),
        ),
    )


def _document(name: ProgramName, programs: Programs) -> bytes:
    addresses = {
        "collateral_vault": programs.vault,
        "position_manager": programs.position_manager,
        "yield_pool": programs.yield_pool,
    }
    interface: dict[str, Any] = msgspec.json.decode(idl_json(name))
    return msgspec.json.encode(interface | {"address": str(addresses[name])})
