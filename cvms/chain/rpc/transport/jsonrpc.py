"""JSON-RPC 2.0 envelopes: requests to bytes, a node's bytes to answers, nothing taken on trust."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

import msgspec

from cvms.errors import CvmsError, RpcError

T = TypeVar("T")

_LONGEST_MESSAGE = 500  # it ends up in logs and replies; a node's own are a sentence


class MalformedAnswer(CvmsError):
    """The endpoint's body is no answer to the request: wrong JSON, id or shape."""


class _Error(msgspec.Struct):
    code: int
    message: str
    data: Any = None


class _Answer(msgspec.Struct):
    id: int | str | None = None
    result: Any = msgspec.UNSET
    error: _Error | None = None


def encode_call(call_id: int, method: str, params: Sequence[Any]) -> dict[str, Any]:
    """One request object."""
    return {"jsonrpc": "2.0", "id": call_id, "method": method, "params": params}


def encode_body(request: Mapping[str, Any] | Sequence[Mapping[str, Any]]) -> bytes:
    """The bytes of a request or of a batch."""
    return msgspec.json.encode(request)


def decode_answer(body: bytes, call_id: int) -> Any | RpcError:
    """The result, or the node's error as a value. Raises MalformedAnswer."""
    answer = _decode(body, _Answer)
    if answer.error is not None and answer.id is None:
        return _value(answer)  # a node that could not read the request does not know its id
    if answer.id != call_id:
        raise MalformedAnswer("the answer's id is not the request's")
    return _value(answer)


def decode_batch(body: bytes, call_ids: Sequence[int]) -> list[Any | RpcError]:
    """The answers in the order of `call_ids`, in whatever order the node gave them.

    A node may answer a whole batch with one error: each call gets it. Raises MalformedAnswer.
    """
    if body.lstrip()[:1] == b"{":
        answer = _decode(body, _Answer)
        if answer.error is None:
            raise MalformedAnswer("one answer to a batch")
        return [_value(answer)] * len(call_ids)
    received = _decode(body, list[_Answer])
    answers = {answer.id: answer for answer in received}
    if answers.keys() != set(call_ids) or len(received) != len(call_ids):
        raise MalformedAnswer("the answers' ids are not the requests'")
    return [_value(answers[call_id]) for call_id in call_ids]


def _decode(body: bytes, kind: type[T]) -> T:
    try:
        return msgspec.json.decode(body, type=kind)
    except (msgspec.DecodeError, RecursionError):
        raise MalformedAnswer("the body is not the JSON of an answer") from None


def _value(answer: _Answer) -> Any | RpcError:
    if answer.error is not None:
        return RpcError(
            answer.error.code, answer.error.message[:_LONGEST_MESSAGE], answer.error.data
        )
    if answer.result is msgspec.UNSET:
        raise MalformedAnswer("neither result nor error")
    return answer.result
