"""Command-line parser of `cvms`."""

from __future__ import annotations

import argparse
import os
from pathlib import Path

from solders.pubkey import Pubkey

from cvms.chain.types import USDT_MINT, VAULT_PROGRAM
from cvms.cli.commands import (
    cmd_audit_verify,
    cmd_demo,
    cmd_dev,
    cmd_localnet,
    cmd_reseal,
    cmd_serve,
    cmd_token,
)
from cvms.cli.index import add_index_commands


def build_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="cvms",
        description="The Collateral Vault Management Service.",
        epilog="Settings come from the environment and from .env; README.md lists them.",
    )
    commands = parser.add_subparsers(required=True, metavar="command")

    serve = commands.add_parser(
        "serve",
        help="run the service against the configured PostgreSQL, RPC and Redis",
        description="Run the service. Settings come from the environment and from .env.",
    )
    serve.add_argument(
        "--workers",
        type=_workers,
        default=1,
        help="processes on the one port; SIGHUP replaces them one after the other (%(default)s)",
    )
    serve.add_argument("--inherit", help=argparse.SUPPRESS)  # how a worker is told what it is
    serve.set_defaults(run=cmd_serve)

    dev = _with_help(
        commands, "dev", "run an embedded PostgreSQL, a local chain and the service together"
    )
    dev.add_argument(
        "--port",
        type=_port,
        default=os.environ.get("PORT", "8080"),
        help="of the service; 0 picks a free one (%(default)s)",
    )
    dev.add_argument(
        "--localnet-port",
        type=_port,
        default=os.environ.get("LOCALNET_PORT", "8899"),
        help="of the chain's RPC; PubSub takes the next (%(default)s)",
    )
    _add_data_dir(dev)
    _add_log_format(dev)
    dev.set_defaults(run=cmd_dev)

    localnet = _with_help(
        commands, "localnet", "run the local chain alone, with the vault program and the USDT mint"
    )
    localnet.add_argument("--host", default="127.0.0.1", help="to listen on (%(default)s)")
    localnet.add_argument(
        "--port",
        type=_port,
        default=os.environ.get("LOCALNET_PORT", "8899"),
        help="of RPC; PubSub takes the next (%(default)s)",
    )
    _add_data_dir(localnet)
    localnet.add_argument("--in-memory", action="store_true", help="keep no ledger")
    localnet.add_argument("--reset", action="store_true", help="forget the ledger in --data-dir")
    localnet.add_argument("--bare", action="store_true", help="deploy nothing, make no mint")
    localnet.add_argument(
        "--slot-seconds", type=_positive, default=0.4, help="length of a slot (%(default)s)"
    )
    localnet.add_argument(
        "--confirmed-lag", type=_slots, default=1, help="slots until confirmed (%(default)s)"
    )
    localnet.add_argument(
        "--finalized-lag", type=_slots, default=31, help="slots until finalized (%(default)s)"
    )
    _add_log_format(localnet)
    localnet.set_defaults(run=cmd_localnet)

    demo = _with_help(
        commands, "demo", "show what a vault can do, step by step, against a running `cvms dev`"
    )
    demo.add_argument("--url", default="http://127.0.0.1:8080", help="of the service (%(default)s)")
    demo.add_argument(
        "--rpc-url", default="http://127.0.0.1:8899", help="of the local chain (%(default)s)"
    )
    demo.add_argument(
        "--program", type=Pubkey.from_string, default=VAULT_PROGRAM, help="vault program's id"
    )
    demo.add_argument("--mint", type=Pubkey.from_string, default=USDT_MINT, help="USDT mint")
    demo.set_defaults(run=cmd_demo)

    token = _with_help(
        commands,
        "token",
        "mint an administrator's token from ADMIN_JWT_SECRET, or the data folder's",
    )
    token.add_argument("subject", help="who it is for; the audit trail names them")
    token.add_argument(
        "--role", choices=("viewer", "operator", "admin"), default="viewer", help="(%(default)s)"
    )
    token.add_argument(
        "--hours", type=_hours, default=1.0, help="it is good for, 24 at most (%(default)s)"
    )
    _add_data_dir(token)
    token.set_defaults(run=cmd_token)

    audit = _with_help(commands, "audit", "look after the audit trail")
    audits = audit.add_subparsers(required=True, metavar="command")
    verify = _with_help(audits, "verify", "check that no entry was changed or taken out")
    verify.set_defaults(run=cmd_audit_verify)

    add_index_commands(_with_help(commands, "index", "look after the books made from the chain"))

    reseal = _with_help(
        commands, "reseal", "seal every secret anew under the first of DATA_ENCRYPTION_KEYS"
    )
    reseal.set_defaults(run=cmd_reseal)
    return parser


def _with_help(
    commands: argparse._SubParsersAction[argparse.ArgumentParser], name: str, text: str
) -> argparse.ArgumentParser:
    return commands.add_parser(name, help=text, description=f"{text[0].upper()}{text[1:]}.")


def _add_data_dir(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--data-dir",
        type=Path,
        default=os.environ.get("DATA_DIR", ".cvms"),
        help="where everything is kept (%(default)s)",
    )


def _add_log_format(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--log-format", choices=("console", "json"), default="console", help="(%(default)s)"
    )


def _port(text: str) -> int:
    port = int(text)
    if not 0 <= port <= 65535:
        raise argparse.ArgumentTypeError(f"{port} is not a TCP port (0 to 65535)")
    return port


def _workers(text: str) -> int:
    workers = int(text)
    if not 1 <= workers <= 64:
        raise argparse.ArgumentTypeError(f"{workers} is not a number of processes (1 to 64)")
    return workers


def _hours(text: str) -> float:
    hours = float(text)
    if not 0 < hours <= 24:
        raise argparse.ArgumentTypeError(f"{text} is not a lifetime of up to 24 hours")
    return hours


def _slots(text: str) -> int:
    slots = int(text)
    if not 0 <= slots <= 10_000:
        raise argparse.ArgumentTypeError(f"{slots} is not a number of slots (0 to 10000)")
    return slots


def _positive(text: str) -> float:
    number = float(text)
    if not 0 < number < 1e6:
        raise argparse.ArgumentTypeError(f"{text} is not a number of seconds above 0")
    return number
