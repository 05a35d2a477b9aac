"""JSON-RPC 2.0 envelopes: encodes requests, and decodes and validates responses."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

import msgspec

from cvms.errors import CvmsError, RpcError

T = TypeVar("T")


class MalformedResponse(CvmsError):
    """The body is not a response to the request: wrong JSON, id or shape."""


class _Error(msgspec.Struct):
    code: int
    message: str
    data: Any = None


_ABSENT = msgspec.Raw(b"")


class _Response(msgspec.Struct):
    id: int | str | None = None
    result: msgspec.Raw = _ABSENT
    error: _Error | None = None


def encode_call(call_id: int, method: str, params: Sequence[Any]) -> dict[str, Any]:
    """Return one request object."""
    return {"jsonrpc": "2.0", "id": call_id, "method": method, "params": params}


def encode_body(request: Mapping[str, Any] | Sequence[Mapping[str, Any]]) -> bytes:
    """Return the bytes of a request or of a batch."""
    return msgspec.json.encode(request)


def decode_response(body: bytes, call_id: int, *, raw: bool = False) -> Any | RpcError:
    """Return the result, or the node's error as a value. Raises MalformedResponse.

    A `raw` result is the JSON text.
    """
    answer = _decode(body, _Response)
    if answer.error is not None and answer.id is None:
        return _value(answer, raw=raw)  # a node that cannot parse the request does not know its id
    if answer.id != call_id:
        raise MalformedResponse("the answer's id is not the request's")
    return _value(answer, raw=raw)


def decode_batch(
    body: bytes, call_ids: Sequence[int], *, raw: Sequence[bool] | None = None
) -> list[Any | RpcError]:
    """Return the results in the order of `call_ids`, a node's error as a value.

    A node may reject a whole batch with one error, alone or in a list, which then stands for each
    call. Results for which `raw` is True are JSON texts. Raises MalformedResponse.
    """
    if body.lstrip()[:1] == b"{":
        answer = _decode(body, _Response)
        if answer.error is None:
            raise MalformedResponse("one answer to a batch")
        return [_value(answer)] * len(call_ids)
    received = _decode(body, list[_Response])
    if len(received) == 1 and received[0].error is not None and received[0].id is None:
        return [_value(received[0])] * len(call_ids)
    answers = {answer.id: answer for answer in received}
    if answers.keys() != set(call_ids) or len(received) != len(call_ids):
        raise MalformedResponse("the answers' ids are not the requests'")
    texts = [False] * len(call_ids) if raw is None else raw
    return [_value(answers[each], raw=text) for each, text in zip(call_ids, texts, strict=True)]


def _decode(body: bytes | msgspec.Raw, kind: type[T]) -> T:
    try:
        return msgspec.json.decode(body, type=kind)
    except (msgspec.DecodeError, RecursionError):
        raise MalformedResponse("the body is not the JSON of an answer") from None


def _value(answer: _Response, *, raw: bool = False) -> Any | RpcError:
    if answer.error is not None:
        return RpcError(answer.error.code, answer.error.message, answer.error.data)
    if answer.result is _ABSENT:
        raise MalformedResponse("neither result nor error")
    return answer.result if raw else _decode(answer.result, Any)
