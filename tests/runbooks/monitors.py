"""A real Prometheus and Alertmanager with the rules of `deploy/monitoring/`, made quicker."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import trio
import yaml

from tests.deploy.monitoring.rules import MONITORING, RULES
from tests.harness.debian_programs import missing
from tests.harness.free_ports import free_port
from tests.harness.installed_tools import program
from tests.harness.processes import HANG_SECONDS

SCRAPE_SECONDS = 2
"""Also how long a scrape may take: on a machine that is busy with other tests, a second or more."""
EVALUATION = "500ms"
POLL_SECONDS = 0.1
EXPORTER = "127.0.0.1:9115"
"""Where the configuration expects the exporter that looks at certificates."""
PATIENCE, WINDOW = "1s", "8s"
"""What stands for each `for:`, and for each window of a rule."""

_FOR = re.compile(r"^( +for:) \w+$", re.MULTILINE)
_WINDOW = re.compile(r"\[(?:5m|30m|1h|6h)\]|offset 1h")


@dataclass(frozen=True, slots=True, kw_only=True)
class Monitors:
    """Both programs, as a person asks them."""

    prometheus: str
    alertmanager: str
    http: httpx.AsyncClient
    folder: Path
    exporter_port: int

    async def query(self, expression: str) -> list[dict[str, Any]]:
        """Return the samples of a query."""
        reply = await self.http.get(f"{self.prometheus}/api/v1/query", params={"query": expression})
        assert reply.status_code == 200, f"{expression}: {reply.text}"
        data = reply.json()["data"]
        return data["result"] if data["resultType"] == "vector" else [data]

    async def names(self) -> set[str]:
        """Return the names of all series that were scraped or recorded."""
        reply = await self.http.get(f"{self.prometheus}/api/v1/label/__name__/values")
        return set(reply.json()["data"])

    async def alerts(self, name: str, state: str = "active") -> list[dict[str, str]]:
        """Return the labels of the alerts of a name that the Alertmanager has in this state."""
        reply = await self.http.get(
            f"{self.alertmanager}/api/v2/alerts", params={"filter": f'alertname="{name}"'}
        )
        return [each["labels"] for each in reply.json() if each["status"]["state"] == state]

    async def until_firing(self, name: str, state: str = "active") -> None:
        """Wait until the Alertmanager has an alert of this name in this state."""
        with trio.fail_after(HANG_SECONDS):
            while not await self.alerts(name, state):  # noqa: ASYNC110
                await trio.sleep(POLL_SECONDS)

    async def until_ended(self, name: str) -> None:
        """Wait until the Alertmanager has no alert of this name."""
        with trio.fail_after(HANG_SECONDS):
            while await self.alerts(name) or await self.alerts(name, "suppressed"):  # noqa: ASYNC110
                await trio.sleep(POLL_SECONDS)

    async def until_scraped(self, scrapes: int = 1) -> None:
        """Wait until every target has answered so many scrapes."""
        with trio.fail_after(HANG_SECONDS):
            while True:
                found = await self.query("sum_over_time(up[1m])")
                if found and all(float(each["value"][1]) >= scrapes for each in found):
                    return
                await trio.sleep(POLL_SECONDS)

    def watch(self, job: str, *targets: str) -> None:
        """Have Prometheus look at these addresses (`host:port`), too."""
        _write_targets(self.folder, job, targets, earlier=True)

    async def watch_certificate(self, address: str, nursery: trio.Nursery) -> None:
        """Run the exporter that looks at certificates, and have it look at this one."""
        port = self.exporter_port
        await nursery.start(
            _run,
            self.folder,
            [
                _debian_program("prometheus-blackbox-exporter"),
                f"--config.file={MONITORING / 'blackbox.yml'}",
                f"--web.listen-address=127.0.0.1:{port}",
            ],
            f"http://127.0.0.1:{port}/-/healthy",
        )
        self.watch("cvms-certificate", address)


@asynccontextmanager
async def monitors(folder: Path, *targets: str) -> AsyncIterator[Monitors]:
    """Watch the services at these addresses (`host:port`) for the block."""
    alerting, prometheus, exporter = free_port(), free_port(), free_port()
    _write_configuration(
        folder, targets, alertmanager=f"127.0.0.1:{alerting}", exporter=f"127.0.0.1:{exporter}"
    )
    async with httpx.AsyncClient(timeout=30) as http, trio.open_nursery() as nursery:
        started = Monitors(
            prometheus=f"http://127.0.0.1:{prometheus}",
            alertmanager=f"http://127.0.0.1:{alerting}",
            http=http,
            folder=folder,
            exporter_port=exporter,
        )
        await nursery.start(
            _run,
            folder,
            [
                _debian_program("prometheus-alertmanager"),
                f"--config.file={folder / 'alertmanager.yml'}",
                f"--storage.path={folder / 'silences'}",
                f"--web.listen-address=127.0.0.1:{alerting}",
                "--cluster.listen-address=",
            ],
            f"{started.alertmanager}/-/ready",
        )
        await nursery.start(
            _run,
            folder,
            [
                program("prometheus"),
                f"--config.file={folder / 'prometheus.yml'}",
                f"--storage.tsdb.path={folder / 'series'}",
                f"--web.listen-address=127.0.0.1:{prometheus}",
                "--rules.alert.resend-delay=1s",
            ],
            f"{started.prometheus}/-/ready",
        )
        yield started
        nursery.cancel_scope.cancel()


def _debian_program(name: str) -> str:
    """Return the path of a program that has the name of its package."""
    return shutil.which(name) or missing(f"the Debian package {name}")


async def _run(
    folder: Path,
    command: list[str | Path],
    ready: str,
    task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Run a program until cancelled; it has started once `ready` answers 200."""
    log = folder / f"{Path(command[0]).name}.log"
    with log.open("w") as output:
        process = await trio.lowlevel.open_process(
            command, stdout=output, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL
        )
    try:
        with trio.fail_after(HANG_SECONDS):
            async with httpx.AsyncClient() as http:
                while not await _answers(http, ready):
                    assert process.poll() is None, log.read_text()
                    await trio.sleep(POLL_SECONDS)
        task_status.started()
        await trio.sleep_forever()
    finally:
        with trio.CancelScope(shield=True):
            process.kill()
            await process.wait()


