"""The commands of `cvms`, except those of `cvms audit` and `cvms index`."""

from __future__ import annotations

import argparse
import sys
from dataclasses import replace
from functools import partial

import trio

from cvms.config.environment import environment
from cvms.config.loader import (
    load_admin_secret,
    load_config,
    load_database_url,
    load_encryption_keys,
    load_programs,
)
from cvms.errors import DecryptionFailed
from cvms.log import configure_logging


def cmd_serve(options: argparse.Namespace) -> int:
    from cvms.nursery.run import serve  # noqa: PLC0415
    from cvms.nursery.supervision.worker_processes import run_workers, serve_as_worker  # noqa: PLC0415

    config = load_config(environment())
    configure_logging(config.log_format)
    if options.inherit is not None:
        trio.run(serve_as_worker, config, options.inherit, serve)
    elif options.workers > 1:
        trio.run(run_workers, config, options.workers)
    else:
        trio.run(serve, config)
    return 0


def cmd_dev(options: argparse.Namespace) -> int:
    from cvms.dev.run import Ports, dev  # noqa: PLC0415

    configure_logging(options.log_format, "warning")
    ports = Ports(http=options.port, rpc=options.localnet_port)
    return dev(ports, data=options.data_dir, environ=environment())


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
        programs=load_programs(environment()),
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

    return demo_command(
        Addresses(
            url=options.url.rstrip("/"),
            rpc_url=options.rpc_url,
            programs=replace(
                load_programs(environment()), vault=options.program, mint=options.mint
            ),
        )
    )


def cmd_token(options: argparse.Namespace) -> int:
    from cvms.dev.secrets import with_secrets  # noqa: PLC0415
    from cvms.http.framework.admin_tokens import Role, check_subject, mint  # noqa: PLC0415

    try:
        check_subject(options.subject)
    except ValueError as error:
        print(f"cvms: {error}", file=sys.stderr)
        return 2
    secret = load_admin_secret(with_secrets(environment(), options.data_dir))
    seconds = round(options.hours * 3600)
    print(mint(secret, subject=options.subject, role=Role.named(options.role), seconds=seconds))
    return 0


def cmd_reseal(_: argparse.Namespace) -> int:
    from cvms.store.postgres.database import open_database  # noqa: PLC0415
    from cvms.store.security import second_factors, signer_webhooks  # noqa: PLC0415
    from cvms.store.security.encryption import SecretBox  # noqa: PLC0415

    environ = environment()
    secret_box, url = SecretBox(load_encryption_keys(environ)), load_database_url(environ)

    async def reseal() -> int | DecryptionFailed:
        async with open_database(url) as database, database.dedicated() as conn:
            try:
                resealed = await second_factors.reseal(conn, secret_box)
                return resealed + await signer_webhooks.reseal(conn, secret_box)
            except DecryptionFailed as error:
                return error

    result = trio.run(reseal)
    if isinstance(result, DecryptionFailed):
        print(f"cvms: {result} Later secrets were not encrypted again.", file=sys.stderr)
        return 1
    print(f"encrypted {result} secrets again; all are now encrypted with the first key")
    return 0
