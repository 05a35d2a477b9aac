"""The composition root: builds the components, starts the tasks, and ends everything in order.

The scopes nest as follows, and each ends before the one that encloses it:

    serve
    └─ signals            SIGTERM, SIGINT and a cancellation set one event, `stop`
       └─ lifetime        shielded; gets its deadline when `stop` is set
          └─ resources    database pool, Redis and RPC clients
             └─ background    the supervised tasks of every replica; the one named `leader` opens
                │             a nursery for the leader's tasks while this replica leads
                └─ front      the HTTP server, which drains and returns once `stop` is set

So requests are finished while all tasks still run, then the tasks are cancelled, and the pools are
closed last.
"""

from __future__ import annotations

import gc
import signal
import socket
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import structlog
import trio

from cvms.config.settings import Config
from cvms.errors import ConfigurationError, only
from cvms.http import serve_http
from cvms.log.configuration import ProcessLog
from cvms.metrics import Metrics
from cvms.nursery.channels.status_board import StatusBoard
from cvms.nursery.channels.task_liveness import seconds_expected
from cvms.nursery.supervision.deployment_probe import DEPLOYMENT
from cvms.nursery.supervision.genesis_check import verify_genesis
from cvms.nursery.supervision.instance_heartbeat import instance_name
from cvms.nursery.supervision.leader_election import LeaderElection
from cvms.nursery.supervision.service_manager import ServiceManager
from cvms.nursery.supervision.supervisor import supervise
from cvms.nursery.wiring.first_series import start_series
from cvms.nursery.wiring.front_end import build_front_end
from cvms.nursery.wiring.leader_tasks import leader_task_names, leader_tasks
from cvms.nursery.wiring.replica_tasks import replica_tasks, schemaless_tasks
from cvms.nursery.wiring.resources import Resources, TaskFunction, open_resources
from cvms.store.index import cursor as cursors
from cvms.store.messaging import restored

log = structlog.get_logger(__name__)

SCHEMA_SECONDS = 3.0
"""How long a process waits for the schema before it listens."""
RESTART = "restart to read the settings again; the parent of --workers does so without a pause"


async def serve_process(
    config: Config,
    *,
    task_status: trio.TaskStatus[str] = trio.TASK_STATUS_IGNORED,
    **options: Any,
) -> None:
    """Run `serve` in a process that does nothing else.

    What was built at the start lives as long as the process. The garbage collector need not look at
    it again: a full collection takes 60 ms, in which nothing is answered.
    """
    async with trio.open_nursery() as nursery:
        url = await nursery.start(partial(serve, config, **options))
        gc.collect()
        gc.freeze()
        task_status.started(url)


async def serve(
    config: Config,
    *,
    task_status: trio.TaskStatus[str] = trio.TASK_STATUS_IGNORED,
    shutdown: trio.Event | None = None,
    listener: socket.socket | None = None,
    admin_listener: socket.socket | None = None,
    board: StatusBoard | None = None,
    metrics: Metrics | None = None,
    service_manager: ServiceManager | None = None,
    process_log: ProcessLog | None = None,
) -> None:
    """Run the service until SIGTERM, SIGINT, `shutdown` or a cancellation.

    Listens on `listener` and `admin_listener`, which other processes may share, or else where the
    settings say. Reports its URL once it accepts connections, and to `service_manager` that it
    serves, that it lives and that it ends. The database and the chain may become available later;
    /ready and `board` show that.

    Ends in order within `config.shutdown_deadline` seconds, also when cancelled: open requests are
    answered, WebSockets are closed with 1001, then the tasks end. Raises ConfigurationError if it
    cannot listen, or if a task finds a setting that it cannot work with.
    """
    stop = trio.Event() if shutdown is None else shutdown
    manager = service_manager or ServiceManager()
    async with (
        _open_lifetime(stop) as lifetime,
        open_resources(
            config,
            board=board or StatusBoard(),
            metrics=metrics or Metrics(),
            process_log=process_log,
        ) as resources,
        trio.open_nursery() as background,
    ):
        start_series(resources)
        _log_disabled_features(config)
        schema = _Schema()
        _start_background_tasks(background, resources, schema)
        # Others may answer what this process would refuse: a proxy asks whoever listens, and a
        # worker takes connections from its siblings.
        with trio.move_on_after(SCHEMA_SECONDS):
            await (schema.tried if listener is None else schema.applied).wait()
        async with trio.open_nursery() as front:
            url = await _start_front_end(
                front, resources, stop=stop, listener=listener, admin_listener=admin_listener
            )
            task_status.started(url)
            background.start_soon(
                manager.keep_informed, partial(_status_line, url, resources.board)
            )
            await stop.wait()
            resources.board.stopping = True
            manager.notify("STOPPING=1")
            lifetime.deadline = trio.current_time() + config.shutdown_deadline
        # Tasks can be cancelled at any point: the next process resumes from the database.
        background.cancel_scope.cancel()
    log.info("service_stopped", in_order=not lifetime.cancelled_caught)


def _log_disabled_features(config: Config) -> None:
    if config.admin_jwt_secret is None and not config.admin.token_secrets:
        log.warning("admin_routes_disabled", unset="ADMIN_JWT_SECRET")
    if not config.data_encryption_keys:
        log.warning("second_factors_disabled", unset="DATA_ENCRYPTION_KEYS")


# --- background tasks --------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Schema:
    """Whether the schema has been applied, and whether that has been tried at least once."""

    applied: trio.Event = field(default_factory=trio.Event)
    tried: trio.Event = field(default_factory=trio.Event)


