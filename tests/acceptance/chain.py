"""JSON-RPC calls from a test to the chain."""

from __future__ import annotations

from typing import Any

import httpx


async def rpc(url: str, method: str, *params: Any) -> Any:
    """Call `method` and return its result."""
    request = {"jsonrpc": "2.0", "id": 1, "method": method, "params": params}
    async with httpx.AsyncClient() as http:
        reply = (await http.post(url, json=request)).json()
    assert "error" not in reply, reply
    return reply["result"]
