"""Reads and writes of a connection end at its deadline, however much arrives meanwhile."""

from __future__ import annotations

import socket

import pytest

from cvms.store.redis.connection import Deadline, DeadlineSocket


def test_bytes_that_keep_arriving_do_not_move_the_deadline() -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        ours.settimeout(1000)
        deadline = Deadline()
        limited = DeadlineSocket(ours, deadline)
        theirs.sendall(b"xy")
        deadline.restart(60)
        assert limited.recv(1) == b"x"
        assert 0 < (ours.gettimeout() or 0) <= 60
        deadline.restart(0)
        with pytest.raises(TimeoutError):
            limited.recv(1)
        with pytest.raises(TimeoutError):
            limited.sendall(b"z")


def test_the_library_may_ask_for_less_time_than_is_left() -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        deadline = Deadline()
        limited = DeadlineSocket(ours, deadline)
        deadline.restart(60)
        limited.settimeout(0)
        with pytest.raises(BlockingIOError):
            limited.recv(1)
