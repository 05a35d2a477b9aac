"""`cvms submissions`: list, show and settle submissions of unknown outcome."""

from __future__ import annotations

import argparse
import getpass
import os
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import TYPE_CHECKING, TypeVar, get_args

import msgspec
import trio

from cvms.cli.arguments import Commands, add_command, number, parsed
from cvms.cli.environment import read_environment
from cvms.config.loader import (
    load_alerts,
    load_database_url,
    load_programs,
    load_rpc_urls,
)
from cvms.settlement.evidence import (
    EndpointEvidence,
    Evidence,
    ListedSubmission,
    Outcome,
    Unsettled,
)

if TYPE_CHECKING:
    from cvms.settlement.gathering import EvidenceSources

T = TypeVar("T")

DEFAULT_SECONDS = 60.0

LIST_HELP = """\
List the submissions whose outcome could not be proven, newest first, or those in flight with
another --state. Reads the database; no server needs to run.
"""

SHOW_HELP = """\
Show the evidence of what became of a submission, named by its signature or its id: what each RPC
endpoint says of it, which of the blocks that could contain it each endpoint has, the events that
the index has applied, and what moved in the owner's vault meanwhile. At the end it says what the
evidence suggests, and what speaks against each outcome.

Reads the database and the chain; no server needs to run, and nothing is changed.
"""

SETTLE_HELP = """\
Settle a quarantined submission: record that it is finalized, failed, or expired (in no block). The
evidence is gathered again. An outcome that it contradicts is refused, unless --force is given. The
settlement, its reason and the evidence go to the audit trail, the owner's clients are told, and the
alert ends. What has expired is refunded to the owner's budget of fees.

Only the first settlement counts. docs/operations/submissions.md says how to decide.

Exit status: 0 if it is settled; 1 if it is refused, or the database is unavailable; 2 for a bad
setting or argument.
"""


def add_commands(commands: Commands) -> None:
    """Add `cvms submissions` and its commands."""
    group = add_command(
        commands, "submissions", "list, show and settle transactions of unknown outcome"
    ).add_subparsers(required=True, metavar="command")

    listing = add_command(group, "list", "list the quarantined submissions", LIST_HELP)
    listing.add_argument(
        "--state", choices=get_args(Unsettled), default="quarantined", help="(%(default)s)"
    )
    listing.add_argument(
        "--limit",
        type=number(int, lambda count: 1 <= count <= 10_000, "a number of rows (1 to 10000)"),
        default=100,
        help="rows at most (%(default)s)",
    )
    listing.set_defaults(run=cmd_list)

    show = add_command(group, "show", "show the evidence of a submission", SHOW_HELP)
    show.set_defaults(run=cmd_show)

    settle = add_command(group, "settle", "settle a quarantined submission", SETTLE_HELP)
    settle.add_argument(
        "--as", dest="outcome", choices=get_args(Outcome), required=True, help="its outcome"
    )
    settle.add_argument(
        "--reason", type=parsed(_reason, "a reason"), required=True, help="why, for the audit trail"
    )
    settle.add_argument(
        "--by",
        metavar="NAME",
        type=parsed(_name, "a name of 1 to 200 printable characters"),
        default=_user(),
        help="who settles it, for the audit trail (%(default)s)",
    )
    settle.add_argument(
        "--force",
        action="store_true",
        help="settle it even if the evidence contradicts the outcome",
    )
    settle.set_defaults(run=cmd_settle)

    for each in (show, settle):
        each.add_argument("id", help="its signature, or its id in the list")
        each.add_argument(
            "--seconds",
            type=number(float, lambda seconds: 0 < seconds <= 3600, "a number of seconds"),
            default=DEFAULT_SECONDS,
            help="how long an endpoint is asked (%(default)g)",
        )
    for each in (listing, show, settle):
        each.add_argument("--json", action="store_true", help="print one JSON object")


def cmd_list(options: argparse.Namespace) -> int:
    from cvms.cli.database import open_with_schema  # noqa: PLC0415
    from cvms.settlement.gathering import listed  # noqa: PLC0415
    from cvms.store.submissions import settlements  # noqa: PLC0415
    from cvms.store.submissions.submissions import State  # noqa: PLC0415

    url = load_database_url(read_environment())

    async def read() -> list[ListedSubmission]:
        async with open_with_schema(url) as database, database.connection() as conn:
            state = State(options.state)
            rows = await settlements.page(conn, state=state, limit=options.limit)
        return [listed(row) for row in rows]

    found = trio.run(read)
    if options.json:
        print(_json({"submissions": found}))
        return 0
    for each in found:
        amount = "" if each.amount is None else f" of {each.amount}"
        print(f"{each.signature}  {each.kind}{amount} for {each.owner}, signed {_ago(each.age)}")
    if not found:
        print(f"no submission is {options.state}")
    return 0