def _start_background_tasks(nursery: trio.Nursery, resources: Resources, schema: _Schema) -> None:
    """Start every task of this replica. Those that need the schema wait until it is applied."""
    resources.board.expect_component(DEPLOYMENT)
    for name, run in schemaless_tasks(resources):
        nursery.start_soon(_supervise, resources, name, run)
    tasks = replica_tasks(resources)
    for name in leader_task_names(resources.config):
        resources.board.set_task_state(name, "standby")
    for name in [*(name for name, _ in tasks), "leader"]:
        resources.board.set_task_state(name, "starting")
    nursery.start_soon(_start_after_schema, nursery, resources, tasks, schema)


async def _start_after_schema(
    nursery: trio.Nursery,
    resources: Resources,
    tasks: Sequence[tuple[str, TaskFunction]],
    schema: _Schema,
) -> None:
    async def prepare() -> None:
        try:
            await _prepare_database(resources)
        finally:
            schema.tried.set()

    await _supervise(resources, "schema", prepare, finite=True)
    schema.applied.set()
    for name, run in tasks:
        nursery.start_soon(_supervise, resources, name, run)
    verify = partial(_verify_genesis, resources)
    await _supervise(resources, "genesis", verify, finite=True)
    # What the leader reads from the chain goes into the books: it must be the right one.
    nursery.start_soon(_supervise, resources, "leader", _leader_election(resources).run)


async def _verify_genesis(resources: Resources) -> None:
    await verify_genesis(resources.database, resources.rpc, may_change=resources.config.own_chain)


async def _prepare_database(resources: Resources) -> None:
    """Apply the schema, and notice that the database was restored from a backup.

    Raises ConfigurationError if the database is of another program.
    """
    await resources.database.prepare(migrate=resources.config.migrate)
    async with resources.database.transaction() as conn:
        if await restored.notice(conn):
            log.warning("database_restored", clients="start over", nonces="must be asked for again")
    program = str(resources.programs.vault)
    async with resources.database.connection() as conn:
        indexed = await cursors.programs(conn)
    if indexed and program not in indexed:
        raise ConfigurationError(
            f"PROGRAM_ID is {program}, and DATABASE_URL leads to the books of "
            f"{', '.join(indexed)}; expected a database for each program"
        )


async def _supervise(
    resources: Resources, name: str, run: TaskFunction, *, finite: bool = False
) -> None:
    await supervise(
        name,
        run,
        board=resources.board,
        metrics=resources.metrics,
        finite=finite,
        expected=None if finite else seconds_expected(name, resources.config),
    )


def _leader_election(resources: Resources) -> LeaderElection:
    return LeaderElection(
        database=resources.database,
        tasks=partial(_run_leader_tasks, resources),
        name=instance_name(),
        progress=resources.progress,
        board=resources.board,
        metrics=resources.metrics,
    )


async def _run_leader_tasks(resources: Resources) -> None:
    """Run the leader's tasks until cancelled, which ends this replica's term."""
    tasks = leader_tasks(resources)
    try:
        async with trio.open_nursery() as nursery:
            for name, run in tasks:
                nursery.start_soon(_supervise, resources, name, run)
    finally:
        resources.board.checks.forget()
        resources.metrics.end_term()
        for name, _ in tasks:
            resources.board.set_task_state(name, "standby")


# --- the front end -----------------------------------------------------------------------------


async def _start_front_end(
    nursery: trio.Nursery,
    resources: Resources,
    *,
    stop: trio.Event,
    listener: socket.socket | None,
    admin_listener: socket.socket | None,
) -> str:
    """Start the HTTP server and return its URL. Raises ConfigurationError if it cannot listen."""
    config = resources.config
    app = build_front_end(resources)
    server = partial(
        serve_http,
        app,
        config=config,
        shutdown=stop,
        listener=listener,
        admin_listener=admin_listener,
    )
    url: str = await nursery.start(server)
    return url


def _status_line(url: str, board: StatusBoard) -> str:
    """Return the state in one line, which names no hosts but the one that it listens on."""
    trouble = [f"{name}: {each.kind}" for name, each in board.components.items() if not each.ok]
    return f"Serving on {url}, {'not ready, ' + ', '.join(trouble) if trouble else 'ready'}"


# --- shutdown ----------------------------------------------------------------------------------


@asynccontextmanager
async def _open_lifetime(stop: trio.Event) -> AsyncIterator[trio.CancelScope]:
    """Shield the block: a signal or a cancellation sets `stop`, so that it ends in order."""
    try:
        async with trio.open_nursery() as signals:
            signals.start_soon(_stop_on_signal, stop)
            signals.start_soon(_stop_when_cancelled, stop)
            with trio.CancelScope(shield=True) as lifetime:
                yield lifetime
            signals.cancel_scope.cancel()
    except BaseExceptionGroup as group:
        raise only(group) from None


async def _stop_on_signal(stop: trio.Event) -> None:
    with trio.open_signal_receiver(signal.SIGTERM, signal.SIGINT, signal.SIGHUP) as signals:
        async for number in signals:
            name = signal.Signals(number).name
            if number == signal.SIGHUP:
                log.warning("signal_ignored", signal=name, instead=RESTART)
            else:
                log.info("shutdown_requested", signal=name)
                stop.set()


async def _stop_when_cancelled(stop: trio.Event) -> None:
    try:
        await trio.sleep_forever()
    finally:
        stop.set()
