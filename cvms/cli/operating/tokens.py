"""`cvms token`: administrators' tokens, issued and revoked."""

from __future__ import annotations

import argparse
import getpass
import math
import sys
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import trio

from cvms.cli.arguments import (
    CommandParser,
    Commands,
    add_command,
    add_data_dir,
    number,
    parsed,
)
from cvms.cli.environment import read_environment
from cvms.config.loader import load_database_url, load_signing_secret

if TYPE_CHECKING:
    from cvms.store.security.revoked_tokens import Revocation, RevokedRow

HELP = """\
Print an administrator's token, signed with the first of ADMIN_JWT_SECRETS, else with
ADMIN_JWT_SECRET or the data folder's secret. Its id, with which it can be revoked, goes to the
standard error stream.

Each person has a name of their own: where two administrators have to agree, names tell them apart.

Instead of a name:
  revoke        refuse a token, or all tokens of a person ("cvms token revoke --help")
  list-revoked  print what was revoked and is not forgotten yet
"""

USAGE = 2


def add_commands(commands: Commands) -> None:
    """Add `cvms token NAME` and the commands that may stand in place of the name."""
    token = add_command(commands, "token", "issue or revoke an administrator's token", HELP)
    assert isinstance(token, CommandParser)
    token.add_argument(
        "subject", metavar="NAME", help="name of the administrator, in the audit trail"
    )
    token.add_argument(
        "--role", choices=("viewer", "operator", "admin"), default="viewer", help="(%(default)s)"
    )
    token.add_argument(
        "--hours",
        type=number(float, lambda hours: 0 < hours <= 24, "a lifetime of up to 24 hours"),
        default=1.0,
        help="lifetime, at most 24 (%(default)s)",
    )
    add_data_dir(token)
    token.set_defaults(run=cmd_token, reserved=token.subcommands)

    revoke = token.add_subcommand(
        "revoke", "refuse a token, or all tokens of a person, in every process within two seconds"
    )
    which = revoke.add_mutually_exclusive_group(required=True)
    which.add_argument("token_id", metavar="ID", nargs="?", help="id that `cvms token` has printed")
    which.add_argument("--name", help="the person whose tokens are refused")
    revoke.add_argument(
        "--issued-before",
        type=parsed(parse_time, "a time such as 2027-01-31T12:00:00Z"),
        metavar="TIME",
        help="with --name, refuse what was issued before this time (a few seconds from now, for "
        "clocks that are ahead)",
    )
    revoke.set_defaults(run=cmd_revoke)

    listing = token.add_subcommand("list-revoked", "print what was revoked, oldest first")
    listing.set_defaults(run=cmd_list_revoked)


def cmd_token(options: argparse.Namespace) -> int:
    from uuid import uuid4  # noqa: PLC0415

    from cvms.dev.secrets import with_secrets  # noqa: PLC0415
    from cvms.http.framework.admin_tokens import Role, check_subject, mint  # noqa: PLC0415

    try:
        check_subject(options.subject)
    except ValueError as error:
        print(f"cvms: {error}", file=sys.stderr)
        return USAGE
    if options.subject in options.reserved:
        print(f"cvms: {options.subject} is a command, and cannot be a name", file=sys.stderr)
        return USAGE
    name, secret = load_signing_secret(with_secrets(read_environment(), options.data_dir))
    token_id = str(uuid4())
    print(
        mint(
            secret,
            subject=options.subject,
            role=Role.named(options.role),
            seconds=round(options.hours * 3600),
            secret_name=name,
            token_id=token_id,
        )
    )
    print(f"token id: {token_id}", file=sys.stderr)
    return 0


def cmd_revoke(options: argparse.Namespace) -> int:
    from cvms.http.framework.admin_tokens import (  # noqa: PLC0415
        LEEWAY_SECONDS,
        check_subject,
        check_token_id,
        person,
    )
    from cvms.store.security.revoked_tokens import Revocation  # noqa: PLC0415

    try:
        if options.name is None:
            check_token_id(options.token_id)
        else:
            check_subject(options.name)
    except ValueError as error:
        print(f"cvms: {error}", file=sys.stderr)
        return USAGE
    if options.name is None:
        if options.issued_before is not None:
            print("cvms: --issued-before goes with --name", file=sys.stderr)
            return USAGE
        return _revoke(
            Revocation(token_id=options.token_id), f"token {options.token_id} is revoked"
        )
    seconds = math.ceil((options.issued_before or datetime.now(UTC)).timestamp())
    if options.issued_before is None:
        # The clock that issued a token may be ahead, by as much as the service accepts.
        seconds += LEEWAY_SECONDS + 1
    revocation = Revocation(person=person(options.name), issued_before=seconds)
    return _revoke(
        revocation, f"{options.name}'s tokens issued before {_time(seconds)} are revoked"
    )


def cmd_list_revoked(_: argparse.Namespace) -> int:
    from cvms.cli.database import open_with_schema  # noqa: PLC0415
    from cvms.store.security import revoked_tokens  # noqa: PLC0415

    url = load_database_url(read_environment())

    async def run() -> list[RevokedRow]:
        async with open_with_schema(url) as database, database.dedicated() as conn:
            return await revoked_tokens.rows(conn)

    for row in trio.run(run):
        which = f"token {row.token_id}"
        if row.issued_before is not None:
            which = f"{row.person}, issued before {_time(row.issued_before)}"
        print(f"{row.revoked_at.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ} {row.revoked_by}: {which}")
    return 0


def parse_time(text: str) -> datetime:
    """Return a time in ISO 8601, in UTC unless it says otherwise. Raises ValueError."""
    time = datetime.fromisoformat(text)
    return time.astimezone(UTC) if time.tzinfo else time.replace(tzinfo=UTC)


def _revoke(revocation: Revocation, told: str) -> int:
    """Store the revocation with its entry in the audit trail, and say so."""
    from dataclasses import asdict  # noqa: PLC0415

    from cvms.cli.database import open_with_schema  # noqa: PLC0415
    from cvms.store.security import audit_log, revoked_tokens  # noqa: PLC0415

    url = load_database_url(read_environment())
    by = f"command:{getpass.getuser()}"

    async def run() -> None:
        async with (
            open_with_schema(url) as database,
            database.dedicated() as conn,
            conn.transaction(),
        ):
            await revoked_tokens.add(conn, revocation, by=by)
            details = {name: value for name, value in asdict(revocation).items() if value}
            await audit_log.record(
                conn, actor=by, action="token_revoke", owner=None, details=details
            )

    trio.run(run)
    print(told)
    return 0


def _time(seconds: int) -> str:
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%dT%H:%M:%SZ}"
