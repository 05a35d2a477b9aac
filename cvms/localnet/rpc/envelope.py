"""JSON-RPC requests and replies as `jsonrpc-core` 18, which a validator uses, takes and makes them.

A request whose `id` is no id, or a batch with something that is no call, is a parse error there.
"""

from __future__ import annotations

from dataclasses import dataclass

import msgspec

from cvms.errors import CvmsError, RpcError
from cvms.localnet.rpc.call.rpc_errors import INVALID_REQUEST, PARSE_ERROR
from cvms.localnet.types import Json

MAX_ID = 2**64 - 1


class NotARequest(CvmsError):
    """The text is neither a call nor a list of calls."""


@dataclass(frozen=True, slots=True)
class Call:
    """One call. A notification has no `id`, and gets no reply."""

    identifier: Json
    method: str = ""
    params: Json = None
    is_notification: bool = False
    error: RpcError | None = None
    """Why it cannot be made."""
    version: str | None = "2.0"


def read_request(text: bytes | str) -> Call | list[Call]:
    """Return a call or a batch. Raises NotARequest."""
    try:
        request = msgspec.json.decode(text)
    except (ValueError, RecursionError) as error:
        raise NotARequest(str(error)) from None
    if isinstance(request, list):
        return [_read_call(call) for call in request]
    return _read_call(request)


def _read_call(call: Json) -> Call:
    if not isinstance(call, dict):
        raise NotARequest("a call is an object")
    has_id, identifier = "id" in call, call.get("id")
    if has_id and not _is_id(identifier):
        raise NotARequest("the id is neither null, a number nor a string")
    valid = (
        isinstance(call.get("method"), str)
        and call.get("jsonrpc") in (None, "2.0")
        and isinstance(call.get("params"), list | dict | None)
        and set(call) <= {"jsonrpc", "method", "params", "id"}
    )
    if not valid:
        return Call(identifier, error=RpcError(INVALID_REQUEST, "Invalid request"))
    error = None
    if call.get("jsonrpc") is None:
        error = RpcError(INVALID_REQUEST, "Unsupported JSON-RPC protocol version")
    return Call(
        identifier,
        call["method"],
        call.get("params"),
        is_notification=not has_id,
        error=error,
        version=call.get("jsonrpc"),
    )


def _is_id(value: Json) -> bool:
    if isinstance(value, bool):
        return False
    return (
        value is None or isinstance(value, str) or (isinstance(value, int) and 0 <= value <= MAX_ID)
    )


def parse_error() -> Json:
    return error_reply(Call(None), RpcError(PARSE_ERROR, "Parse error"))


def result_reply(call: Call, result: Json) -> Json:
    return {"jsonrpc": "2.0", "result": result, "id": call.identifier}


def error_reply(call: Call, error: RpcError) -> Json:
    shown = {"code": error.code, "message": error.message}
    if error.data is not None:
        shown["data"] = error.data
    version = {} if call.version is None else {"jsonrpc": call.version}
    return {**version, "error": shown, "id": call.identifier}
