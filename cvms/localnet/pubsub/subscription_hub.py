"""Watches the chain, and puts each subscription's notifications in its client's queue."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import count

from solders.pubkey import Pubkey

from cvms.localnet.node.node import Node
from cvms.localnet.pubsub.delivery import Client, Delivery
from cvms.localnet.pubsub.subscriptions import SignatureStatus, Subscription
from cvms.localnet.rpc.call.view import View
from cvms.localnet.types import Block, Commitment, Entry, Fork, Json


@dataclass(frozen=True, slots=True)
class Subscribed:
    identifier: int
    client: Client
    subscription: Subscription


class Hub:
    """Every subscription of every client; the chain's observer."""

    def __init__(self, node: Node) -> None:
        self._node = node
        self._chain = node.chain
        self._identifiers = count()
        self._subscribed: dict[int, Subscribed] = {}
        self._delivery = Delivery(node.faults)
        self._clients: set[Client] = set()
        self._told = {commitment: node.bank(commitment).height for commitment in Commitment}
        """The height up to which everybody was told; at `processed`, so many of its entries:"""
        self._entries_told = len(node.entries_in(node.tip.slot))
        self._reverted: dict[Commitment, set[Pubkey]] = {level: set() for level in Commitment}
        """Accounts whose dropped writes were told."""

    @property
    def subscriptions(self) -> int:
        """How many there are."""
        return len(self._subscribed)

    @property
    def node(self) -> Node:
        return self._node

    def join(self, client: Client) -> None:
        """A client has connected; `forget` it when it is gone."""
        self._clients.add(client)

    def cut(self) -> None:
        """End every client's connection."""
        for client in self._clients:
            client.cut()

    def subscribe(self, client: Client, subscription: Subscription) -> int:
        identifier = next(self._identifiers)
        self._subscribed[identifier] = Subscribed(identifier, client, subscription)
        return identifier

    def tell_known(self, identifier: int) -> None:
        """A signature that is in a block already is told to a new subscription at once."""
        held = self._subscribed[identifier]
        if not isinstance(held.subscription, SignatureStatus):
            return
        entry = self._node.entry(held.subscription.signature)
        block = None if entry is None else self._node.block(entry.slot)
        if entry is not None and block is not None:
            reached = self._node.reached(block)
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
        self._delivery.forget(client)
        self._clients.discard(client)

    # --- what the chain tells ------------------------------------------------------------------

    @property
    def behind(self) -> int:
        return self._node.faults.lag

    def received(self, signature: str) -> None:
        slot = self._chain.tip.slot
        self._tell(lambda subscription: subscription.received(signature, slot))

    def processed(self, entry: Entry) -> None:
        tip = self._chain.tip
        in_step = self._told[Commitment.PROCESSED] == tip.height and not self.behind
        if in_step and entry.index == self._entries_told:
            self._entries_told += 1
            entry = self._node.shown(entry)
            view = View(self._node, tip)
            self._tell_contents(Commitment.PROCESSED, view, [entry], entry.keys)
        else:
            self._catch_up()

    def slot_started(self) -> None:
        self._catch_up()

    def forked(self, fork: Fork) -> None:
        """Nobody is told; what was told of blocks that are gone is put right with the next."""
        height = fork.point.height
        if self._told[Commitment.PROCESSED] > height:
            self._entries_told = len(self._chain.ledger.entries_in(fork.point.slot))
        for commitment, told in self._told.items():
            for block, written in fork.dropped:
                if block.height <= told:
                    self._reverted[commitment].update(written)
            self._told[commitment] = min(told, height)

    def _catch_up(self) -> None:
        """Tell what the node knows by now and has not told."""
        blocks, told = self._chain.blocks, self._told
        tip = self._node.tip
        for block in blocks.after(told[Commitment.PROCESSED] - 1, tip.height):
            if block.height > told[Commitment.PROCESSED]:
                told[Commitment.PROCESSED] = block.height
                self._entries_told = 0
                self._tell_slot_started(block)
            self._tell_rest_of(block)
        for commitment in (Commitment.CONFIRMED, Commitment.FINALIZED):
            for block in blocks.after(told[commitment], self._node.bank(commitment).height):
                told[commitment] = block.height
                self._tell_reached(block, commitment)

    def _tell_slot_started(self, block: Block) -> None:
        root = self._node.bank(Commitment.FINALIZED).slot
        self._tell(lambda subscription: subscription.slot_started(block, root))
        if self._reverted[Commitment.PROCESSED]:
            self._tell_contents(Commitment.PROCESSED, View(self._node, block), (), ())

    def _tell_rest_of(self, block: Block) -> None:
        """Transactions that are told one by one as they run, unless the node is late."""
        entries = self._node.entries_in(block.slot)[self._entries_told :]
        if entries:
            self._entries_told += len(entries)
            keys = dict.fromkeys(key for entry in entries for key in entry.keys)
            self._tell_contents(Commitment.PROCESSED, View(self._node, block), entries, keys)

    def _tell_reached(self, block: Block, commitment: Commitment) -> None:
        if any(held.subscription.commitment is commitment for held in self._subscribed.values()):
            entries = self._node.entries_in(block.slot)
            keys = self._chain.accounts.written_in(block.slot)
            self._tell_contents(commitment, View(self._node, block), entries, keys)
        if commitment is Commitment.FINALIZED:
            self._tell(lambda subscription: subscription.rooted(block))

    def overwritten(self, key: Pubkey) -> None:
        for commitment in Commitment:
            view = View(self._node, self._node.bank(commitment))
            self._tell_contents(commitment, view, (), (key,))

    def _tell_contents(
        self,
        commitment: Commitment,
        view: View,
        entries: Iterable[Entry],
        keys: Iterable[Pubkey],
    ) -> None:
        reverted = self._reverted[commitment]
        self._reverted[commitment] = set()

        def results(subscription: Subscription) -> Iterator[Json]:
            if subscription.commitment is commitment:
                yield from subscription.reverted(view, reverted)
                yield from subscription.entries(entries)
                yield from subscription.written(view, keys)

        self._tell(results)

    def _tell(self, results: Callable[[Subscription], Iterator[Json]]) -> None:
        for held in list(self._subscribed.values()):
            self._notify(held, results(held.subscription))

    def _notify(self, held: Subscribed, results: Iterator[Json]) -> None:
        """Every notification goes through here."""
        for result in results:
            self._delivery.hand(held.client, held.subscription.name, _notification(held, result))
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
