"""`cvms dev`: PostgreSQL, the local chain and the service in one process."""

from __future__ import annotations

import os
import signal
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import httpx
import trio
from solders.pubkey import Pubkey

from cvms import localnet
from cvms.config.loader import load_config
from cvms.config.settings import Config
from cvms.dev.banner import banner, terminal
from cvms.dev.chain_setup import bundled_programs, local_yield_sources
from cvms.dev.data_folder import locked_folder, operator_keypair
from cvms.dev.localnet import LEDGER, prepare
from cvms.dev.postgres import embedded_postgres
from cvms.dev.running import RunningEnvironment, recorded, running_environments
from cvms.dev.secrets import make_secrets, with_secrets
from cvms.errors import ConfigurationError
from cvms.log.configuration import ProcessLog
from cvms.nursery.run import serve
from cvms.signing.open_signers import open_signers

READY_DEADLINE = 60.0
DEFAULTS = {
    "SIWS_DOMAINS": "localhost",
    "CORS_ORIGINS": "http://localhost:*,http://127.0.0.1:*",
    "ADMIN_APPROVALS": "1",
}
"""Settings, unless others are set, that let pages under development call the service, and one
administrator act alone."""


@dataclass(frozen=True, slots=True)
class Ports:
    """Ports on the loopback address. 0 picks a free one."""

    http: int
    rpc: int


def dev(ports: Ports, *, data: Path, environ: Mapping[str, str], process_log: ProcessLog) -> int:
    """Run everything until SIGINT or SIGTERM, with all data in `data`."""
    data = data.absolute()
    # Until the service handles SIGTERM, it must end the start in order, as Ctrl-C does.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    with locked_folder(data, "dev"), locked_folder(data, "localnet"):
        print("Starting PostgreSQL ...", flush=True)
        with embedded_postgres(data / "postgres") as database_url:
            make_secrets(data)
            settings = with_secrets(DEFAULTS | dict(environ), data) | {
                "DATABASE_URL": database_url,
                "DEPLOYER_KEYPAIR_PATH": "",
                "DEPLOYER_KEYPAIR_BASE64": "",
                "PORT": str(ports.http),
            }
            if not settings.get("OPERATOR_SIGNER"):
                operator_keypair(data / "operator.json")
                settings["DEPLOYER_KEYPAIR_PATH"] = str(data / "operator.json")
            trio.run(_run, ports, data, settings, process_log)
    print("Stopped.", flush=True)
    return 0


async def _run(
    ports: Ports, data: Path, settings: Mapping[str, str], process_log: ProcessLog
) -> None:
    config = load_config(settings)
    async with (
        open_signers(config.operators, config.signing) as signers,
        trio.open_nursery() as nursery,
    ):
        operator = signers.preferred
        print("Starting the local chain ...", flush=True)
        chain = await nursery.start(
            partial(
                localnet.serve,
                port=ports.rpc,
                ledger=data / LEDGER,
                programs=bundled_programs(config.programs, upgrade_authority=operator.address),
            )
        )
        await prepare(chain, config.programs, operator)
        print("Starting the service ...", flush=True)
        urls = {"SOLANA_RPC_URL": chain.rpc_url, "SOLANA_WS_URL": chain.ws_url}
        sources = {"YIELD_SOURCES": local_yield_sources(config.programs, operator.address)}
        often = {"PROOF_SECONDS": "60"}
        config = load_config({**often, **sources, **settings, **urls})
        config = replace(config, own_chain=True)
        await _serve(config, chain, data, operator.address, process_log)
        nursery.cancel_scope.cancel()


async def _serve(
    config: Config,
    chain: localnet.Running,
    data: Path,
    operator: Pubkey,
    process_log: ProcessLog | None = None,
) -> None:
    async with trio.open_nursery() as nursery:
        start = partial(_serve_until_stopped, config, nursery.cancel_scope, process_log)
        url = await nursery.start(start)
        await _wait_ready(url)
        others = running_environments()
        here = RunningEnvironment(str(data), os.getpid(), url, chain.rpc_url)
        with recorded(here) as found:
            at = terminal(data, several=bool(others) or not found)
            print(banner(_addresses(config, chain, url, data, operator), at), flush=True)
            await trio.sleep_forever()


def _addresses(
    config: Config, chain: localnet.Running, url: str, data: Path, operator: Pubkey
) -> Mapping[str, str]:
    return {
        "Service": f"{url}   (also /ready, /metrics)",
        "Console": f"{url}/console   for administrators, with a token",
        "Vaults": f"{url}/vault/ADDRESS   for the owner, with the wallet of a browser",
        "RPC": chain.rpc_url,
        "PubSub": chain.ws_url,
        "Operator": f"{operator}   pays fees and is the vaults' governance",
        "Program": str(config.programs.vault),
        "USDT": str(config.programs.mint),
        "Data": f"{data}   including the secrets",
    }


async def _serve_until_stopped(
    config: Config,
    start: trio.CancelScope,
    process_log: ProcessLog | None,
    *,
    task_status: trio.TaskStatus[str],
) -> None:
    """Serve, and give up the start if the service is stopped before it is ready."""
    await serve(config, task_status=task_status, process_log=process_log)
    start.cancel()


async def _wait_ready(url: str) -> None:
    reply: httpx.Response | None = None
    async with httpx.AsyncClient() as http:
        with trio.move_on_after(READY_DEADLINE):
            while reply is None or reply.status_code != httpx.codes.OK:
                try:
                    reply = await http.get(f"{url}/ready")
                except httpx.TransportError:
                    reply = None  # slow, or being stopped
                await trio.sleep(0.05)
            return
    why = "no answer" if reply is None else reply.json()["detail"]
    raise ConfigurationError(f"the service is not ready after {READY_DEADLINE:g} seconds: {why}")
