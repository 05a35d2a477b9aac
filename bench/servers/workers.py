"""Several processes that accept from one socket, as `cvms serve --workers` runs them."""

from __future__ import annotations

import os
import socket
from collections.abc import Awaitable, Callable
from functools import partial

import trio

Serve = Callable[[socket.socket, Callable[[], None]], Awaitable[None]]
"""Serves on a listening socket until standard input ends; calls back once it accepts."""


def serve_in_processes(serve: Serve, count: int) -> None:
    """Fork, serve in each process, and print the port once all of them accept."""
    listener = socket.create_server(("127.0.0.1", 0), backlog=4096)
    reader, writer = os.pipe()
    first = all(os.fork() for _ in range(count - 1))  # a child forks no further

    def accepting() -> None:
        os.write(writer, b".")
        if first:
            for _ in range(count):
                os.read(reader, 1)
            print(listener.getsockname()[1], flush=True)

    trio.run(partial(serve, listener, accepting))
