"""A kept reply is never older than what a client of this process has heard."""

from __future__ import annotations

import secrets
import tracemalloc
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from cvms.nursery.channels import reply_cache
from cvms.nursery.channels.reply_cache import (
    CHANGES_KEPT,
    PROOF_SECONDS,
    CachedReply,
    ReplyCache,
    Ticket,
    size_of,
)

OWNERS = ("alice", "carl")
MAX_AGE = 5.0
IN_FLIGHT = 2


@dataclass
class Clock:
    now: float = 1000.0

    def __call__(self) -> float:
        return self.now


def reply(version: int) -> CachedReply:
    return CachedReply(b"{}", str(version), version)


ENTRY = size_of("alice", reply(1))


@contextmanager
def following(
    clock: Clock, *, max_bytes: int = 100 * ENTRY, proved: bool = True
) -> Iterator[ReplyCache]:
    """A cache that is followed, by default with a proof of this moment."""
    cache = ReplyCache(max_bytes=max_bytes, max_age=MAX_AGE, clock=clock)
    with cache.followed():
        if proved:
            cache.prove(1, clock())
        yield cache


def keep(cache: ReplyCache, key: str, version: int) -> None:
    cache.keep(key, cache.begin(), reply(version))


def test_a_reply_is_answered_until_its_owner_changes() -> None:
    with following(Clock()) as cache:
        keep(cache, "alice", 1)
        keep(cache, "bob", 2)
        assert cache.get("alice") == reply(1)
        cache.forget("alice")
        assert cache.get("alice") is None
        assert cache.get("bob") == reply(2)


def test_a_row_that_was_read_before_a_change_was_announced_is_not_kept() -> None:
    with following(Clock()) as cache:
        ticket = cache.begin()
        cache.forget("alice")
        cache.keep("alice", ticket, reply(1))
        assert cache.get("alice") is None
        keep(cache, "alice", 2)
        assert cache.get("alice") == reply(2)


def test_a_read_is_refused_once_it_is_unknown_what_has_changed_since() -> None:
    with following(Clock(), max_bytes=10**9) as cache:
        ticket = cache.begin()
        for number in range(CHANGES_KEPT + 1):
            cache.forget(f"owner {number}")
        cache.keep("alice", ticket, reply(1))
        assert cache.get("alice") is None


def test_of_two_reads_that_differ_neither_is_kept() -> None:
    """One of them is old, and the message that says which has not come yet."""
    with following(Clock()) as cache:
        old, new, third = cache.begin(), cache.begin(), cache.begin()
        cache.keep("alice", new, reply(2))
        cache.keep("alice", old, reply(1))
        assert cache.get("alice") is None
        cache.keep("alice", third, reply(1))
        assert cache.get("alice") is None


def test_without_a_recent_proof_nothing_is_answered() -> None:
    clock = Clock()
    with following(clock, proved=False) as cache:
        keep(cache, "alice", 1)
        assert cache.get("alice") is None
        cache.prove(7, clock())
        assert cache.get("alice") == reply(1)
        clock.now += PROOF_SECONDS
        assert cache.get("alice") is None
        cache.prove(7, clock() - PROOF_SECONDS / 2)  # as of when it was asked
        assert cache.get("alice") == reply(1)
        clock.now += PROOF_SECONDS / 2
        assert cache.get("alice") is None


def test_a_client_that_has_heard_of_a_position_is_answered_from_there_on() -> None:
    clock = Clock()
    with following(clock) as cache:
        keep(cache, "alice", 1)
        cache.require(1)
        assert cache.get("alice") == reply(1)
        cache.require(3)
        assert cache.get("alice") is None
        cache.prove(2, clock())
        assert cache.get("alice") is None
        cache.prove(3, clock())
        assert cache.get("alice") == reply(1)


def test_a_reply_expires_although_nothing_is_announced() -> None:
    clock = Clock()
    with following(clock) as cache:
        keep(cache, "alice", 1)
        clock.now += MAX_AGE
        cache.prove(1, clock())
        assert cache.get("alice") is None


