"""`cvms dev` waits until its service is ready, or has been stopped."""

from __future__ import annotations

from pathlib import Path

import pytest
import trio

from cvms.config.settings import Config
from cvms.dev import run
from cvms.log.configuration import ProcessLog
from tests.harness.localnet import Localnet
from tests.harness.resources import config_for_tests


async def test_a_service_that_is_stopped_before_it_is_ready_ends_the_start_in_order(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], localnet: Localnet
) -> None:
    async def stopped(
        config: Config, *, task_status: trio.TaskStatus[str], process_log: ProcessLog | None
    ) -> None:
        [listener] = await trio.open_tcp_listeners(0, host="127.0.0.1")
        async with listener:
            task_status.started(f"http://127.0.0.1:{listener.socket.getsockname()[1]}")
            for _ in range(2):  # as a service that is being stopped: it is asked again
                await (await listener.accept()).aclose()

    monkeypatch.setattr(run, "serve", stopped)
    with trio.fail_after(10):
        config, operator = config_for_tests("postgresql:///unused"), localnet.operator.pubkey()
        await run._serve(config, localnet.running, Path(), operator)
    assert not capsys.readouterr().out
