"""Command-line parser of `cvms`."""

from __future__ import annotations

import argparse
from importlib import metadata
from pathlib import Path
from typing import cast

from solders.pubkey import Pubkey

from cvms.cli import bootstrap, verify
from cvms.cli.arguments import (
    CommandParser,
    Commands,
    add_command,
    add_log_format,
    add_own_data_dir,
    add_port,
    add_running,
    number,
    parsed,
)
from cvms.cli.commands import (
    RPC_URL,
    SERVICE_URL,
    cmd_demo,
    cmd_dev,
    cmd_localnet,
    cmd_reseal,
    cmd_serve,
    cmd_wallet,
)
from cvms.cli.operating import migrate, tokens
from cvms.cli.operating.audit import (
    KEY_HELP,
    VERIFY_HELP,
    cmd_audit_key,
    cmd_audit_verify,
    parse_head,
    parse_key,
)
from cvms.cli.operating.check import add_commands as add_check_commands
from cvms.cli.operating.index import (
    REBUILD_HELP,
    STATUS_HELP,
    cmd_index_rebuild,
    cmd_index_status,
)
from cvms.cli.operating.signers import add_commands as add_signers
from cvms.cli.operating.submissions import add_commands as add_submissions
from cvms.config import parsers

WALLET_HELP = """\
Print the address of the Solana keypair in FILE. A missing file is made with a new key, readable by
its owner only: a wallet of an owner, or a key of the operator or of governance. Every tool of
Solana reads it.

With --sol and --usdt the wallet gets SOL and test USDT on the local chain of the `cvms dev` that
runs, or on that of --rpc-url. On a test cluster, --mint-authority mints the USDT.
"""
_LOCALNET_PORT = "RPC port of the local chain; PubSub has the next one"


def build_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="cvms",
        description="The Collateral Vault Management Service.",
        epilog="Settings come from the environment and from .env; README.md lists them.",
    )
    parser.add_argument("--version", action="version", version=f"cvms {metadata.version('cvms')}")
    subparsers = parser.add_subparsers(required=True, metavar="command", parser_class=CommandParser)
    commands = cast(Commands, subparsers)
    _add_serve(commands)
    add_check_commands(commands)
    _add_dev(commands)
    _add_localnet(commands)
    _add_demo(commands)
    bootstrap.add_commands(commands)
    _add_wallet(commands)
    tokens.add_commands(commands)
    _add_audit(add_command(commands, "audit", "check the audit trail"))
    _add_index(add_command(commands, "index", "inspect and rebuild the index"))
    add_submissions(commands)
    migrate.add_commands(commands)
    add_signers(commands)
    verify.add_commands(commands)
    reseal = add_command(
        commands, "reseal", "encrypt every secret again with the first of DATA_ENCRYPTION_KEYS"
    )
    reseal.set_defaults(run=cmd_reseal)
    return parser


def _add_serve(commands: Commands) -> None:
    serve = add_command(
        commands, "serve", "run the service with the configured PostgreSQL, RPC and Redis"
    )
    serve.add_argument(
        "--workers",
        type=number(int, lambda count: 1 <= count <= 64, "a number of processes (1 to 64)"),
        default=1,
        help="processes that share the port; SIGHUP replaces them one by one (%(default)s)",
    )
    serve.add_argument("--inherit", help=argparse.SUPPRESS)  # passed to each worker process
    serve.set_defaults(run=cmd_serve)


def _add_dev(commands: Commands) -> None:
    dev = add_command(
        commands, "dev", "run an embedded PostgreSQL, a local chain and the service together"
    )
    add_port(dev, "--port", "PORT", "8080", "port of the service; 0 picks a free one")
    add_port(dev, "--localnet-port", "LOCALNET_PORT", "8899", _LOCALNET_PORT)
    add_own_data_dir(dev)
    add_log_format(dev)
    dev.set_defaults(run=cmd_dev)


def _add_localnet(commands: Commands) -> None:
    localnet = add_command(
        commands, "localnet", "run the local chain alone, with the programs and the USDT mint"
    )
    localnet.add_argument("--host", default="127.0.0.1", help="address to listen on (%(default)s)")
    add_port(localnet, "--port", "LOCALNET_PORT", "8899", _LOCALNET_PORT)
    add_own_data_dir(localnet)
    localnet.add_argument("--in-memory", action="store_true", help="keep no ledger on disk")
    localnet.add_argument("--reset", action="store_true", help="delete the ledger in --data-dir")
    localnet.add_argument("--bare", action="store_true", help="no programs, no mint, no operator")
    localnet.add_argument(
        "--slot-seconds",
        type=number(float, lambda seconds: 0 < seconds < 1e6, "a number of seconds above 0"),
        default=0.4,
        help="length of a slot (%(default)s)",
    )
    slots = number(int, lambda count: 0 <= count <= 10_000, "a number of slots (0 to 10000)")
    localnet.add_argument(
        "--confirmed-lag", type=slots, default=1, help="slots until confirmed (%(default)s)"
    )
    localnet.add_argument(
        "--finalized-lag", type=slots, default=31, help="slots until finalized (%(default)s)"
    )
    add_log_format(localnet)
    localnet.set_defaults(run=cmd_localnet)