def test_nothing_survives_the_end_of_following() -> None:
    cache = ReplyCache(max_bytes=10 * ENTRY, max_age=MAX_AGE, clock=(clock := Clock()))
    ticket = cache.begin()
    keep(cache, "alice", 1)
    cache.prove(1, clock())
    assert cache.get("alice") is None
    for _ in range(2):
        with cache.followed():
            cache.prove(1, clock())
            assert len(cache) == 0
            cache.keep("alice", ticket, reply(1))
            assert cache.get("alice") is None
            keep(cache, "alice", 2)
            assert cache.get("alice") == reply(2)
            ticket = cache.begin()
        assert (cache.get("alice"), cache.size) == (None, 0)


def test_the_oldest_replies_make_room() -> None:
    with following(Clock(), max_bytes=2 * ENTRY) as cache:
        for number, owner in enumerate(("alice", "carl", "clara")):
            keep(cache, owner, number)
        assert [cache.get(owner) for owner in ("alice", "carl", "clara")] == [
            None,
            reply(1),
            reply(2),
        ]
        cache.forget("alice", "carl", "clara")
        assert (len(cache), cache.size) == (0, 0)


def test_a_cache_without_memory_keeps_nothing() -> None:
    with following(Clock(), max_bytes=0) as cache:
        keep(cache, "alice", 1)
        assert (len(cache), cache.get("alice")) == (0, None)


def test_a_reply_that_made_room_is_not_followed_by_an_older_one() -> None:
    with following(Clock(), max_bytes=ENTRY) as cache:
        old = cache.begin()
        keep(cache, "alice", 2)
        keep(cache, "carl", 1)
        cache.keep("alice", old, reply(1))
        assert cache.get("alice") is None


def test_a_reply_takes_no_more_memory_than_is_counted() -> None:
    def random_reply(number: int) -> CachedReply:
        return CachedReply(secrets.token_bytes(300), f"3123456-{number}.25", number)

    count = 20_000
    with following(Clock(), max_bytes=10**9) as cache:
        tracemalloc.start()
        try:
            for number in range(count):
                cache.keep(secrets.token_urlsafe(33), cache.begin(), random_reply(number))
            taken, _ = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
        assert 0.7 * cache.size < taken < cache.size


@dataclass
class Read:
    """A read in progress, which has selected `version` at once."""

    owner: str
    ticket: Ticket
    version: int


@dataclass
class Books:
    """The database: versions, which are never used twice, and the outbox of their owners."""

    version: dict[str, int] = field(default_factory=lambda: dict.fromkeys(OWNERS, 0))
    replaced_at: dict[int, float] = field(default_factory=dict)
    outbox: list[tuple[str, int]] = field(default_factory=list)


