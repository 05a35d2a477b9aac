"""The commands of `cvms`, except those of `cvms audit`, `cvms index` and `cvms token`."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Mapping
from dataclasses import replace
from functools import partial

import structlog
import trio

from cvms.chain.types import Programs
from cvms.cli.environment import print_misspelt, read_environment
from cvms.config.environment import environment, misspelt
from cvms.config.loader import (
    load_config,
    load_database_url,
    load_encryption_keys,
    load_programs,
)
from cvms.errors import ConfigurationError, DecryptionFailed
from cvms.log.configuration import configure_logging

SERVICE_URL = "http://127.0.0.1:8080"
RPC_URL = "http://127.0.0.1:8899"
"""Where `cvms dev` serves unless it is told otherwise."""

log = structlog.get_logger(__name__)


def cmd_serve(options: argparse.Namespace) -> int:
    from cvms.nursery.run import serve_process  # noqa: PLC0415
    from cvms.nursery.supervision.service_manager import service_manager_of  # noqa: PLC0415
    from cvms.nursery.supervision.worker_processes import (  # noqa: PLC0415
        METRICS_CHANNEL,
        run_workers,
        serve_as_worker,
    )

    environ = environment()
    try:
        config = load_config(environ)
    except (ConfigurationError, ExceptionGroup):
        print_misspelt(environ)
        raise
    process_log = configure_logging(config.log_format, config.log_level)
    if options.inherit is None:
        for name, setting in misspelt(environ).items():
            log.warning("setting_unknown", name=name, similar_to=setting)
    manager = service_manager_of(environ)
    if options.inherit is not None:
        channel = os.environ.get(METRICS_CHANNEL)
        metrics_channel = None if channel is None else int(channel)
        trio.run(
            partial(serve_as_worker, metrics_channel=metrics_channel),
            config,
            options.inherit,
            partial(serve_process, process_log=process_log),
        )
    elif options.workers > 1:
        trio.run(partial(run_workers, config, options.workers, service_manager=manager))
    else:
        trio.run(partial(serve_process, config, service_manager=manager, process_log=process_log))
    return 0


def cmd_dev(options: argparse.Namespace) -> int:
    from cvms.dev.run import Ports, dev  # noqa: PLC0415

    process_log = configure_logging(options.log_format, "warning")
    ports = Ports(http=options.port, rpc=options.localnet_port)
    return dev(ports, data=options.data_dir, environ=read_environment(), process_log=process_log)


def cmd_localnet(options: argparse.Namespace) -> int:
    from cvms.dev.localnet import run_localnet  # noqa: PLC0415
    from cvms.localnet import Timing  # noqa: PLC0415

    configure_logging(options.log_format, "warning")
    timing = Timing(
        slot_seconds=options.slot_seconds,
        confirmed_lag=options.confirmed_lag,
        finalized_lag=options.finalized_lag,
    )
    run = partial(
        run_localnet,
        programs=load_programs(read_environment()),
        host=options.host,
        port=options.port,
        data=options.data_dir,
        in_memory=options.in_memory,
        reset=options.reset,
        bare=options.bare,
        timing=timing,
    )
    trio.run(run)
    return 0


def cmd_demo(options: argparse.Namespace) -> int:
    from cvms.demo import Addresses, demo_command  # noqa: PLC0415
    from cvms.dev.running import find_running  # noqa: PLC0415

    programs = demo_programs(options, read_environment())
    url, rpc_url = options.url, options.rpc_url
    if url is None or rpc_url is None:
        running = find_running(options.data_dir)
        url = url or (running.url if running else SERVICE_URL)
        rpc_url = rpc_url or (running.rpc_url if running else RPC_URL)
    return demo_command(Addresses(url.rstrip("/"), rpc_url, programs))


def demo_programs(options: argparse.Namespace, environ: Mapping[str, str]) -> Programs:
    """Return the programs and the mint of the settings, where the flags name no others."""
    programs = load_programs(environ)
    return replace(
        programs, vault=options.program or programs.vault, mint=options.mint or programs.mint
    )


def cmd_wallet(options: argparse.Namespace) -> int:
    from cvms.dev.data_folder import operator_keypair  # noqa: PLC0415

    rpc_url = _local_rpc_url(options) if options.sol or options.usdt else None
    try:
        address = operator_keypair(options.file).pubkey()
    except OSError as error:
        raise ConfigurationError(f"{options.file}: {error.strerror}") from None
    if rpc_url is not None:
        from cvms.dev.wallets import Funds, fund_wallet  # noqa: PLC0415

        funds = Funds(options.sol, options.usdt, options.mint_authority)
        programs = load_programs(read_environment())
        fund_wallet(address, funds, rpc_url=rpc_url, programs=programs)
    print(address)
    return 0


def _local_rpc_url(options: argparse.Namespace) -> str:
    from cvms.dev.running import find_running  # noqa: PLC0415

    if options.rpc_url is not None:
        return str(options.rpc_url)
    running = find_running(options.data_dir)
    if running is None:
        raise ConfigurationError("no `cvms dev` runs; start it, or name a local chain in --rpc-url")
    return running.rpc_url


def cmd_reseal(_: argparse.Namespace) -> int:
    from cvms.cli.database import open_with_schema  # noqa: PLC0415
    from cvms.store.messaging.webhooks import endpoint_secrets  # noqa: PLC0415
    from cvms.store.security import approvals, second_factors, signer_webhooks  # noqa: PLC0415
    from cvms.store.security.encryption import SecretBox  # noqa: PLC0415

    environ = read_environment()
    secret_box, url = SecretBox(load_encryption_keys(environ)), load_database_url(environ)

    async def reseal() -> int | DecryptionFailed:
        async with open_with_schema(url) as database, database.dedicated() as conn:
            try:
                resealed = await second_factors.reseal(conn, secret_box)
                resealed += await signer_webhooks.reseal(conn, secret_box)
                resealed += await approvals.reseal(conn, secret_box)
                return resealed + await endpoint_secrets.reseal(conn, secret_box)
            except DecryptionFailed as error:
                return error

    result = trio.run(reseal)
    if isinstance(result, DecryptionFailed):
        print(f"cvms: {result} Later secrets were not encrypted again.", file=sys.stderr)
        return 1
    print(f"encrypted {result} secrets again; all are now encrypted with the first key")
    return 0
