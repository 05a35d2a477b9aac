"""JSON-RPC 2.0: parsing of requests, dispatch to the methods, encoding of replies."""

from __future__ import annotations

import json

import structlog
import trio

from cvms.errors import RpcError
from cvms.localnet.node.faults import Fail
from cvms.localnet.node.node import Node
from cvms.localnet.rpc.call.params import Params
from cvms.localnet.rpc.call.rpc_errors import (
    INTERNAL_ERROR,
    INVALID_PARAMS,
    INVALID_REQUEST,
    METHOD_NOT_FOUND,
    PARSE_ERROR,
)
from cvms.localnet.rpc.method_table import METHODS
from cvms.localnet.types import Json
from cvms.localnet.vm.machine import MachinePanicked

log = structlog.get_logger(__name__)


async def answer(node: Node, body: bytes) -> bytes | None:
    """Return the reply to a call or a batch, or None if it has only notifications."""
    try:
        request = json.loads(body)
    except (ValueError, RecursionError):
        return _encoded(error_reply(None, RpcError(PARSE_ERROR, "Parse error")))
    if not isinstance(request, list):
        reply = answer_call(node, request)
        return None if reply is None else _encoded(reply)
    if not request:
        return _encoded(error_reply(None, RpcError(INVALID_REQUEST, "Invalid request")))
    replies = []
    for call in request:
        await trio.lowlevel.checkpoint()  # a long batch must not delay other clients
        if (reply := answer_call(node, call)) is not None:
            replies.append(reply)
    return _encoded(replies) if replies else None


def answer_call(node: Node, call: Json) -> Json:
    """Return the reply to one call, or None for a notification."""
    try:
        name, params = read_call(call)
    except RpcError as error:
        identifier = call.get("id") if isinstance(call, dict) else None
        return error_reply(identifier, error)
    if "id" not in call:
        return None
    try:
        return result_reply(call["id"], _run(node, name, params))
    except RpcError as error:
        return error_reply(call["id"], error)


def read_call(call: Json) -> tuple[str, Params]:
    """Return the method's name and its positional parameters. Raises RpcError."""
    if not isinstance(call, dict) or call.get("jsonrpc") != "2.0":
        raise RpcError(INVALID_REQUEST, "Invalid request")
    if not isinstance(call.get("method"), str) or not _is_id(call.get("id")):
        raise RpcError(INVALID_REQUEST, "Invalid request")
    params = call.get("params")
    if params is not None and not isinstance(params, list):
        raise RpcError(INVALID_PARAMS, "`params` should be an array")
    return call["method"], Params(params or [])


def _is_id(value: Json) -> bool:
    return value is None or (isinstance(value, int | float | str) and not isinstance(value, bool))


def _run(node: Node, name: str, params: Params) -> Json:
    method = METHODS.get(name)
    if method is None:
        raise RpcError(METHOD_NOT_FOUND, "Method not found")
    raise_injected_error(node, name)
    try:
        return method(node, params)
    except (ArithmeticError, LookupError, MachinePanicked, TypeError, ValueError) as error:
        # One bad request must not end the chain for all clients. An error of the ledger does.
        log.exception("rpc_method_failed", method=name)
        raise RpcError(INTERNAL_ERROR, "Internal error") from error


def raise_injected_error(node: Node, method: str) -> None:
    """Raise the RpcError of a fault that occurs for this call."""
    if node.faults.rpc and (fault := node.faults.strike(Fail, (method,))):
        raise RpcError(fault.code, fault.message, fault.data)


def result_reply(identifier: Json, result: Json) -> Json:
    return {"jsonrpc": "2.0", "result": result, "id": identifier}


def error_reply(identifier: Json, error: RpcError) -> Json:
    shown = {"code": error.code, "message": error.message}
    if error.data is not None:
        shown["data"] = error.data
    return {"jsonrpc": "2.0", "error": shown, "id": identifier}


def _encoded(reply: Json) -> bytes:
    return json.dumps(reply, separators=(",", ":")).encode()
