"""`cvms signers`: the operator's keys, and whether each signs."""

from __future__ import annotations

import argparse

import trio

from cvms.cli.arguments import Commands, add_command
from cvms.config.environment import environment
from cvms.config.loader import load_operators, load_signing
from cvms.log.configuration import configure_logging

HELP = """\
List the operator's keys, the one that pays first, and whether each signs. Each remote signer is
asked for a signature of a fixed text, which is no transaction.

Exit status: 0 if each signs; 1 if one is away; 2 for a bad setting, such as a signer that cannot be
reached and whose address is not configured.
"""


def add_commands(commands: Commands) -> None:
    signers = add_command(
        commands, "signers", "list the operator's keys, and whether each signs", description=HELP
    )
    signers.set_defaults(run=cmd_signers)


def cmd_signers(_: argparse.Namespace) -> int:
    from cvms.signing.open_signers import open_signers  # noqa: PLC0415

    configure_logging("console", "error")

    async def run() -> int:
        environ = environment()
        async with open_signers(load_operators(environ), load_signing(environ)) as signers:
            for each in signers.signers:
                state = "signs" if each.available else f"is away: {each.away_because}"
                print(f"{each.address}  {each.name.partition(' ')[0]}  {state}")
            return 0 if all(each.available for each in signers.signers) else 1

    return trio.run(run)