def cmd_show(options: argparse.Namespace) -> int:
    from cvms.settlement.gathering import find, gather  # noqa: PLC0415

    async def read(sources: EvidenceSources) -> Evidence:
        return await gather(sources, await find(sources.database, options.id))

    evidence = _with_sources(options, read)
    print(_json(evidence) if options.json else _evidence_text(evidence))
    return 0


def cmd_settle(options: argparse.Namespace) -> int:
    from cvms.settlement.settling import Settlement, settle  # noqa: PLC0415
    from cvms.store.alerts.lifecycle import alert_webhook  # noqa: PLC0415

    hook = alert_webhook(load_alerts(read_environment()).webhook_minimum)
    settlement = Settlement(
        outcome=options.outcome,
        reason=options.reason,
        actor=f"cli:{options.by}",
        force=options.force,
    )

    async def act(sources: EvidenceSources) -> ListedSubmission:
        return await settle(sources, options.id, settlement, hook=hook)

    settled = _with_sources(options, act)
    print(_json(settled) if options.json else f"{settled.signature} is settled as {settled.state}")
    return 0


def _with_sources(options: argparse.Namespace, run: Callable[[EvidenceSources], Awaitable[T]]) -> T:
    from cvms.chain.rpc.rpc_client import open_rpc  # noqa: PLC0415
    from cvms.cli.database import open_with_schema  # noqa: PLC0415
    from cvms.settlement.gathering import EvidenceSources  # noqa: PLC0415

    environ = read_environment()
    programs, url = load_programs(environ), load_database_url(environ)
    rpc_urls = load_rpc_urls(environ)

    async def opened() -> T:
        async with open_with_schema(url) as database, open_rpc(rpc_urls) as rpc:
            return await run(
                EvidenceSources(
                    database=database, rpc=rpc, programs=programs, seconds=options.seconds
                )
            )

    return trio.run(opened)


def _evidence_text(evidence: Evidence) -> str:
    each = evidence.submission
    amount = "" if each.amount is None else f" of {each.amount}"
    lines = [
        f"signature   {each.signature}",
        f"id          {each.id}",
        f"submission  {each.kind}{amount} for {each.owner}",
        f"state       {each.state}, since {each.updated_at.isoformat(timespec='seconds')}",
        f"signed      {_ago(each.age)}",
        f"blocks      after slot {each.since_slot}, up to height {each.last_valid_block_height}",
    ]
    if each.seen_slot is not None:
        lines.append(f"last seen   in slot {each.seen_slot}")
    lines += ["endpoints", *(f"  {_endpoint_text(endpoint)}" for endpoint in evidence.endpoints)]
    through = evidence.indexed_through
    lines.append(
        f"index       complete up to {'nothing' if through is None else f'slot {through}'}"
    )
    lines += [
        f"  event {event.name} in slot {event.slot}, {event.commitment}"
        for event in evidence.events
    ] or ["  no event of this transaction"]
    lines.append("meanwhile in the owner's vault")
    lines += [
        f"  {line.kind} of {line.amount} in slot {line.slot}: {line.signature}"
        + (", the same message" if line.same_message else "")
        for line in evidence.movements
    ] or ["  nothing moved"]
    for outcome in get_args(Outcome):
        against = evidence.contradictions.to(outcome)
        text = "; ".join(against) if against else "nothing speaks against it"
        lines.append(f"{outcome:<12}{text}")
    lines.append(f"suggested   {evidence.suggested}")
    return "\n".join(lines)


def _endpoint_text(each: EndpointEvidence) -> str:
    parts = []
    if each.slot is not None:
        status = each.status
        if status is None:
            parts.append(f"does not know it, up to slot {each.slot}")
        else:
            end = "" if status.error is None else f", failed with {status.error}"
            parts.append(f"has it in slot {status.slot}, {status.commitment}{end}")
    if each.first_slot is not None:
        parts.append(f"keeps blocks from slot {each.first_slot}")
    if (blocks := each.blocks) is not None:
        missing = "all of those in question" if blocks.complete else "not all of those in question"
        parts.append(f"gave {blocks.count} blocks, {missing}")
        if blocks.containing_slot is not None:
            parts.append(f"of which that of slot {blocks.containing_slot} holds it")
    if each.error is not None:
        parts.append(each.error)
    return f"{each.host}: {'; '.join(parts)}"


def _ago(seconds: float) -> str:
    for unit, length in (("days", 86_400), ("hours", 3_600), ("minutes", 60)):
        if seconds >= 2 * length:
            return f"{seconds / length:.0f} {unit} ago"
    return f"{seconds:.0f} seconds ago"


def _json(value: object) -> str:
    return msgspec.json.format(msgspec.json.encode(value), indent=2).decode()


def _reason(text: str) -> str:
    if not text.strip() or len(text) > 500:
        raise ValueError
    return text.strip()


def _name(text: str) -> str:
    from cvms.http.framework.admin_tokens import check_subject  # noqa: PLC0415

    check_subject(text)
    return text


def _user() -> str:
    with suppress(KeyError, OSError):
        return getpass.getuser()
    return f"uid {os.getuid()}"
