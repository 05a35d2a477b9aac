"""Frames arrive complete and in order however much a socket accepts, superseded ones excepted."""

from __future__ import annotations

import os
import random
import socket
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from cvms.http.server.send_queue import SendQueue


@contextmanager
def pair() -> Iterator[tuple[socket.socket, socket.socket]]:
    """Return the two ends of a connection that accepts little at once and never blocks."""
    ours, theirs = socket.socketpair()
    with ours, theirs:
        for each in (ours, theirs):
            each.setblocking(False)
        ours.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
        yield ours, theirs


def received(end: socket.socket) -> bytes:
    data = b""
    try:
        while chunk := end.recv(65536):
            data += chunk
    except BlockingIOError:
        return data
    return data


def frame(number: int, size: int) -> bytes:
    return b"<%d:%s>" % (number, b"x" * size)


@pytest.mark.parametrize("seed", range(20))
def test_all_frames_arrive_in_order_whichever_way_they_are_written(seed: int) -> None:
    chance = random.Random(seed)
    outgoing, sent, got = SendQueue(), b"", b""
    with pair() as (ours, theirs):
        for number in range(200):
            data = frame(number, chance.choice([0, 10, 300, 5000]))
            sent += data
            outgoing.add(data)
            match chance.randrange(4):
                case 0:
                    outgoing.write(ours.fileno())
                case 1:
                    got += received(theirs)
                case 2:
                    got += received(theirs) + outgoing.take(chance.choice([None, 1000]))
        while outgoing:
            outgoing.write(ours.fileno())
            got += received(theirs)
        got += received(theirs)
    assert got == sent


def test_only_the_newest_frame_of_a_key_remains_and_no_other_is_lost() -> None:
    outgoing = SendQueue()
    for number in range(5):
        outgoing.add(b"<balance %d>" % number, conflation_key="alice")
        outgoing.add(b"<event %d>" % number)
        outgoing.add(b"<balance %d>" % number, conflation_key="bob")
    events = b"".join(b"<event %d>" % number for number in range(4))
    assert len(outgoing) == 7
    assert outgoing.take() == events + b"<balance 4><event 4><balance 4>"
    assert len(outgoing) == 0


def test_a_partly_written_frame_is_finished_before_a_newer_one() -> None:
    outgoing = SendQueue()
    with pair() as (ours, theirs):
        outgoing.add(b"<old %s>" % (b"x" * 100_000), conflation_key="alice")
        outgoing.write(ours.fileno())
        assert len(outgoing) == 1
        outgoing.add(b"<new>", conflation_key="alice")
        got = received(theirs)
        while outgoing:
            outgoing.write(ours.fileno())
            got += received(theirs)
    assert got == b"<old %s><new>" % (b"x" * 100_000)


def test_writing_to_a_closed_socket_raises_an_error() -> None:
    outgoing = SendQueue()
    with pair() as (ours, theirs):
        theirs.close()
        outgoing.add(b"data")
        with pytest.raises(OSError, match=os.strerror(32)):
            outgoing.write(ours.fileno())
