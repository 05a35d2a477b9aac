"""Faults of a ledger with holes, and of lists that are cut, doubled or ordered differently."""

from __future__ import annotations

import random
from abc import ABC, abstractmethod
from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

from tests.provider_proxy.fault import (
    Answer,
    Call,
    CallFault,
    error_of,
    is_chosen,
    options_of,
    params_of,
    result_of,
)

LIST = ("getSignaturesForAddress",)
SKIPPED = -32007
SKIPPED_IN_STORAGE = -32009


@dataclass(slots=True, kw_only=True, eq=False)
class Holes(CallFault):
    """A share of the transactions and blocks is not in the ledger, always the same ones.

    `getTransaction` and `getSignatureStatuses` answer null for them, `getBlock` an error that may
    also mean that the slot was skipped. `signatures` and `slots` are missing in any case.
    """

    methods: Collection[str] = ("getTransaction", "getSignatureStatuses", "getBlock")
    share: float = 0.0
    seed: int = 0
    signatures: Collection[str] = ()
    slots: Collection[int] = ()
    code: int = SKIPPED

    def change(self, call: Call, answer: Answer) -> Answer:
        params = params_of(call)
        if call["method"] == "getTransaction" and self.lacks_transaction(params[0]):
            return result_of(call, None)
        if call["method"] == "getBlock" and self.lacks_block(params[0]):
            message = f"Slot {params[0]} was skipped, or missing in long-term storage"
            return error_of(call, self.code, message)
        if call["method"] == "getSignatureStatuses" and "result" in answer:
            statuses = answer["result"]["value"]
            for index, signature in enumerate(params[0]):
                if self.lacks_transaction(signature):
                    statuses[index] = None
        return answer

    def lacks_transaction(self, signature: str) -> bool:
        return signature in self.signatures or is_chosen(
            signature, share=self.share, seed=self.seed
        )

    def lacks_block(self, slot: int) -> bool:
        return slot in self.slots or is_chosen(slot, share=self.share, seed=self.seed)


@dataclass(slots=True, kw_only=True, eq=False)
class ListFault(CallFault, ABC):
    """A fault of the list of an address's transactions."""

    methods: Collection[str] = LIST

    def change(self, call: Call, answer: Answer) -> Answer:
        if isinstance(answer.get("result"), list):
            answer["result"] = self.listed(answer["result"])
        return answer

    @abstractmethod
    def listed(self, entries: list[Any]) -> list[Any]:
        """Return the entries that the provider lists."""


@dataclass(slots=True, kw_only=True, eq=False)
class ShortPages(ListFault):
    """A page has at most `entries`, whatever its limit; the next begins where it ends."""

    entries: int = 5

    def listed(self, entries: list[Any]) -> list[Any]:
        return entries[: self.entries]


@dataclass(slots=True, kw_only=True, eq=False)
class EmptyList(ListFault):
    """The list is empty, though there are transactions."""

    def listed(self, entries: list[Any]) -> list[Any]:
        return []


@dataclass(slots=True, kw_only=True, eq=False)
class MissingEntries(ListFault):
    """A share of the entries is missing, always the same ones, or these signatures."""

    share: float = 0.2
    seed: int = 0
    signatures: Collection[str] = ()

    def listed(self, entries: list[Any]) -> list[Any]:
        return [each for each in entries if not self.lacks(each["signature"])]

    def lacks(self, signature: str) -> bool:
        return signature in self.signatures or is_chosen(
            signature, share=self.share, seed=self.seed
        )


@dataclass(slots=True, kw_only=True, eq=False)
class NewestMissing(ListFault):
    """The newest entries are missing, as from an index that lags behind the node."""

    entries: int = 3

    def listed(self, entries: list[Any]) -> list[Any]:
        return entries[self.entries :]


