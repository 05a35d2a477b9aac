"""The programs' IDLs, from which Anchor clients start, with the addresses of this deployment."""

from __future__ import annotations

from typing import Any

import msgspec
from solders.pubkey import Pubkey

from cvms.chain.program.idl import ProgramName, idl_json
from cvms.errors import NotFound
from cvms.http.framework.dependencies import Dependencies
from cvms.http.framework.response import Response, with_strong_etag
from cvms.http.framework.routing import RouteGroup

ROUTES = RouteGroup("operation")


@ROUTES.get("/api/idl/<program>", replies={200: dict[str, Any], 304: None}, refusals=(NotFound,))
async def get_idl(deps: Dependencies, program: str) -> Response:
    """Get the IDL of a program.

    `program` is `collateral_vault`, `position_manager` or `yield_pool`.
    """
    addresses: dict[ProgramName, Pubkey] = {
        "collateral_vault": deps.programs.vault,
        "position_manager": deps.programs.position_manager,
        "yield_pool": deps.programs.yield_pool,
    }
    for name, address in addresses.items():
        if name == program:
            interface: dict[str, Any] = msgspec.json.decode(idl_json(name))
            return with_strong_etag(interface | {"address": str(address)})
    raise NotFound(f"There is no program {program!r}. The programs are {', '.join(addresses)}.")
