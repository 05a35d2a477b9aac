"""The running local chain: one node, its RPC and PubSub ports, and the timer of the slots."""

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
from cvms.localnet.ledger.chain import LocalnetChain
from cvms.localnet.ledger.clock import LocalnetClock
from cvms.localnet.ledger.genesis import fill_genesis
from cvms.localnet.ledger.program_deployment import deploy, deployed_code
from cvms.localnet.ledger.sqlite_ledger import Ledger
from cvms.localnet.node.faults import NodeFaults
from cvms.localnet.node.node import Node
from cvms.localnet.pubsub.client_connection import PubSubPort
from cvms.localnet.pubsub.subscription_hub import SubscriptionHub
from cvms.localnet.types import Deployment, Timing
from cvms.localnet.vm.machine import VirtualMachine

if TYPE_CHECKING:
    from cvms.localnet.ledger.chain import LocalnetChain
    from cvms.localnet.node.faults import NodeFaults
    from cvms.localnet.pubsub.subscription_hub import SubscriptionHub


Listeners = tuple[list[trio.SocketListener], list[trio.SocketListener]]
"""Listeners of RPC and of PubSub."""


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

    Without a `ledger` everything is kept in memory. Port 0 picks two free ports.
    Raises ConfigurationError if a port or the ledger is in use.
    """
    opened = Ledger(ledger)
    try:
        chain = open_chain(opened, programs=programs, timing=timing or Timing())
        listeners = await _listen_on_both(host, port)
        async with trio.open_nursery() as nursery:
            run = partial(_run_node, chain, NodeFaults(), host=host, listeners=listeners)
            running: Running = await nursery.start(run)
            nursery.start_soon(_tick, chain)
            task_status.started(running)
    finally:
        opened.close()


async def serve_node(
    chain: LocalnetChain,
    *,
    host: str = "127.0.0.1",
    port: int = 0,
    faults: NodeFaults | None = None,
    task_status: trio.TaskStatus[Running] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Run another node of a chain, with its own faults, until cancelled.

    It must end before the chain does. Raises ConfigurationError if a port is in use.
    """
    listeners = await _listen_on_both(host, port)
    faults = faults or NodeFaults()
    await _run_node(chain, faults, host=host, listeners=listeners, task_status=task_status)


async def _run_node(
    chain: LocalnetChain,
    faults: NodeFaults,
    *,
    host: str,
    listeners: Listeners,
    task_status: trio.TaskStatus[Running],
) -> None:
    for_rpc, for_pubsub = listeners
    node = Node(chain, faults, _address(host, for_rpc), _address(host, for_pubsub))
    hub = SubscriptionHub(node)
    pubsub = PubSubPort(hub)
    http = HttpPort(node, upgrade=pubsub.upgrade)
    chain.observers.append(hub)
    try:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(trio.serve_listeners, http.serve, for_rpc)
            nursery.start_soon(trio.serve_listeners, pubsub.serve, for_pubsub)
            rpc_url, ws_url = f"http://{node.rpc_address}", f"ws://{node.pubsub_address}"
            task_status.started(Running(rpc_url, ws_url, chain, faults, hub))
    finally:
        chain.observers.remove(hub)


def open_chain(ledger: Ledger, *, programs: Sequence[Deployment], timing: Timing) -> LocalnetChain:
    """Open the chain of a ledger, and deploy those `programs` whose code is missing or differs."""
    offset = float(ledger.setting("time_offset", b"0.0"))
    clock = LocalnetClock(wall=time.time, offset=offset)
    chain = LocalnetChain(ledger=ledger, vm=VirtualMachine(), time=clock, timing=timing)
    fill_genesis(chain)
    for program in programs:
        if deployed_code(chain, program.program_id) != program.elf:
            authority = program.upgrade_authority
            deploy(chain, program.program_id, program.elf, authority=authority)
    return chain


async def _tick(chain: LocalnetChain) -> None:
    """Start a slot at each interval, unless the clock is paused. Missed slots are not made up."""
    due = trio.current_time()
    while True:
        due = max(due + chain.timing.slot_seconds, trio.current_time())
        await trio.sleep_until(due)
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
    """Return the address that a client on this machine connects to."""
    port = listeners[0].socket.getsockname()[1]
    reachable = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)  # noqa: S104
    return f"[{reachable}]:{port}" if ":" in reachable else f"{reachable}:{port}"


@dataclass(frozen=True, slots=True)
class Running:
    """A running node: its URLs and, for tests in this process, its chain and its faults."""

    rpc_url: str
    ws_url: str
    chain: LocalnetChain
    faults: NodeFaults
    hub: SubscriptionHub

    def cut_pubsub(self) -> None:
        """End every PubSub connection of this node without a closing handshake."""
        self.hub.cut()
