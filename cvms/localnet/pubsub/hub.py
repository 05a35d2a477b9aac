"""Watches the chain, and puts each subscription's notifications in its client's queue."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import count
from typing import Protocol

from solders.pubkey import Pubkey

from cvms.localnet.chain import Chain
from cvms.localnet.pubsub.subscriptions import SignatureStatus, Subscription
from cvms.localnet.rpc.history import reached_commitment
from cvms.localnet.rpc.view import View
from cvms.localnet.types import Block, Commitment, Entry, Json


class Client(Protocol):
    """Takes frames for one connection at once; it never makes the chain wait."""

    def push(self, frame: str) -> None: ...


@dataclass(frozen=True, slots=True)
class Subscribed:
    identifier: int
    client: Client
    subscription: Subscription


class Hub:
    """Every subscription of every client; the chain's observer."""

    def __init__(self, chain: Chain) -> None:
        self._chain = chain
        self._identifiers = count()
        self._subscribed: dict[int, Subscribed] = {}

    @property
    def subscriptions(self) -> int:
        """How many there are."""
        return len(self._subscribed)

    def subscribe(self, client: Client, subscription: Subscription) -> int:
        identifier = next(self._identifiers)
        self._subscribed[identifier] = Subscribed(identifier, client, subscription)
        return identifier

    def tell_known(self, identifier: int) -> None:
        """A signature that is in a block already is told to a new subscription at once."""
        held = self._subscribed[identifier]
        if not isinstance(held.subscription, SignatureStatus):
            return
        entry = self._chain.ledger.entry(held.subscription.signature)
        block = None if entry is None else self._chain.ledger.block(entry.slot)
        if entry is not None and block is not None:
            reached = reached_commitment(self._chain, block)
            if _at_least(reached, held.subscription.commitment):
                self._notify(held, held.subscription.entries([entry]))

    def unsubscribe(self, client: Client, identifier: int) -> bool:
        """False if the client has no such subscription."""
        held = self._subscribed.get(identifier)
        if held is None or held.client is not client:
            return False
        del self._subscribed[identifier]
        return True

    def forget(self, client: Client) -> None:
        """Drop all subscriptions of a client that is gone."""
        for held in [held for held in self._subscribed.values() if held.client is client]:
            del self._subscribed[held.identifier]

    # --- what the chain tells ------------------------------------------------------------------

    def received(self, signature: str) -> None:
        slot = self._chain.tip.slot
        self._tell(lambda subscription: subscription.received(signature, slot))

    def processed(self, entry: Entry) -> None:
        view = View(self._chain, self._chain.tip)
        self._tell_contents(Commitment.PROCESSED, view, [entry], entry.keys)

    def slot_started(self, block: Block, *, root: int) -> None:
        self._tell(lambda subscription: subscription.slot_started(block, root))

    def reached(self, block: Block, commitment: Commitment) -> None:
        if any(held.subscription.commitment is commitment for held in self._subscribed.values()):
            entries = self._chain.ledger.entries_in(block.slot)
            keys = self._chain.accounts.written_in(block.slot)
            self._tell_contents(commitment, View(self._chain, block), entries, keys)
        if commitment is Commitment.FINALIZED:
            self._tell(lambda subscription: subscription.rooted(block))

    def overwritten(self, key: Pubkey) -> None:
        for commitment in Commitment:
            view = View(self._chain, self._chain.bank(commitment))
            self._tell_contents(commitment, view, (), (key,))

    def _tell_contents(
        self,
        commitment: Commitment,
        view: View,
        entries: Iterable[Entry],
        keys: Iterable[Pubkey],
    ) -> None:
        def results(subscription: Subscription) -> Iterator[Json]:
            if subscription.commitment is commitment:
                yield from subscription.entries(entries)
                yield from subscription.written(view, keys)

        self._tell(results)

    def _tell(self, results: Callable[[Subscription], Iterator[Json]]) -> None:
        for held in list(self._subscribed.values()):
            self._notify(held, results(held.subscription))

    def _notify(self, held: Subscribed, results: Iterator[Json]) -> None:
        """Every notification goes through here."""
        for result in results:
            held.client.push(_notification(held, result))
        if held.subscription.finished:
            self._subscribed.pop(held.identifier, None)


def _notification(held: Subscribed, result: Json) -> str:
    params = {"result": result, "subscription": held.identifier}
    method = f"{held.subscription.name}Notification"
    frame = {"jsonrpc": "2.0", "method": method, "params": params}
    return json.dumps(frame, separators=(",", ":"))


def _at_least(reached: Commitment, wanted: Commitment | None) -> bool:
    order = list(Commitment)
    return wanted is not None and order.index(reached) >= order.index(wanted)
