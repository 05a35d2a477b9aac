"""Puts the chain and its two ports together, and lets the slots tick."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import trio

from cvms.errors import ConfigurationError
from cvms.localnet.http_port import HttpPort
from cvms.localnet.ledger.chain import Chain
from cvms.localnet.ledger.clock import ChainTime
from cvms.localnet.ledger.genesis import fill_genesis
from cvms.localnet.ledger.program_deployment import deploy, deployed_code
from cvms.localnet.ledger.sqlite_ledger import Ledger
from cvms.localnet.node.faults import Faults
from cvms.localnet.node.node import Node
from cvms.localnet.pubsub.client_connection import PubSubPort
from cvms.localnet.pubsub.subscription_hub import Hub
from cvms.localnet.types import Deployment, Timing
from cvms.localnet.vm.machine import VirtualMachine

if TYPE_CHECKING:
    from cvms.localnet.ledger.chain import Chain
    from cvms.localnet.node.faults import Faults
    from cvms.localnet.pubsub.subscription_hub import Hub


Listeners = tuple[list[trio.SocketListener], list[trio.SocketListener]]
"""Of RPC, and of PubSub."""


async def serve(
    *,
    host: str = "127.0.0.1",
    port: int = 8899,
    ledger: Path | None,
    programs: Sequence[Deployment] = (),
    timing: Timing | None = None,
    task_status: trio.TaskStatus[Running] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Run a local chain until cancelled: JSON-RPC on `port`, PubSub on the next one.

    `ledger` None keeps everything in memory. With port 0 both ports are any free ones.
    Raises ConfigurationError for a port or a ledger that is taken.
    """
    book = Ledger(ledger)
    try:
        chain = open_chain(book, programs=programs, timing=timing or Timing())
        listeners = await _listen_on_both(host, port)
        async with trio.open_nursery() as nursery:
            run = partial(_run_node, Node(chain, Faults()), host=host, listeners=listeners)
            running: Running = await nursery.start(run)
            nursery.start_soon(_tick, chain)
            task_status.started(running)
    finally:
        book.close()


async def serve_node(
    chain: Chain,
    *,
    host: str = "127.0.0.1",
    port: int = 0,
    faults: Faults | None = None,
    task_status: trio.TaskStatus[Running] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Run one more node of a chain, with faults of its own, until cancelled.

    It must end before the chain does. Raises ConfigurationError for a port that is taken.
    """
    listeners = await _listen_on_both(host, port)
    node = Node(chain, faults or Faults())
    await _run_node(node, host=host, listeners=listeners, task_status=task_status)


async def _run_node(
    node: Node, *, host: str, listeners: Listeners, task_status: trio.TaskStatus[Running]
) -> None:
    hub = Hub(node)
    pubsub = PubSubPort(hub)
    http = HttpPort(node, upgrade=pubsub.upgrade)
    for_rpc, for_pubsub = listeners
    node.chain.observers.append(hub)
    try:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(trio.serve_listeners, http.serve, for_rpc)
            nursery.start_soon(trio.serve_listeners, pubsub.serve, for_pubsub)
            rpc_url = f"http://{_address(host, for_rpc)}"
            ws_url = f"ws://{_address(host, for_pubsub)}"
            task_status.started(Running(rpc_url, ws_url, node.chain, node.faults, hub))
    finally:
        node.chain.observers.remove(hub)


def open_chain(ledger: Ledger, *, programs: Sequence[Deployment], timing: Timing) -> Chain:
    """The chain of a ledger, with its programs as they are to be."""
    offset = float(ledger.setting("time_offset", b"0.0"))
    clock = ChainTime(wall=time.time, offset=offset)
    chain = Chain(ledger=ledger, vm=VirtualMachine(), time=clock, timing=timing)
    fill_genesis(chain)
    for program in programs:
        if deployed_code(chain, program.program_id) != program.elf:
            deploy(chain, program.program_id, program.elf)
    return chain


async def _tick(chain: Chain) -> None:
    """Start a slot at every beat, unless the clock is held; missed beats are not made up for."""
    beat = trio.current_time()
    while True:
        beat = max(beat + chain.timing.slot_seconds, trio.current_time())
        await trio.sleep_until(beat)
        if not chain.time.paused:
            chain.advance()


async def _listen_on_both(host: str, port: int) -> Listeners:
    rpc = await _listen(host, port)
    try:
        return rpc, await _listen(host, port + 1 if port else 0)
    except ConfigurationError:
        for listener in rpc:
            await listener.aclose()
        raise


async def _listen(host: str, port: int) -> list[trio.SocketListener]:
    try:
        return await trio.open_tcp_listeners(port, host=host)
    except OSError as error:
        raise ConfigurationError(f"cannot listen on {host}:{port}: {error.strerror}") from error


def _address(host: str, listeners: Sequence[trio.SocketListener]) -> str:
    """What a client on this machine connects to."""
    port = listeners[0].socket.getsockname()[1]
    reachable = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)  # noqa: S104
    return f"[{reachable}]:{port}" if ":" in reachable else f"{reachable}:{port}"


@dataclass(frozen=True, slots=True)
class Running:
    """A node that answers: where, and for tests in this process its chain and its faults."""

    rpc_url: str
    ws_url: str
    chain: Chain
    faults: Faults
    hub: Hub

    def cut_pubsub(self) -> None:
        """End every PubSub connection of this node, without a word, as a broken network does."""
        self.hub.cut()
