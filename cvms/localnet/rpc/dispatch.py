"""Dispatch of JSON-RPC calls to the methods."""

from __future__ import annotations

import msgspec
import structlog
import trio

from cvms.errors import RpcError
from cvms.localnet.node.faults import Fail
from cvms.localnet.node.node import Node
from cvms.localnet.rpc.call.params import check_params
from cvms.localnet.rpc.call.rpc_errors import INTERNAL_ERROR, METHOD_NOT_FOUND
from cvms.localnet.rpc.call.signatures import SIGNATURES
from cvms.localnet.rpc.envelope import (
    Call,
    NotARequest,
    error_reply,
    parse_error,
    read_request,
    result_reply,
)
from cvms.localnet.rpc.method_table import METHODS
from cvms.localnet.types import Json
from cvms.localnet.vm.machine import MachinePanicked

log = structlog.get_logger(__name__)


async def answer(node: Node, body: bytes) -> bytes | None:
    """Return the reply to a call or a batch, or None if nothing in it wants one."""
    try:
        request = read_request(body)
    except NotARequest:
        return _line(parse_error())
    if isinstance(request, Call):
        reply = answer_call(node, request)
        return None if reply is None else _line(reply)
    replies = []
    for call in request:
        await trio.lowlevel.checkpoint()  # a long batch must not delay other clients
        if (reply := answer_call(node, call)) is not None:
            replies.append(reply)
    return _line(replies) if replies else None


def answer_call(node: Node, call: Call) -> Json:
    """Return the reply to one call, or None for a notification."""
    if call.is_notification:
        return None
    try:
        if call.error is not None:
            raise call.error
        return result_reply(call, _run(node, call))
    except RpcError as error:
        return error_reply(call, error)


def _run(node: Node, call: Call) -> Json:
    method = METHODS.get(call.method)
    if method is None:
        raise RpcError(METHOD_NOT_FOUND, "Method not found")
    raise_injected_error(node, call.method)
    params = check_params(call.params, SIGNATURES[call.method])
    try:
        return method(node, params)
    except (ArithmeticError, LookupError, MachinePanicked, TypeError, ValueError) as error:
        # One bad request must not end the chain for all clients. An error of the ledger does.
        log.exception("rpc_method_failed", method=call.method)
        raise RpcError(INTERNAL_ERROR, "Internal error") from error


def raise_injected_error(node: Node, method: str) -> None:
    """Raise the RpcError of a fault that occurs for this call."""
    if node.faults.rpc and (fault := node.faults.strike(Fail, (method,))):
        raise RpcError(fault.code, fault.message, fault.data)


def _line(reply: Json) -> bytes:
    return msgspec.json.encode(reply) + b"\n"
