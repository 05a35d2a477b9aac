"""Watchers of an account receive its state, then its changes, and never an older state."""

from __future__ import annotations

import pytest
import trio
from solders.pubkey import Pubkey

from cvms.chain.pubsub.account_subscription import AccountAt
from cvms.chain.types import Lamports, Slot
from cvms.errors import Overloaded
from cvms.nursery.channels.account_registry import AccountFrames, AccountRegistry

KEY, OWNER = Pubkey.new_unique(), Pubkey.new_unique()


def at(slot: int, lamports: int, key: Pubkey = KEY) -> AccountAt:
    return AccountAt(key, Slot(slot), Lamports(lamports), OWNER, False, b"", False)


class Watcher:
    """Records its notifications: lamports, or that they are unknown."""

    def __init__(self, registry: AccountRegistry, *keys: Pubkey) -> None:
        self.notified: list[int | str] = []
        self.frames: list[AccountFrames] = []
        for key in keys:
            registry.watch(self, key)

    def on_account(self, key: Pubkey, frames: AccountFrames) -> None:
        self.notified.append(frames.account.lamports)
        self.frames.append(frames)

    def on_account_unknown(self, key: Pubkey) -> None:
        self.notified.append("unknown")


async def next_to_fetch(registry: AccountRegistry) -> list[Pubkey]:
    with trio.fail_after(5):
        return await registry.next_to_fetch()


async def test_all_watchers_share_one_account_and_one_frame() -> None:
    registry = AccountRegistry()
    first, second = Watcher(registry, KEY), Watcher(registry, KEY)
    assert registry.wanted == {KEY}
    registry.subscribed(KEY)
    assert await next_to_fetch(registry) == [KEY]
    registry.updated(at(5, 100))
    third = Watcher(registry, KEY)
    assert first.notified == second.notified == third.notified == [100]
    assert first.frames[0].change is third.frames[0].change
    registry.unwatch(first, KEY)
    registry.unwatch(second, KEY)
    assert registry.wanted == {KEY}
    registry.unwatch(third, KEY)
    registry.unwatch(third, KEY)
    assert registry.wanted == frozenset()


def test_older_slots_and_unchanged_states_are_not_notified() -> None:
    registry = AccountRegistry()
    watcher = Watcher(registry, KEY)
    registry.subscribed(KEY)
    for slot, lamports in [(5, 100), (4, 99), (5, 100), (9, 100), (8, 98), (9, 101), (10, 102)]:
        registry.updated(at(slot, lamports))
    assert watcher.notified == [100, 101, 102]


def test_updates_without_a_subscription_are_ignored() -> None:
    registry = AccountRegistry()
    watcher = Watcher(registry, KEY)
    registry.updated(at(5, 100))
    registry.subscribed(KEY)
    registry.lost()
    registry.updated(at(6, 100))  # a fetch that was in flight
    assert watcher.notified == ["unknown"]


def test_after_a_loss_the_state_is_notified_again_even_if_unchanged() -> None:
    registry = AccountRegistry()
    watcher = Watcher(registry, KEY)
    registry.subscribed(KEY)
    registry.updated(at(5, 100))
    for _ in range(3):
        registry.lost()
    late = Watcher(registry, KEY)
    registry.subscribed(KEY)
    registry.updated(at(4, 99))  # from a node that is behind
    registry.updated(at(6, 100))
    assert watcher.notified == [100, "unknown", 100]
    assert late.notified == ["unknown", 100]


async def test_a_watcher_that_joins_before_the_unsubscription_is_notified() -> None:
    registry = AccountRegistry()
    first = Watcher(registry, KEY)
    registry.subscribed(KEY)
    registry.updated(at(5, 100))
    registry.unwatch(first, KEY)
    second = Watcher(registry, KEY)
    assert await next_to_fetch(registry) == [KEY]
    registry.updated(at(6, 101))
    assert second.notified == [101]


async def test_a_failed_fetch_is_reported_and_repeated() -> None:
    registry = AccountRegistry()
    watcher = Watcher(registry, KEY)
    registry.subscribed(KEY)
    keys = await next_to_fetch(registry)
    registry.fetch_failed(keys)
    registry.fetch_failed(keys)
    assert watcher.notified == ["unknown"]
    assert await next_to_fetch(registry) == [KEY]
    registry.updated(at(5, 1))
    registry.fetch_all()
    registry.fetch_failed(await next_to_fetch(registry))  # a notification has arrived meanwhile
    assert watcher.notified == ["unknown", 1]


def test_the_number_of_watched_accounts_is_limited() -> None:
    registry = AccountRegistry(limit=2)
    keys = [Pubkey.new_unique() for _ in range(3)]
    watcher = Watcher(registry, *keys[:2])
    with pytest.raises(Overloaded):
        registry.watch(watcher, keys[2])
    registry.watch(Watcher(registry), keys[0])
    registry.unwatch(watcher, keys[1])
    registry.watch(watcher, keys[2])
    assert registry.wanted == {keys[0], keys[2]}


def test_one_that_leaves_while_it_is_notified_disturbs_no_other() -> None:
    class Leaver(Watcher):
        def on_account(self, key: Pubkey, frames: AccountFrames) -> None:
            super().on_account(key, frames)
            registry.unwatch(self, key)

    registry = AccountRegistry()
    watchers = [kind(registry, KEY) for kind in (Watcher, Leaver, Watcher)]
    registry.subscribed(KEY)
    registry.updated(at(1, 1))
    registry.updated(at(2, 2))
    assert [watcher.notified for watcher in watchers] == [[1, 2], [1], [1, 2]]
