"""Each event is delivered once and in order, or a reset reports missed ones."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cvms.client import ClientError, Event, Snapshot, SubscriptionRefused, Topic
from cvms.client.stream_cursors import StreamCursors, StreamDesynchronized

TOPIC = "deposit_event"
BALANCE = "vault_balance_update"


def frame(**fields: Any) -> str:
    return msgspec.json.encode(fields).decode()


def event(seq: int, owner: str | None = "alice", *, topic: str = TOPIC, kind: str = "event") -> str:
    return frame(
        type=kind,
        topic=topic,
        seq=seq,
        slot=seq,
        signature=None,
        commitment="confirmed",
        data={"owner": owner},
    )


def subscribed(seq: int, owner: str | None = None, *, topic: str = TOPIC) -> str:
    return frame(type="subscribed", topic=topic, owner=owner, seq=seq, snapshot=None)


def following(*topics: Topic, seq: int = 0) -> StreamCursors:
    """Return cursors that are subscribed to all topics at `seq`."""
    cursors = StreamCursors(topics)
    cursors.requests()
    for topic in topics:
        cursors.read(subscribed(seq, topic.owner, topic=topic.name))
    return cursors


def seqs(cursors: StreamCursors, *frames: str) -> list[int]:
    return [message.seq for each in frames if (message := cursors.read(each)) is not None]


def test_the_topic_of_all_owners_shows_a_gap() -> None:
    cursors = following(Topic(TOPIC))
    assert seqs(cursors, event(1), event(2, "bob")) == [1, 2]
    with pytest.raises(StreamDesynchronized, match="from 2 to 4"):
        cursors.read(event(4))
    assert '"since":2' in cursors.requests()[0]


def test_topics_of_one_owner_and_conflated_topics_may_have_gaps() -> None:
    assert seqs(following(Topic(TOPIC, owner="alice")), event(3), event(9)) == [3, 9]
    balances = following(Topic(BALANCE))
    assert seqs(balances, event(3, topic=BALANCE), event(9, topic=BALANCE)) == [3, 9]


def test_repeated_events_are_ignored() -> None:
    cursors = following(Topic(TOPIC))
    assert seqs(cursors, event(1), event(2), event(1), event(2), event(3)) == [1, 2, 3]


def test_a_retraction_is_a_separate_event() -> None:
    cursors = following(Topic(TOPIC))
    cursors.read(event(1))
    message = cursors.read(event(2, kind="retracted"))
    assert isinstance(message, Event)
    assert (message.type, message.seq) == ("retracted", 2)


def test_a_reset_belongs_to_the_next_subscription_and_starts_over() -> None:
    cursors = following(Topic(TOPIC), Topic(BALANCE), seq=7)
    cursors.requests()
    cursors.read(frame(type="reset", topic=TOPIC, owner=None))
    again = cursors.read(subscribed(3))
    assert again == Snapshot(TOPIC, None, 3, None, reset=True)
    assert cursors.read(subscribed(7, topic=BALANCE)) is None
    assert seqs(cursors, event(4), event(8, topic=BALANCE)) == [4, 8]


def test_a_refusal_names_its_topic_and_a_transient_one_reconnects() -> None:
    cursors = StreamCursors([Topic(TOPIC), Topic("weather")])
    cursors.requests()
    cursors.read(subscribed(0))
    with pytest.raises(StreamDesynchronized):
        cursors.read(frame(type="error", code="database_unavailable", detail="in a moment"))
    with pytest.raises(SubscriptionRefused) as refused:
        cursors.read(frame(type="error", code="invalid_request", detail="no such topic"))
    assert refused.value.topic == "weather"


def test_unknown_frames_are_ignored_or_an_error_but_never_a_loop() -> None:
    cursors = following(Topic(TOPIC))
    for new in (frame(type="news", seq=1), frame(type="subscribed", pubkey="alice", snapshot={})):
        assert cursors.read(new) is None
    for strange in ("{", "[]", frame(type="event", topic=TOPIC, seq="one")):
        with pytest.raises(ClientError):
            cursors.read(strange)


def test_an_administrators_token_is_sent_and_not_shown() -> None:
    alerts = Topic("security_alert", token="secret")
    assert "secret" in StreamCursors([alerts]).requests()[0]
    assert "secret" not in repr(alerts)


def test_a_topic_of_all_owners_excludes_one_of_a_single_owner() -> None:
    with pytest.raises(ValueError, match="of all owners already includes the events of alice"):
        StreamCursors([Topic(TOPIC, owner="alice"), Topic(TOPIC)])


OWNERS = st.sampled_from(["alice", "bob", "carol"])


@given(
    owners=st.lists(OWNERS, max_size=30),
    topics=st.just([None]) | st.lists(OWNERS, min_size=1, max_size=3, unique=True),
    cuts=st.lists(st.integers(0, 12), max_size=10),
)
def test_wherever_connections_break_each_event_is_delivered_once_and_in_order(
    owners: list[str], topics: list[str | None], cuts: list[int]
) -> None:
    """Each connection delivers some frames and then breaks. The last one delivers all."""
    cursors = StreamCursors(Topic(TOPIC, owner=owner, since=0) for owner in topics)
    delivered: list[int] = []
    for cut in (*cuts, 1000):
        frames: list[str] = []
        for request, owner in zip(cursors.requests(), topics, strict=True):
            since = msgspec.json.decode(request)["since"]
            frames.append(subscribed(since, owner))
            frames += (
                event(seq, whose)
                for seq, whose in enumerate(owners, 1)
                if seq > since and owner in (None, whose)
            )
        delivered += seqs(cursors, *frames[:cut])
    for owner in topics:
        wanted = [seq for seq, whose in enumerate(owners, 1) if owner in (None, whose)]
        assert [seq for seq in delivered if seq in wanted] == wanted