async def _answers(http: httpx.AsyncClient, url: str) -> bool:
    try:
        return (await http.get(url)).status_code == 200
    except httpx.TransportError:
        return False


def _write_configuration(
    folder: Path, targets: tuple[str, ...], *, alertmanager: str, exporter: str
) -> None:
    """Write both configurations and the rules, with times of a test."""
    text = (MONITORING / "prometheus.yml").read_text()
    config = yaml.safe_load(text.replace(EXPORTER, exporter))
    config["global"] = {
        "scrape_interval": f"{SCRAPE_SECONDS}s",
        "scrape_timeout": f"{SCRAPE_SECONDS}s",
        "evaluation_interval": EVALUATION,
    }
    config["alerting"]["alertmanagers"] = [{"static_configs": [{"targets": [alertmanager]}]}]
    for job in config["scrape_configs"]:
        del job["static_configs"]
        job["file_sd_configs"] = [{"files": [f"{job['job_name']}.json"]}]
    _write_targets(folder, "cvms", targets)
    _write_targets(folder, "cvms-certificate", ())
    (folder / "prometheus.yml").write_text(yaml.safe_dump(config))
    (folder / "rules").mkdir()
    for path in RULES:
        (folder / "rules" / path.name).write_text(sped_up(path.read_text()))
    routing = yaml.safe_load((MONITORING / "alertmanager.yml").read_text())
    _route_at_once(routing["route"])
    (folder / "alertmanager.yml").write_text(yaml.safe_dump(routing))


def _write_targets(folder: Path, job: str, targets: tuple[str, ...], earlier: bool = False) -> None:
    """Write what a job scrapes. Prometheus sees the change of the file."""
    path = folder / f"{job}.json"
    known = json.loads(path.read_text()) if earlier else []
    new = path.with_suffix(".new")
    new.write_text(json.dumps([*known, {"targets": targets}]))
    new.rename(path)


def sped_up(rules: str) -> str:
    """Return rules that fire and end within seconds; what they say is the same."""
    rules = _FOR.sub(rf"\1 {PATIENCE}", rules)
    return _WINDOW.sub(
        lambda each: f"offset {WINDOW}" if each[0][0] == "o" else f"[{WINDOW}]", rules
    )


def _route_at_once(route: dict[str, Any]) -> None:
    route |= {"group_wait": "0s", "group_interval": "1s"}
    for each in route.get("routes", ()):
        _route_at_once(each)
