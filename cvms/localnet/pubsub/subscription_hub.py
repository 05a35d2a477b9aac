"""Subscriptions of a node, and the notifications that each event of the chain causes."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import count

import msgspec
from solders.pubkey import Pubkey

from cvms.localnet.node.node import Node
from cvms.localnet.pubsub.delivery import FrameSink, NotificationDelivery
from cvms.localnet.pubsub.subscriptions import SignatureSubscription, Subscription
from cvms.localnet.rpc.call.view import View
from cvms.localnet.types import Block, Commitment, DroppedBlocks, Entry, Json


@dataclass(frozen=True, slots=True)
class ActiveSubscription:
    identifier: int
    client: FrameSink
    subscription: Subscription


class SubscriptionHub:
    """All subscriptions of all clients. It observes the chain."""

    def __init__(self, node: Node) -> None:
        self._node = node
        self._chain = node.chain
        self._identifiers = count()
        self._subscribed: dict[int, ActiveSubscription] = {}
        self._delivery = NotificationDelivery(node.faults)
        self._clients: set[FrameSink] = set()
        self._notified_height = {
            commitment: node.bank(commitment).height for commitment in Commitment
        }
        """The height up to which clients were notified, at each commitment."""
        self._notified_entries = len(node.entries_in(node.tip.slot))
        """How many transactions of the block at the `processed` height were notified."""
        self._reverted: dict[Commitment, set[Pubkey]] = {level: set() for level in Commitment}
        """Accounts for which clients were notified of a write that a fork has dropped."""

    @property
    def subscriptions(self) -> int:
        """The number of subscriptions."""
        return len(self._subscribed)

    @property
    def node(self) -> Node:
        return self._node

    def add_client(self, client: FrameSink) -> None:
        """Add a connected client. Call `remove_client` when it disconnects."""
        self._clients.add(client)

    def cut(self) -> None:
        """End every client's connection."""
        for client in self._clients:
            client.cut()

    def subscribe(self, client: FrameSink, subscription: Subscription) -> int:
        """Add a subscription. Equal ones of one client are one, as on a validator."""
        for active in self._subscribed.values():
            if active.client is client and active.subscription == subscription:
                return active.identifier
        identifier = next(self._identifiers)
        self._subscribed[identifier] = ActiveSubscription(identifier, client, subscription)
        return identifier

    def notify_if_landed(self, identifier: int) -> None:
        """Notify a new signature subscription at once if its transaction has landed already."""
        active = self._subscribed.get(identifier)
        if active is None or not isinstance(active.subscription, SignatureSubscription):
            return
        entry = self._node.entry(active.subscription.signature)
        block = None if entry is None else self._node.block(entry.slot)
        if entry is not None and block is not None:
            reached = self._node.reached(block)
            if _at_least(reached, active.subscription.commitment):
                self._notify(active, active.subscription.entries([entry]))

    def unsubscribe(self, client: FrameSink, identifier: int) -> bool:
        """Remove a subscription. Return False if the client has no such subscription."""
        active = self._subscribed.get(identifier)
        if active is None or active.client is not client:
            return False
        del self._subscribed[identifier]
        return True

    def remove_client(self, client: FrameSink) -> None:
        """Remove a disconnected client and its subscriptions."""
        for active in [active for active in self._subscribed.values() if active.client is client]:
            del self._subscribed[active.identifier]
        self._delivery.forget(client)
        self._clients.discard(client)

    # --- events of the chain -------------------------------------------------------------------

    @property
    def behind(self) -> int:
        return self._node.faults.lag

    def processed(self, entry: Entry) -> None:
        tip = self._chain.tip
        in_step = self._notified_height[Commitment.PROCESSED] == tip.height and not self.behind
        if in_step and entry.index == self._notified_entries:
            self._notified_entries += 1
            entry = self._node.as_recorded(entry)
            view = View(self._node, tip)
            self._notify_contents(Commitment.PROCESSED, view, [entry], entry.keys)
        else:
            self._catch_up()

    def slot_started(self) -> None:
        self._catch_up()

    def forked(self, fork: DroppedBlocks) -> None:
        """Record which notified writes were dropped. The next block's notifications correct them.

        As on a validator, clients are not notified of the fork itself.
        """
        height = fork.fork_point.height
        if self._notified_height[Commitment.PROCESSED] > height:
            self._notified_entries = len(self._chain.ledger.entries_in(fork.fork_point.slot))
        for commitment, notified in self._notified_height.items():
            for block, written in fork.blocks:
                if block.height <= notified:
                    self._reverted[commitment].update(written)
            self._notified_height[commitment] = min(notified, height)

    def _catch_up(self) -> None:
        """Send every notification that is due for what the node knows."""
        blocks, heights = self._chain.blocks, self._notified_height
        tip = self._node.tip
        for block in blocks.after(heights[Commitment.PROCESSED] - 1, tip.height):
            if block.height > heights[Commitment.PROCESSED]:
                heights[Commitment.PROCESSED] = block.height
                self._notified_entries = 0
                self._notify_slot_started(block)
            self._notify_remaining(block)
        for commitment in (Commitment.CONFIRMED, Commitment.FINALIZED):
            for block in blocks.after(heights[commitment], self._node.bank(commitment).height):
                heights[commitment] = block.height
                self._notify_reached(block, commitment)

    def _notify_slot_started(self, block: Block) -> None:
        root = self._node.bank(Commitment.FINALIZED).slot
        self._notify_all(lambda subscription: subscription.slot_started(block, root))
        if self._reverted[Commitment.PROCESSED]:
            self._notify_contents(Commitment.PROCESSED, View(self._node, block), (), ())

    def _notify_remaining(self, block: Block) -> None:
        """Notify of the block's remaining transactions, if the node lagged when they ran."""
        entries = self._node.entries_in(block.slot, first=self._notified_entries)
        if entries:
            self._notified_entries += len(entries)
            keys = dict.fromkeys(key for entry in entries for key in entry.keys)
            self._notify_contents(Commitment.PROCESSED, View(self._node, block), entries, keys)

    def _notify_reached(self, block: Block, commitment: Commitment) -> None:
        subscriptions = (active.subscription for active in self._subscribed.values())
        if any(subscription.commitment is commitment for subscription in subscriptions):
            entries = self._node.entries_in(block.slot)
            keys = self._chain.accounts.written_in(block.slot)
            self._notify_contents(commitment, View(self._node, block), entries, keys)
        if commitment is Commitment.FINALIZED:
            self._notify_all(lambda subscription: subscription.rooted(block))
        else:
            self._notify_all(lambda subscription: subscription.confirmed(block))

    def overwritten(self, key: Pubkey) -> None:
        for commitment in Commitment:
            view = View(self._node, self._node.bank(commitment))
            self._notify_contents(commitment, view, (), (key,))

    def _notify_contents(
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

        self._notify_all(results)

    def _notify_all(self, results: Callable[[Subscription], Iterator[Json]]) -> None:
        for active in list(self._subscribed.values()):
            self._notify(active, results(active.subscription))

    def _notify(self, active: ActiveSubscription, results: Iterator[Json]) -> None:
        """Send results to one subscription, and remove it if it is finished."""
        for result in results:
            kind = active.subscription.name
            self._delivery.deliver(active.client, kind, _notification(active, result))
        if active.subscription.finished:
            self._subscribed.pop(active.identifier, None)


def _notification(active: ActiveSubscription, result: Json) -> str:
    params = {"result": result, "subscription": active.identifier}
    method = f"{active.subscription.name}Notification"
    frame = {"jsonrpc": "2.0", "method": method, "params": params}
    return msgspec.json.encode(frame).decode()


def _at_least(reached: Commitment, wanted: Commitment | None) -> bool:
    order = list(Commitment)
    return wanted is not None and order.index(reached) >= order.index(wanted)