class Interleavings(RuleBasedStateMachine):
    """Writers, readers, the follower and outages, in any order."""

    def __init__(self) -> None:
        super().__init__()
        self.clock = Clock()
        self.cache = ReplyCache(max_bytes=3 * ENTRY // 2, max_age=MAX_AGE, clock=self.clock)
        self.books = Books()
        self.versions = 0
        self.reads: list[Read] = []
        self.heard = dict.fromkeys(OWNERS, 0)
        """The newest version that any client of this process has seen, by owner."""
        self.position = 0
        self.link: ExitStack | None = None
        self.listen()

    def teardown(self) -> None:
        if self.link is not None:
            self.link.close()

    @rule(owner=st.sampled_from(OWNERS))
    def write(self, owner: str) -> None:
        self.versions += 1
        self.books.replaced_at[self.books.version[owner]] = self.clock()
        self.books.version[owner] = self.versions
        self.books.outbox.append((owner, self.versions))

    @precondition(lambda self: self.link is not None)
    @rule(limit=st.sampled_from([1, 100, 100, 100]), took=st.sampled_from([0.0, 0.0, 0.6]))
    def follow(self, limit: int, took: float) -> None:
        """Read a page of the outbox, drop, and tell the clients."""
        asked_at, head = self.clock(), len(self.books.outbox)
        page = self.books.outbox[self.position : self.position + limit]
        self.clock.now += took
        self.cache.forget(*(owner for owner, _ in page))
        self.position += len(page)
        if self.position == head:
            self.cache.prove(head, asked_at)
        for owner, version in page:
            self.hear(owner, version)

    @precondition(lambda self: len(self.reads) < IN_FLIGHT)
    @rule(owner=st.sampled_from(OWNERS))
    def select(self, owner: str) -> None:
        self.reads.append(Read(owner, self.cache.begin(), self.books.version[owner]))

    @precondition(lambda self: self.reads)
    @rule(which=st.integers(0, IN_FLIGHT - 1))
    def finish(self, which: int) -> None:
        read = self.reads.pop(which % len(self.reads))
        self.cache.keep(read.owner, read.ticket, reply(read.version))
        if read.version in (self.books.version[read.owner], *self.books.replaced_at):
            self.hear(read.owner, read.version)

    @rule(owner=st.sampled_from(OWNERS))
    def snapshot(self, owner: str) -> None:
        """A new subscriber is shown the database, which may be ahead of the follower."""
        self.cache.require(len(self.books.outbox))
        self.hear(owner, self.books.version[owner])

    @rule(owner=st.sampled_from(OWNERS))
    def read(self, owner: str) -> None:
        """A read during which nothing else happens."""
        ticket, version = self.cache.begin(), self.books.version[owner]
        self.cache.keep(owner, ticket, reply(version))
        self.hear(owner, version)

    @rule(seconds=st.sampled_from([0.1, 0.7]))
    def wait(self, seconds: float) -> None:
        self.clock.now += seconds

    @precondition(lambda self: self.link is not None)
    @rule()
    def lose_listen(self) -> None:
        assert self.link is not None
        self.link.close()
        self.link = None

    @precondition(lambda self: self.link is None)
    @rule()
    def listen(self) -> None:
        self.link = ExitStack()
        self.link.enter_context(self.cache.followed())
        self.position = min(self.position, len(self.books.outbox))

    @precondition(lambda self: self.link is None and self.books.outbox)
    @rule(data=st.data())
    def restore(self, data: st.DataObject) -> None:
        """The last transactions are lost with the primary; other ones take their positions."""
        kept = data.draw(st.integers(0, len(self.books.outbox) - 1))
        outbox = self.books.outbox[:kept]
        self.books = Books(outbox=outbox)
        self.books.version |= dict(outbox)
        self.heard = {
            owner: min(heard, self.books.version[owner]) for owner, heard in self.heard.items()
        }

    def hear(self, owner: str, version: int) -> None:
        self.heard[owner] = max(self.heard[owner], version)

    @invariant()
    def no_reply_is_older_than_what_was_heard(self) -> None:
        for owner in OWNERS:
            kept = self.cache.get(owner)
            if kept is None:
                continue
            assert self.link is not None
            assert kept.slot >= self.heard[owner]
            if kept.slot != self.books.version[owner]:
                assert self.clock() - self.books.replaced_at[kept.slot] < PROOF_SECONDS


TestInterleavings = Interleavings.TestCase
TestInterleavings.settings = settings(max_examples=150, deadline=None)


def test_changes_are_kept_for_longer_than_a_read_takes_at_full_speed() -> None:
    assert reply_cache.CHANGES_KEPT / 8_000 > PROOF_SECONDS


@pytest.mark.parametrize("keys", [(), ("alice",)])
def test_clearing_refuses_what_is_being_read(keys: tuple[str, ...]) -> None:
    with following(clock := Clock()) as cache:
        ticket = cache.begin()
        cache.forget(*keys)
        cache.clear()
        cache.prove(1, clock())
        cache.keep("alice", ticket, reply(1))
        assert cache.get("alice") is None
