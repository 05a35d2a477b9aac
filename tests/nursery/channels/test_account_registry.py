"""Each watcher of an account has it once, then its changes, and never an older one."""

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
    """Keeps what it is told: lamports, or that they are unknown."""

    def __init__(self, registry: AccountRegistry, *keys: Pubkey) -> None:
        self.told: list[int | str] = []
        self.frames: list[AccountFrames] = []
        for key in keys:
            registry.watch(self, key)

    def on_account(self, key: Pubkey, frames: AccountFrames) -> None:
        self.told.append(frames.account.lamports)
        self.frames.append(frames)

    def on_account_unknown(self, key: Pubkey) -> None:
        self.told.append("unknown")


async def to_fetch(registry: AccountRegistry) -> list[Pubkey]:
    with trio.fail_after(5):
        return await registry.next_to_fetch()


async def test_all_watchers_share_one_account_and_one_frame() -> None:
    registry = AccountRegistry()
    first, second = Watcher(registry, KEY), Watcher(registry, KEY)
    assert registry.wanted == {KEY}
    registry.subscribed(KEY)
    assert await to_fetch(registry) == [KEY]
    registry.updated(at(5, 100))
    third = Watcher(registry, KEY)
    assert first.told == second.told == third.told == [100]
    assert first.frames[0].change is third.frames[0].change
    registry.unwatch(first, KEY)
    registry.unwatch(second, KEY)
    assert registry.wanted == {KEY}
    registry.unwatch(third, KEY)
    registry.unwatch(third, KEY)
    assert registry.wanted == frozenset()


def test_an_older_slot_and_what_has_not_changed_are_not_told() -> None:
    registry = AccountRegistry()
    watcher = Watcher(registry, KEY)
    registry.subscribed(KEY)
    for slot, lamports in [(5, 100), (4, 99), (5, 100), (9, 100), (8, 98), (9, 101), (10, 102)]:
        registry.updated(at(slot, lamports))
    assert watcher.told == [100, 101, 102]


def test_what_is_heard_while_nothing_holds_does_not_count() -> None:
    registry = AccountRegistry()
    watcher = Watcher(registry, KEY)
    registry.updated(at(5, 100))
    registry.subscribed(KEY)
    registry.lost()
    registry.updated(at(6, 100))  # a fetch that was under way
    assert watcher.told == ["unknown"]


def test_after_a_loss_it_is_told_once_more_even_if_nothing_changed() -> None:
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
    assert watcher.told == [100, "unknown", 100]
    assert late.told == ["unknown", 100]


async def test_one_who_comes_back_before_the_subscription_is_gone_is_answered() -> None:
    registry = AccountRegistry()
    first = Watcher(registry, KEY)
    registry.subscribed(KEY)
    registry.updated(at(5, 100))
    registry.unwatch(first, KEY)
    second = Watcher(registry, KEY)
    assert await to_fetch(registry) == [KEY]
    registry.updated(at(6, 101))
    assert second.told == [101]


async def test_what_cannot_be_fetched_is_said_and_fetched_later() -> None:
    registry = AccountRegistry()
    watcher = Watcher(registry, KEY)
    registry.subscribed(KEY)
    keys = await to_fetch(registry)
    registry.fetch_failed(keys)
    registry.fetch_failed(keys)
    assert watcher.told == ["unknown"]
    assert await to_fetch(registry) == [KEY]
    registry.updated(at(5, 1))
    registry.fetch_all()
    registry.fetch_failed(await to_fetch(registry))  # it is heard of all the same
    assert watcher.told == ["unknown", 1]


def test_the_process_watches_so_many_accounts_and_no_more() -> None:
    registry = AccountRegistry(limit=2)
    keys = [Pubkey.new_unique() for _ in range(3)]
    watcher = Watcher(registry, *keys[:2])
    with pytest.raises(Overloaded):
        registry.watch(watcher, keys[2])
    registry.watch(Watcher(registry), keys[0])
    registry.unwatch(watcher, keys[1])
    registry.watch(watcher, keys[2])
    assert registry.wanted == {keys[0], keys[2]}


def test_one_who_leaves_while_it_is_told_disturbs_nobody() -> None:
    class Leaver(Watcher):
        def on_account(self, key: Pubkey, frames: AccountFrames) -> None:
            super().on_account(key, frames)
            registry.unwatch(self, key)

    registry = AccountRegistry()
    watchers = [kind(registry, KEY) for kind in (Watcher, Leaver, Watcher)]
    registry.subscribed(KEY)
    registry.updated(at(1, 1))
    registry.updated(at(2, 2))
    assert [each.told for each in watchers] == [[1, 2], [1], [1, 2]]
