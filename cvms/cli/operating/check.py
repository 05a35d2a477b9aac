"""`cvms check`: everything that must hold before and while the service runs."""

from __future__ import annotations

import argparse
import json
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import trio

from cvms.checks.finding import GROUPS, Finding, Level, failure, skipped
from cvms.cli.arguments import Commands, add_command
from cvms.config.environment import environment
from cvms.errors import ConfigurationError, one_line

if TYPE_CHECKING:
    from cvms.config.webhook_url import WebhookTarget

HELP = """\
Check everything that must hold before and while the service runs, and change nothing. Each line is
ok, a warning, a failure, or skipped because of another failure, with what was seen and what to do.

It reads the settings as "cvms serve" does. It may run beside the service. The service makes the
same checks of database, chain, programs, authority and mint: docs/operations/check.md.

Exit status: 0 if nothing fails; 1 if something fails or is skipped, or with --strict if there is a
warning; 2 for a bad argument.
"""


def add_commands(commands: Commands) -> None:
    check = add_command(commands, "check", "check settings, dependencies and programs", HELP)
    check.add_argument("--json", action="store_true", help="print one JSON object")
    check.add_argument("--only", choices=GROUPS, metavar="GROUP", help=", ".join(GROUPS))
    check.add_argument("--strict", action="store_true", help="fail for warnings too")
    check.set_defaults(run=cmd_check)


def cmd_check(options: argparse.Namespace) -> int:
    from cvms.checks.all_groups import Checks  # noqa: PLC0415
    from cvms.checks.groups import run_groups  # noqa: PLC0415

    try:
        environ = environment()
    except ConfigurationError as error:
        found = _without_settings(error, only=options.only)
    else:

        async def check() -> dict[str, list[Finding]]:
            groups = Checks(environ=environ, connect=_connect).groups()
            return await run_groups(groups, only=options.only)

        found = trio.run(check)
    levels = Counter(each.level for findings in found.values() for each in findings)
    # What is skipped was not checked: with --only, the failure itself is in another group.
    failing = {Level.FAILURE, Level.SKIPPED} | ({Level.WARNING} if options.strict else set())
    failed = any(levels[level] for level in failing)
    if options.json:
        print(json.dumps(_as_json(found, failed=failed), indent=2))
    else:
        print("\n".join(_lines(found)))
        print(
            f"\n{levels[Level.OK]} ok, {levels[Level.WARNING]} warnings, "
            f"{levels[Level.FAILURE]} failures, {levels[Level.SKIPPED]} skipped"
        )
    return 1 if failed else 0


def _without_settings(error: ConfigurationError, *, only: str | None) -> dict[str, list[Finding]]:
    """Return the findings where the settings cannot even be read."""
    unread = failure("settings_loaded", one_line(error), "correct the file")
    found = {name: [skipped(name, "bad settings")] for name in GROUPS} | {"settings": [unread]}
    return {name: findings for name, findings in found.items() if only in {None, name}}


async def _connect(target: WebhookTarget, private: bool) -> None:
    """Connect to a webhook as the service does, and send nothing."""
    import httpx  # noqa: PLC0415

    from cvms.nursery.delivery.webhook_client import NotDelivered, connect  # noqa: PLC0415

    context = httpx.create_ssl_context()
    try:
        connection = await connect(target, private=private, context=context)
    except NotDelivered as error:
        raise ValueError(str(error)) from None
    try:
        await connection.handshake()
    finally:
        await connection.close()


def _lines(found: Mapping[str, Sequence[Finding]]) -> list[str]:
    lines = []
    for group, findings in found.items():
        for each in findings:
            about = f" ({each.subject})" if each.subject else ""
            todo = f"; {each.advice}" if each.advice else ""
            lines.append(f"{each.level:<8} {group:<10} {each.check}{about}: {each.seen}{todo}")
    return lines


def _as_json(found: Mapping[str, Sequence[Finding]], *, failed: bool) -> dict[str, Any]:
    return {
        "status": "failure" if failed else "ok",
        "findings": [
            {
                "group": group,
                "check": each.check,
                "subject": each.subject or None,
                "level": each.level.value,
                "seen": each.seen,
                "advice": each.advice or None,
            }
            for group, findings in found.items()
            for each in findings
        ],
    }