@dataclass(slots=True, kw_only=True, eq=False)
class DoubledEntries(ListFault):
    """Some entries occur twice, as from two sources that were joined."""

    share: float = 0.5
    seed: int = 0

    def listed(self, entries: list[Any]) -> list[Any]:
        return [
            each
            for entry in entries
            for each in [entry]
            * (1 + is_chosen(entry["signature"], share=self.share, seed=self.seed))
        ]


@dataclass(slots=True, kw_only=True, eq=False)
class OtherOrder(ListFault):
    """The entries are ordered differently: `slots` reverses those of each slot, `all` shuffles."""

    order: str = "slots"
    seed: int = 0

    def listed(self, entries: list[Any]) -> list[Any]:
        if self.order == "slots":
            entries.reverse()
            return sorted(entries, key=lambda each: -each["slot"])
        if self.order == "oldest":
            return entries[::-1]
        random.Random(self.seed).shuffle(entries)
        return entries


@dataclass(slots=True, kw_only=True, eq=False)
class UnknownCursor(CallFault):
    """The node does not know the signature that `until` or `before` names.

    `answers`: `error` as Agave 4.2, `newest` or `empty` as older nodes.
    """

    methods: Collection[str] = LIST
    answers: str = "error"

    def answer(self, call: Call) -> Answer | None:
        options = options_of(call)
        known = {name: options[name] for name in ("until", "before") if name in options}
        if not known:
            return None
        if self.answers == "error":
            return error_of(call, -32020, f"Transaction {next(iter(known.values()))} not found")
        if self.answers == "empty":
            return result_of(call, [])
        for name in known:
            del options[name]
        return None


@dataclass(slots=True, kw_only=True, eq=False)
class WithoutMeta(CallFault):
    """A transaction's `meta` is null."""

    methods: Collection[str] = ("getTransaction", "getBlock")

    def change(self, call: Call, answer: Answer) -> Answer:
        result = answer.get("result")
        if isinstance(result, dict):
            for each in [result, *result.get("transactions", ())]:
                if "meta" in each:
                    each["meta"] = None
        return answer


@dataclass(slots=True, kw_only=True, eq=False)
class BlockTimes(CallFault):
    """Block times are `null`, in milliseconds (`ms`), or another number, whatever it means."""

    methods: Collection[str] = ("getTransaction", *LIST, "getBlock", "getBlockTime")
    time: Any = None

    def change(self, call: Call, answer: Answer) -> Answer:
        result = answer.get("result")
        if call["method"] == "getBlockTime":
            answer["result"] = self._other(result)
        for each in result if isinstance(result, list) else [result]:
            if isinstance(each, dict) and "blockTime" in each:
                each["blockTime"] = self._other(each["blockTime"])
        return answer

    def _other(self, time: Any) -> Any:
        return time * 1000 if self.time == "ms" and time is not None else self.time


@dataclass(slots=True, kw_only=True, eq=False)
class CutBlocks(CallFault):
    """A block has only its first `entries` transactions, and of those none of `signatures`."""

    methods: Collection[str] = ("getBlock",)
    entries: int | None = None
    signatures: Collection[str] = ()

    def change(self, call: Call, answer: Answer) -> Answer:
        result = answer.get("result")
        if isinstance(result, dict) and "transactions" in result:
            result["transactions"] = [
                each
                for each in result["transactions"][: self.entries]
                if each["transaction"]["signatures"][0] not in self.signatures
            ]
        return answer


@dataclass(slots=True, kw_only=True, eq=False)
class OtherBlocks(CallFault):
    """The block of another slot is given, so many slots away."""

    methods: Collection[str] = ("getBlock",)
    distance: int = -1

    def answer(self, call: Call) -> Answer | None:
        params_of(call)[0] += self.distance
        return None


@dataclass(slots=True, kw_only=True, eq=False)
class OtherDetails(CallFault):
    """The node knows no `full` transactions of a block: it gives these `details` instead."""

    methods: Collection[str] = ("getBlock",)
    details: str

    def answer(self, call: Call) -> Answer | None:
        options_of(call)["transactionDetails"] = self.details
        return None
