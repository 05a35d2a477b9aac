"""What all faults of a provider have in common, and the three places where they take effect."""

from __future__ import annotations

import random
import zlib
from abc import ABC, abstractmethod
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

Json = Any
Call = dict[str, Any]
"""One JSON-RPC request object."""
Answer = dict[str, Any]
"""One JSON-RPC response object, with `result` or `error`."""


@dataclass(frozen=True, slots=True)
class HttpReply:
    """A reply with this body instead of the node's."""

    status: int
    body: bytes
    content_type: str = "application/json"
    headers: tuple[tuple[str, str], ...] = ()


@dataclass(slots=True, kw_only=True, eq=False)
class Fault:
    """A fault of calls of `methods` (if empty, of every method).

    It happens with `probability`, and `times` times at most (None is no limit). `struck` counts.
    """

    methods: Collection[str] = ()
    probability: float = 1.0
    times: int | None = None
    struck: int = field(default=0, init=False)

    def __post_init__(self) -> None:
        if isinstance(self.methods, str):  # a string is a collection of letters
            self.methods = (self.methods,)

    def strikes(self, methods: Collection[str], dice: random.Random) -> bool:
        """Return whether the fault happens to a request that calls `methods`, and count it."""
        if self.methods and not set(self.methods) & set(methods):
            return False
        if self.struck == self.times or dice.random() >= self.probability:
            return False
        self.struck += 1
        return True


@dataclass(slots=True, kw_only=True, eq=False)
class RequestFault(Fault, ABC):
    """A fault of a whole HTTP request."""

    forwards: bool = False
    """The node runs the calls all the same, and only its answer is lost."""

    def concerns(self, calls: Sequence[Call], *, batch: bool) -> bool:
        """Return whether the fault can happen to these calls."""
        return True

    @abstractmethod
    def reply(self, answered: bytes) -> HttpReply:
        """Return the reply; `answered` is the node's body if the calls were forwarded."""


@dataclass(slots=True, kw_only=True, eq=False)
class CallFault(Fault):
    """A fault of single calls, also of those in a batch."""

    def answer(self, call: Call) -> Answer | None:
        """Return the answer of a call that is not forwarded, None to forward it."""
        return None

    def change(self, call: Call, answer: Answer) -> Answer:
        """Return the node's answer as the provider gives it. `answer` may be changed."""
        return answer


@dataclass(slots=True, kw_only=True, eq=False)
class PubSubFault(Fault):
    """A fault of PubSub connections, of subscriptions by `methods` where that is meaningful."""

    def handshake(self) -> bytes | None:
        """Return what a new connection is answered by instead of a WebSocket."""
        return None

    def answers(self, call: Call) -> list[str | bytes] | None:
        """Return the messages that a request is answered by, None to forward it."""
        return None

    def change(self, message: dict[str, Any]) -> list[str | bytes | dict[str, Any]]:
        """Return what is sent instead of a message of the node."""
        return [message]


SomeFault = TypeVar("SomeFault", bound=Fault)


def result_of(call: Call, result: Json) -> Answer:
    return {"jsonrpc": "2.0", "id": call.get("id"), "result": result}


def error_of(call: Call, code: int, message: str, data: Json = None) -> Answer:
    error = {"code": code, "message": message} | ({} if data is None else {"data": data})
    return {"jsonrpc": "2.0", "id": call.get("id"), "error": error}


def params_of(call: Call) -> list[Json]:
    params = call.get("params")
    return params if isinstance(params, list) else []


def options_of(call: Call) -> dict[str, Json]:
    """Return the configuration object of a call, which is its last parameter."""
    params = params_of(call)
    return params[-1] if params and isinstance(params[-1], dict) else {}


def is_chosen(thing: object, *, share: float, seed: int) -> bool:
    """Return whether `thing` is of the share; the same things are, whenever it is asked."""
    return zlib.crc32(f"{seed}:{thing}".encode()) < share * 2**32
