"""Faults of single calls: other errors and words, nulls, a node behind, poor simulations."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

from tests.provider_proxy.fault import Answer, Call, CallFault, error_of, options_of, result_of

NOT_REACHED = "Minimum context slot has not been reached"


@dataclass(slots=True, kw_only=True, eq=False)
class ErrorAnswer(CallFault):
    """The call is not run and answered by this JSON-RPC error, in a 200."""

    code: int = -32601
    message: str = "Method not found"
    data: Any = None

    def answer(self, call: Call) -> Answer:
        return error_of(call, self.code, self.message, self.data)


@dataclass(slots=True, kw_only=True, eq=False)
class NullResult(CallFault):
    """The result is null, whatever the node has."""

    def change(self, call: Call, answer: Answer) -> Answer:
        return result_of(call, None)


@dataclass(slots=True, kw_only=True, eq=False)
class TextError(CallFault):
    """The answer's `error` is a text, or an object without a code."""

    error: Any = "upstream request timeout"

    def answer(self, call: Call) -> Answer:
        return {"jsonrpc": "2.0", "id": call.get("id"), "error": self.error}


@dataclass(slots=True, kw_only=True, eq=False)
class Behind(CallFault):
    """Of a balanced provider's nodes, some are `slots` slots behind those that answer the rest.

    `getSlot` and `getBlockHeight` reach such nodes, and calls that need a slot which these have not
    seen are refused by `code` and `message`. What is answered is true as of its own slot.
    """

    slots: int = 5
    code: int = -32016
    message: str = NOT_REACHED
    newest: int = 0

    def change(self, call: Call, answer: Answer) -> Answer:
        if (result := answer.get("result")) is None:
            return answer
        if call["method"] in ("getSlot", "getBlockHeight") and isinstance(result, int):
            if call["method"] == "getSlot":
                self.newest = max(self.newest, result)
            answer["result"] = max(0, result - self.slots)
        elif isinstance(result, dict) and isinstance(result.get("context"), dict):
            self.newest = max(self.newest, result["context"]["slot"])
        needed = options_of(call).get("minContextSlot")
        if needed is not None and needed > self.newest - self.slots:
            return error_of(call, self.code, self.message, {"contextSlot": self.newest})
        return answer


@dataclass(slots=True, kw_only=True, eq=False)
class NotReached(CallFault):
    """Every call that names a `minContextSlot` is refused, by a code and words of choice."""

    code: int = -32603
    message: str = f"Internal error: {NOT_REACHED}"

    def answer(self, call: Call) -> Answer | None:
        if "minContextSlot" not in options_of(call):
            return None
        return error_of(call, self.code, self.message)


@dataclass(slots=True, kw_only=True, eq=False)
class BlockhashNotFound(CallFault):
    """The balanced node that is asked does not know recent block hashes yet."""

    methods: Collection[str] = ("simulateTransaction", "sendTransaction", "isBlockhashValid")

    def answer(self, call: Call) -> Answer | None:
        if call["method"] == "sendTransaction" and not options_of(call).get("skipPreflight"):
            message = "Transaction simulation failed: Blockhash not found"
            return error_of(call, -32002, message, {"err": "BlockhashNotFound", "logs": []})
        return None

    def change(self, call: Call, answer: Answer) -> Answer:
        if "result" not in answer or call["method"] == "sendTransaction":
            return answer
        if call["method"] == "isBlockhashValid":
            answer["result"]["value"] = False
        elif not options_of(call).get("replaceRecentBlockhash"):
            failed = {"err": "BlockhashNotFound", "logs": [], "unitsConsumed": 0}
            answer["result"]["value"] = failed
        return answer


@dataclass(slots=True, kw_only=True, eq=False)
class Units(CallFault):
    """A simulation says that it consumed `units`; "absent" leaves the field out."""

    methods: Collection[str] = ("simulateTransaction",)
    units: Any = None

    def change(self, call: Call, answer: Answer) -> Answer:
        value = answer.get("result", {}).get("value")
        if isinstance(value, dict):
            value.pop("unitsConsumed", None)
            if self.units != "absent":
                value["unitsConsumed"] = self.units
        return answer


ERRORS = (
    (-32603, "Internal error"),
    (-32601, "Method not found"),
    (-32000, "the method does not exist or is not available"),
    (-32000, "upstream error"),
    (-32005, "Node is unhealthy"),
    (-32012, "Transaction history is not available from this node"),
    (-32019, "Failed to query long-term storage; please try again"),
    (-32052, "API key is not allowed to access this method"),
    (-32090, "Too many requests, reason: call rate limit exhausted, retry in 10s"),
    (-32005, "You have exceeded the RPS limit"),
    (-32429, "rate limited"),
    (7429, "Request rate exceeded"),
    (429, "Too many requests"),
)
"""Errors of providers that say nothing about the question."""
