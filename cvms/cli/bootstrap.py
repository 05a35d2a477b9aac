"""`cvms bootstrap`: from nothing to a deployment that `cvms serve` can run on."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import trio
from solders.keypair import Keypair
from solders.pubkey import Pubkey

from cvms.cli.arguments import Commands, add_command, number, parsed
from cvms.cli.environment import read_environment
from cvms.config import parsers
from cvms.config.loader import load_rpc_urls
from cvms.errors import ConfigurationError

if TYPE_CHECKING:
    from cvms.bootstrap.programs.commands import ProgramContext
    from cvms.bootstrap.run import Terminal

BOOTSTRAP_HELP = """\
Deploy the programs, create the vault authority with its limits and its governance, check or make
the mint, and write .env. First every step is shown, with what exists already and what it costs.
A step that is done is not done again: run the command again after a failure, and it goes on.
docs/operations/programs.md describes each step."""

UPGRADE_HELP = """\
Write the new code into a buffer, extend the program's account if the code has grown, and upgrade.
Without --elf it is the code of this version. A run that was broken off is continued."""
_PROGRAM = "collateral_vault, position_manager, yield_pool or a program's id"

_units = number(int, lambda units: 0 <= units < 2**64, "a whole number of token units")


class Holder(NamedTuple):
    """A key by its address, or by a file that has the key itself."""

    address: Pubkey
    key: Keypair | None


def holder(text: str) -> Holder:
    """Parse a public key, or the path of a keypair file. Raises ValueError."""
    try:
        return Holder(Pubkey.from_string(text), None)
    except ValueError:
        key = parsers.keypair_file(text)
        return Holder(key.pubkey(), key)


def add_commands(commands: Commands) -> None:
    bootstrap = add_command(
        commands,
        "bootstrap",
        "deploy the programs, and set up all that the service needs",
        BOOTSTRAP_HELP,
    )
    add_deployer(bootstrap)
    add_spending(bootstrap)
    _add_governance(bootstrap)
    _add_mint(bootstrap)
    _add_files(bootstrap)
    bootstrap.set_defaults(run=cmd_bootstrap)
    program = add_command(commands, "program", "show, upgrade and hand over the programs")
    _add_program(program.add_subparsers(required=True, metavar="command"))


def add_deployer(parser: argparse.ArgumentParser) -> None:
    """Add the cluster, and the keys with which programs are deployed."""
    parser.add_argument(
        "--rpc-url", metavar="URL", help="RPC endpoint of the cluster (SOLANA_RPC_URL)"
    )
    parser.add_argument(
        "--keys",
        type=Path,
        default=Path("keys"),
        metavar="DIR",
        help="folder of the key files, which only its owner may read (%(default)s)",
    )


def add_spending(parser: argparse.ArgumentParser) -> None:
    """Add who pays, how much, and the questions."""
    parser.add_argument(
        "--payer", type=Path, metavar="FILE", help="keypair that pays (operator.json of --keys)"
    )
    parser.add_argument(
        "--max-unit-price",
        type=number(int, lambda price: 0 <= price < 2**63, "micro-lamports, 0 or more"),
        default=100_000,
        metavar="N",
        help="highest priority fee in micro-lamports a compute unit (%(default)s)",
    )
    parser.add_argument(
        "--dry-run", action="store_true", help="show the steps and their cost, and change nothing"
    )
    parser.add_argument("--yes", action="store_true", help="do not ask before anything is spent")


def _add_governance(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--governance",
        type=parsed(holder, "a public key or a keypair file that only its owner can read"),
        metavar="KEY",
        help="public key, or keypair file, that governs the vaults; required on mainnet "
        "(elsewhere the operator)",
    )
    parser.add_argument(
        "--transfer-limit",
        type=_units,
        metavar="UNITS",
        help="most that programs may transfer out of one vault in a day, in token units",
    )
    parser.add_argument(
        "--transfer-limit-total", type=_units, metavar="UNITS", help="the same of all vaults"
    )
    parser.add_argument(
        "--no-transfer-limits", action="store_true", help="leave transfers without limits"
    )
    parser.add_argument(
        "--yield-pool",
        type=number(int, lambda rate: 0 <= rate <= 10_000, "basis points, 0 to 10000"),
        metavar="BPS",
        help="list the yield program, and create the operator's pool with this annual rate",
    )


def _add_mint(parser: argparse.ArgumentParser) -> None:
    mint = parser.add_mutually_exclusive_group()
    mint.add_argument(
        "--mint",
        type=parsed(Pubkey.from_string, "a public key"),
        metavar="KEY",
        help="mint of USDT on the cluster (USDT_MINT)",
    )
    mint.add_argument("--make-mint", action="store_true", help="make a mint; on test clusters only")
    parser.add_argument(
        "--airdrop", action="store_true", help="get the SOL from the faucet of a test cluster"
    )


def _add_files(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--env-file",
        type=Path,
        default=Path(".env"),
        metavar="FILE",
        help="file of settings that is read and written; values in it stay (%(default)s)",
    )
    parser.add_argument("--database-url", metavar="URL", help="DATABASE_URL to write into it")
    parser.add_argument("--ws-url", metavar="URL", help="SOLANA_WS_URL to write into it")


def _add_program(commands: Commands) -> None:
    show = add_command(commands, "show", "print what is deployed, with hashes to compare")
    show.add_argument("program", nargs="?", metavar="PROGRAM", help=f"{_PROGRAM} (all)")
    add_deployer(show)
    show.set_defaults(run=cmd_program_show)
    upgrade = add_command(commands, "upgrade", "replace a program's code", UPGRADE_HELP)
    upgrade.add_argument("program", metavar="PROGRAM", help=_PROGRAM)
    upgrade.add_argument("--elf", type=Path, metavar="FILE", help="code (this version's)")
    upgrade.add_argument(
        "--buffer-only",
        action="store_true",
        help="fill a buffer, hand it to the upgrade authority and print what that has to sign",
    )
    upgrade.set_defaults(run=cmd_program_upgrade)
    hand = add_command(commands, "set-authority", "hand a program to another upgrade authority")
    hand.add_argument("program", metavar="PROGRAM", help=_PROGRAM)
    hand.add_argument(
        "new",
        nargs="?",
        type=parsed(holder, "a public key or a keypair file that only its owner can read"),
        metavar="NEW",
        help="keypair file, whose key signs too, or public key",
    )
    hand.add_argument(
        "--skip-new-authority-check",
        action="store_true",
        help="let NEW be a public key that does not sign, such as a multisig's",
    )
    hand.add_argument(
        "--final",
        action="store_true",
        help="leave the program without an authority: nobody can ever upgrade it",
    )
    hand.set_defaults(run=cmd_program_set_authority)
    for parser in (upgrade, hand):
        add_deployer(parser)
        add_spending(parser)
        parser.add_argument(
            "--authority",
            type=Path,
            metavar="FILE",
            help="keypair of the upgrade authority (upgrade_authority.json of --keys)",
        )


def rpc_urls(options: argparse.Namespace, environ: Mapping[str, str]) -> tuple[str, ...]:
    """Return the endpoints that --rpc-url or the settings name. Raises ConfigurationError."""
    given = {"SOLANA_RPC_URL": options.rpc_url} if options.rpc_url is not None else environ
    return load_rpc_urls(given)


def terminal_of(options: argparse.Namespace) -> Terminal:
    """Return a terminal that asks on standard input, or nobody with --yes.

    Raises ConfigurationError if there is nobody to ask, and something may be spent.
    """
    if not (options.yes or options.dry_run or sys.stdin.isatty()):
        raise ConfigurationError(
            "standard input is no terminal, so nobody can be asked; pass --yes to go on, or "
            "--dry-run to see what would be done"
        )

    from cvms.bootstrap.run import Terminal  # noqa: PLC0415

    def read(prompt: str) -> str:
        try:
            return input(prompt)
        except EOFError:
            return ""

    def ask(question: str) -> bool:
        return read(f"{question} [y/N] ").strip().lower() in {"y", "yes"}

    return Terminal(
        report=partial(print, flush=True),
        confirm=lambda: options.yes or ask("Go on?"),
        ask=lambda question: not options.yes and ask(question),
        read=read,
    )


def cmd_bootstrap(options: argparse.Namespace) -> int:
    from cvms.bootstrap.authority import Limits  # noqa: PLC0415
    from cvms.bootstrap.deployment import Request  # noqa: PLC0415
    from cvms.bootstrap.run import Pace, bootstrap, connected  # noqa: PLC0415

    environ = read_environment(options.env_file)
    vault, total = options.transfer_limit, options.transfer_limit_total
    if (vault is None) != (total is None):
        raise ConfigurationError("--transfer-limit and --transfer-limit-total go together")
    if vault is not None and options.no_transfer_limits:
        raise ConfigurationError("--no-transfer-limits contradicts --transfer-limit")
    urls = rpc_urls(options, environ)
    governance: Holder | None = options.governance
    request = Request(
        keys=options.keys,
        env_file=options.env_file,
        environ=environ,
        rpc_url=",".join(urls),
        rpc_given=options.rpc_url is not None,
        ws_url=options.ws_url,
        database_url=options.database_url,
        payer=options.payer,
        governance=governance and governance.address,
        governance_key=governance and governance.key,
        limits=None if vault is None else Limits(vault, total),
        unlimited=options.no_transfer_limits,
        mint=options.mint,
        make_mint=options.make_mint,
        yield_pool_rate=options.yield_pool,
    )
    terminal = terminal_of(options)

    async def run() -> None:
        async with connected(urls) as cluster:
            await bootstrap(
                cluster,
                request,
                terminal,
                dry_run=options.dry_run,
                airdrop=options.airdrop,
                pace=Pace(options.max_unit_price),
            )

    trio.run(run)
    return 0


def cmd_program_show(options: argparse.Namespace) -> int:
    from cvms.bootstrap.programs import commands  # noqa: PLC0415

    options.yes = options.dry_run = True
    return _on_cluster(options, lambda context: commands.show(context, options.program))


def cmd_program_upgrade(options: argparse.Namespace) -> int:
    from cvms.bootstrap.programs import commands  # noqa: PLC0415

    def upgrade(context: ProgramContext) -> Awaitable[None]:
        elf, buffer_only = options.elf, options.buffer_only
        return commands.upgrade(context, options.program, elf=elf, buffer_only=buffer_only)

    return _on_cluster(options, upgrade)


def cmd_program_set_authority(options: argparse.Namespace) -> int:
    from cvms.bootstrap.programs import commands  # noqa: PLC0415
    from cvms.bootstrap.programs.upgrades import NewAuthority  # noqa: PLC0415

    if options.final == (options.new is not None):
        raise ConfigurationError("name the new authority, or pass --final for none")
    new: Holder | None = options.new
    next_one = NewAuthority(new and new.address, new and new.key)

    def hand_over(context: ProgramContext) -> Awaitable[None]:
        unchecked = options.skip_new_authority_check
        return commands.set_authority(context, options.program, next_one, unchecked=unchecked)

    return _on_cluster(options, hand_over)


def _on_cluster(
    options: argparse.Namespace, run: Callable[[ProgramContext], Awaitable[None]]
) -> int:
    from cvms.bootstrap.programs.commands import ProgramContext  # noqa: PLC0415
    from cvms.bootstrap.run import Pace, connected  # noqa: PLC0415

    environ = read_environment()
    terminal = terminal_of(options)

    async def on_cluster() -> None:
        async with connected(rpc_urls(options, environ)) as cluster:
            await run(
                ProgramContext(
                    cluster=cluster,
                    keys=options.keys,
                    environ=environ,
                    terminal=terminal,
                    payer=getattr(options, "payer", None),
                    authority=getattr(options, "authority", None),
                    dry_run=options.dry_run,
                    pace=Pace(getattr(options, "max_unit_price", 0)),
                )
            )

    trio.run(on_cluster)
    return 0
