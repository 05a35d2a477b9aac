"""The service tells systemd, or whoever else has set NOTIFY_SOCKET, how it is."""

from __future__ import annotations

import base64
import os
import signal
import time
from functools import partial
from pathlib import Path

import psutil
import pytest
import trio
from solders.keypair import Keypair
from structlog.testing import capture_logs

from cvms.config.loader import load_config
from cvms.nursery.run import serve
from cvms.nursery.supervision import worker_processes
from cvms.nursery.supervision.service_manager import ServiceManager, service_manager_of
from cvms.nursery.supervision.worker_processes import run_workers
from tests.harness.free_ports import free_port
from tests.harness.localnet import Localnet
from tests.harness.notify_socket import notify_socket
from tests.harness.processes import cvms
from tests.harness.resources import NOWHERE, config_for_tests

READY, ALIVE, STOPPING = "READY=1", "WATCHDOG=1", "STOPPING=1"


def abstract_name() -> str:
    return f"@cvms-test-{os.urandom(8).hex()}"


def environ_of(database_url: str, operator: Keypair, rpc_url: str = NOWHERE) -> dict[str, str]:
    return {
        "DATABASE_URL": database_url,
        "DEPLOYER_KEYPAIR_BASE64": base64.b64encode(bytes(operator)).decode(),
        "PORT": str(free_port()),
        "SOLANA_RPC_URL": rpc_url,
    }


def workers() -> list[psutil.Process]:
    return [each for each in psutil.Process().children() if "--inherit" in each.cmdline()]


@pytest.mark.parametrize(
    ("arguments", "status"),
    [
        ((), "STATUS=Serving on http://127.0.0.1:{port}, not ready, "),
        (("--workers", "2"), "STATUS=2 of 2 workers serve"),
    ],
)
async def test_it_says_that_it_serves_lives_and_ends(
    database_url: str, tmp_path: Path, arguments: tuple[str, ...], status: str
) -> None:
    """Also while no chain answers: restarting it would not help."""
    with notify_socket(abstract_name()) as manager:
        environ = environ_of(database_url, Keypair()) | {
            "NOTIFY_SOCKET": manager.address,
            "WATCHDOG_USEC": "3000000",
        }
        async with cvms("serve", *arguments, folder=tmp_path, environ=environ) as service:
            assert await manager.until(READY) == [READY]
            alive, first_status = await manager.receive()
            assert alive == ALIVE
            assert first_status.startswith(status.format(port=environ["PORT"]))
            await manager.until(ALIVE)
            assert await service.stop() == 0
        assert STOPPING in manager.pending()


async def test_a_stuck_event_loop_says_nothing(database_url: str, tmp_path: Path) -> None:
    shutdown = trio.Event()
    seconds = 0.3
    with notify_socket(str(tmp_path / "notify")) as manager:
        watched = ServiceManager(manager.address, watchdog=seconds)
        async with trio.open_nursery() as nursery:
            config = config_for_tests(database_url)
            running = partial(serve, config, shutdown=shutdown, service_manager=watched)
            await nursery.start(running)
            await manager.until(ALIVE)
            manager.pending()
            time.sleep(2 * seconds)  # noqa: ASYNC251 - it is to block
            assert manager.pending() == []
            await manager.until(ALIVE)
            shutdown.set()
            await manager.until(STOPPING)


@pytest.mark.slow(seconds=25)
async def test_a_stuck_worker_is_killed_and_any_number_of_reloads_is_reported(
    database_url: str, localnet: Localnet, monkeypatch: pytest.MonkeyPatch
) -> None:
    environ = environ_of(database_url, localnet.operator, localnet.rpc_url)
    environ["SOLANA_WS_URL"] = localnet.ws_url
    for name, value in environ.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(worker_processes, "STUCK_SECONDS", 6.0)
    with notify_socket(abstract_name()) as manager:
        watched = ServiceManager(manager.address, watchdog=3.0)
        async with trio.open_nursery() as nursery:
            config = load_config(environ)
            nursery.start_soon(partial(run_workers, config, 1, service_manager=watched))
            await manager.until("STATUS=1 of 1 workers serve")
            [stuck] = workers()
            stuck.send_signal(signal.SIGSTOP)
            await manager.until("STATUS=0 of 1 workers serve")
            await manager.until("STATUS=1 of 1 workers serve")
            assert not stuck.is_running()

            before: list[psutil.Process] = []
            for _ in range(2):
                assert not set(before) & set(before := workers())
                os.kill(os.getpid(), signal.SIGHUP)
                received = await manager.until("RELOADING=1") + await manager.until(READY)
                [at] = [each for each in received if each.startswith("MONOTONIC_USEC=")]
                assert int(at.partition("=")[2]) * 1000 <= time.monotonic_ns()
            os.kill(os.getpid(), signal.SIGTERM)
            await manager.until(STOPPING)
    assert workers() == []


async def test_nothing_is_sent_where_nobody_listens() -> None:
    silent = service_manager_of({})
    assert (silent.address, silent.watchdog) == (None, None)
    with capture_logs() as logs:
        silent.notify(READY)
        assert logs == []
        ServiceManager(abstract_name()).notify(READY)  # does not end the process
    [line] = logs
    assert (line["event"], line["what"]) == ("service_manager_not_notified", (READY,))


@pytest.mark.parametrize(
    ("environ", "seconds"),
    [
        ({"WATCHDOG_USEC": "30000000"}, 30.0),
        ({"WATCHDOG_USEC": "30000000", "WATCHDOG_PID": "7"}, 30.0),
        ({"WATCHDOG_USEC": "30000000", "WATCHDOG_PID": "8"}, None),
        ({"WATCHDOG_USEC": "0"}, None),
        ({"WATCHDOG_USEC": "soon"}, None),
        ({"WATCHDOG_USEC": str(2**64 - 1)}, None),
        ({"WATCHDOG_USEC": "9" * 5000}, None),
    ],
)
def test_the_watchdog_is_that_of_this_process(
    environ: dict[str, str], seconds: float | None
) -> None:
    assert service_manager_of(environ, pid=7).watchdog == seconds