def _add_demo(commands: Commands) -> None:
    demo = add_command(
        commands, "demo", "show the features of a vault, step by step, on a running `cvms dev`"
    )
    demo.add_argument(
        "--url", help=f"URL of the service (that of the running `cvms dev`, else {SERVICE_URL})"
    )
    demo.add_argument(
        "--rpc-url", help=f"URL of the local chain (that of the running `cvms dev`, else {RPC_URL})"
    )
    add_running(demo)
    demo.add_argument(
        "--program", type=Pubkey.from_string, help="id of the vault program (PROGRAM_ID)"
    )
    demo.add_argument("--mint", type=Pubkey.from_string, help="USDT mint (USDT_MINT)")
    demo.set_defaults(run=cmd_demo)


def _add_wallet(commands: Commands) -> None:
    wallet = add_command(
        commands, "wallet", "make a keypair file, and fund it locally", WALLET_HELP
    )
    wallet.add_argument("file", type=Path, help="keypair file, made if it is missing")
    amount = number(float, lambda value: 0 < value <= 1e9, "an amount above 0, up to 10^9")
    wallet.add_argument("--sol", type=amount, default=0.0, help="SOL to add")
    wallet.add_argument("--usdt", type=amount, default=0.0, help="test USDT that it has afterwards")
    wallet.add_argument("--rpc-url", help="URL of the local chain (that of the running `cvms dev`)")
    wallet.add_argument(
        "--mint-authority",
        type=parsed(parsers.keypair_file, "a keypair file that only its owner can read"),
        metavar="FILE",
        help="on a test cluster, the key that mints the USDT and pays for that",
    )
    add_running(wallet)
    wallet.set_defaults(run=cmd_wallet)


def _add_audit(audit: argparse.ArgumentParser) -> None:
    commands = audit.add_subparsers(required=True, metavar="command")
    verify = add_command(
        commands, "verify", "check that no entry was changed or removed", VERIFY_HELP
    )
    verify.add_argument(
        "--key",
        action="append",
        default=[],
        type=parsed(parse_key, "a public key, 64 hexadecimal digits"),
        metavar="HEX",
        help="public key that signs heads; may be repeated: a new operator's key gives another",
    )
    verify.add_argument(
        "--head", type=Path, metavar="FILE", help="log in JSON with the published heads to check"
    )
    verify.add_argument(
        "--proofs",
        type=Path,
        metavar="FILE",
        help="copy of the log of proofs: /api/proofs/log",
    )
    verify.add_argument(
        "--expected",
        action="append",
        default=[],
        type=parsed(parse_head, "an entry's id and hash, SEQ:HASH"),
        metavar="SEQ:HASH",
        help="entry that the trail must contain; may be repeated",
    )
    verify.set_defaults(run=cmd_audit_verify)
    key = add_command(commands, "key", "print the public key of signed heads", KEY_HELP)
    key.set_defaults(run=cmd_audit_key)


def _add_index(index: argparse.ArgumentParser) -> None:
    commands = index.add_subparsers(required=True, metavar="command")
    status = add_command(commands, "status", "print the indexer's status", STATUS_HELP)
    status.add_argument("--json", action="store_true", help="print one JSON object")
    status.set_defaults(run=cmd_index_status)

    rebuild = add_command(
        commands, "rebuild", "rebuild the index from the chain, and compare", REBUILD_HELP
    )
    rebuild.add_argument(
        "--replace", action="store_true", help="write the differences into the live tables"
    )
    rebuild.add_argument(
        "--accept-incomplete",
        action="store_true",
        help="with --replace, replace even if what was built does not add up to the accounts",
    )
    rebuild.add_argument(
        "--fresh", action="store_true", help="drop the copy of an earlier rebuild, and start over"
    )
    rebuild.add_argument(
        "--show",
        type=number(int, lambda count: 0 <= count <= 1000, "a number of rows (0 to 1000)"),
        default=10,
        metavar="N",
        help="differing rows of each table, and incomplete vaults, to print (%(default)s)",
    )
    rebuild.add_argument("--json", action="store_true", help="print one JSON object")
    rebuild.set_defaults(run=cmd_index_rebuild)
