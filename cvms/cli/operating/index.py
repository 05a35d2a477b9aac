"""`cvms index`: the indexer's status, and the rebuild that compares the index with the chain."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Mapping
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import trio

from cvms.cli.environment import read_environment
from cvms.config.loader import load_database_url, load_programs, load_rpc_urls

if TYPE_CHECKING:
    from cvms.nursery.reconciliation.full_rebuild import (
        ComparisonProgress,
        RebuildOutcome,
        RebuildProgress,
    )
    from cvms.nursery.reconciliation.index_status import IndexStatus

STATUS_HELP = """\
Print the indexer's status: the last applied transaction, the slot up to which the index is
complete, the lag behind the chain, the number of waiting transactions, the events that are not
final yet, and the last error. It reads the database and the chain; no server needs to run.

Exit status: 0 if the chain lists the last applied transaction, so that nothing is lost however
large the lag is; 1 if it does not, or the chain is unavailable; 2 for a bad setting.
"""

REBUILD_HELP = """\
Build the tables of the index a second time, from the program's first transaction up to the last
applied one, and compare them with the live tables: events, history, vaults, past balances, totals,
flows, value locked, sums by size, offsets and mints. Ids, recording times and commitments are not
compared, and neither are vaults whose accounts have changed meanwhile.

The server may run. The second copy is in the schema "cvms_rebuild" of the same database, and takes
as much space as the live tables. To resume an interrupted rebuild, run the command again (it prints
the slot). Without --replace the copy is kept, so that a later run has little left to do. Only one
rebuild runs at a time.

A node with a pruned ledger, or a hole in it, shows a part of the history, and does not say so. So
what was built has to add up to the finalized accounts, vault by vault. If it does not, the vaults
that do not add up are printed with the slot at which the node's ledger begins, instead of the
differences, and --replace changes nothing: set SOLANA_RPC_URL to a node with the whole history, and
add --fresh. Vaults whose accounts have changed meanwhile are set aside here too.
--accept-incomplete replaces the live tables nevertheless: what the node did not show is then lost.
The audit trail records how many vaults did not add up.

--replace writes the differences into the live tables in one transaction. The server's indexer
waits meanwhile (or retries, if its queries time out) and continues from the same transaction.
Messages already sent to subscribers, submissions, second factors and the audit trail are not
changed. The replacement is recorded in the audit trail, and subscribers get a vault_balance_update
for each vault whose row differed.

Exit status: 0 if the tables are equal, or were replaced; 1 if they differ, what was built is
incomplete, or the chain or the database failed; 2 for a bad setting.
"""


def cmd_index_status(options: argparse.Namespace) -> int:
    from cvms.chain.rpc.rpc_client import open_rpc  # noqa: PLC0415
    from cvms.cli.database import open_with_schema  # noqa: PLC0415
    from cvms.nursery.reconciliation.index_status import read_status  # noqa: PLC0415

    environ = read_environment()
    programs, url = load_programs(environ), load_database_url(environ)
    rpc_urls = load_rpc_urls(environ)

    async def ask() -> IndexStatus:
        async with open_with_schema(url) as database, open_rpc(rpc_urls) as rpc:
            return await read_status(database, rpc, programs)

    status = trio.run(ask)
    print(json.dumps(status.as_json(), indent=2) if options.json else _status_text(status))
    return 0 if status.following else 1


def cmd_index_rebuild(options: argparse.Namespace) -> int:
    from cvms.chain.rpc.rpc_client import open_rpc  # noqa: PLC0415
    from cvms.nursery.reconciliation.full_rebuild import open_rebuild  # noqa: PLC0415

    environ = read_environment()
    programs, url = load_programs(environ), load_database_url(environ)
    rpc_urls = load_rpc_urls(environ)
    fresh, max_shown = options.fresh, options.show

    async def build() -> RebuildOutcome:
        async with (
            open_rpc(rpc_urls) as rpc,
            open_rebuild(
                url,
                rpc=rpc,
                programs=programs,
                fresh=fresh,
                report=_Reporter(),
                max_shown=max_shown,
                accept_incomplete=options.accept_incomplete,
            ) as rebuild,
        ):
            return await rebuild.run(replace=options.replace)

    outcome = trio.run(build)
    print(
        json.dumps(_outcome_json(outcome, max_shown), indent=2)
        if options.json
        else _outcome_text(outcome, max_shown)
    )
    return 0 if outcome.equal or outcome.replaced else 1


class _Reporter:
    """Prints the progress to standard error when it changes."""

    def __init__(self) -> None:
        self._last: str | None = None

    def __call__(self, step: RebuildProgress | ComparisonProgress) -> None:
        slot = getattr(step, "slot", None)
        if self._last is None and slot is not None:
            print(f"resuming from slot {slot}", file=sys.stderr)
        text = str(step)
        if text != self._last:
            print(text, file=sys.stderr, flush=True)
        self._last = text


def _status_text(status: IndexStatus) -> str:
    books, chain = status.index, status.chain
    lines = [("program", status.program)]
    if books.slot is None:
        lines += [("applied", "nothing yet")]
    else:
        lines += [
            ("applied", f"up to {books.signature} in slot {books.slot}, at {books.updated_at}"),
            ("complete", f"up to slot {books.through}"),
        ]
    if chain is None:
        lines += [("chain", f"does not answer: {status.chain_error}")]
    else:
        lines += [
            ("chain", f"slot {chain.confirmed_slot}, final up to {chain.finalized_slot}"),
            ("lag", "unknown" if status.lag_slots is None else f"{status.lag_slots} slots"),
            ("waiting", _waiting_text(status)),
        ]
    if books.backlog is not None:
        done = books.backlog.listed - books.backlog.left
        state = "" if books.backlog.complete else ", and the list is not complete yet"
        lines += [("catching up", f"{done} of {books.backlog.listed} applied{state}")]
    lines += [
        (
            "not final",
            f"{books.unfinalized_events} events of {books.unfinalized_transactions} transactions",
        ),
        (
            "last error",
            f"{books.last_error.text} ({books.last_error.at})" if books.last_error else "none",
        ),
    ]
    return "\n".join(f"{name:<12}{text}" for name, text in lines)


def _waiting_text(status: IndexStatus) -> str:
    assert status.chain is not None
    if status.chain.waiting is None:
        return "the node does not list the transaction that was applied last"
    more = "more than " if status.chain.waiting_more else ""
    return f"{more}{status.chain.waiting} transactions"


def _outcome_text(outcome: RebuildOutcome, max_shown: int) -> str:
    at = f"{outcome.cursor.signature} in slot {outcome.cursor.slot}"
    begun = "the start" if outcome.resumed_from is None else f"slot {outcome.resumed_from}"
    lines = [f"built from {begun} up to {at}"]
    if outcome.moved:
        lines.append(f"{outcome.moved} vaults have changed since and are not compared")
    incomplete = outcome.completeness
    if incomplete.vaults:
        lines.append(f"the rebuilt index is incomplete: {incomplete.summary}")
        lines += [f"  {each.owner}: {each.problem}" for each in incomplete.vaults[:max_shown]]
        if not outcome.replaced:
            lines.append("so it says nothing about the live tables; nothing is changed")
            return "\n".join(lines)
    if outcome.equal:
        return "\n".join([*lines, "the books are what the chain says"])
    for table, count in outcome.counts.items():
        if count:
            lines.append(f"{table}: {count} rows differ")
            lines += [
                f"  {each.key}\n    live  {_shown(each.live)}\n    chain {_shown(each.built)}"
                for each in outcome.first
                if each.table == table
            ]
    lines.append("all differences are replaced" if outcome.replaced else "nothing is changed")
    return "\n".join(lines)


def _outcome_json(outcome: RebuildOutcome, max_shown: int) -> dict[str, Any]:
    return {
        "cursor": asdict(outcome.cursor),
        "resumed_from": outcome.resumed_from,
        "equal": outcome.equal,
        "replaced": outcome.replaced,
        "moved": outcome.moved,
        "incomplete_vaults": len(outcome.completeness.vaults),
        "first_incomplete": [asdict(each) for each in outcome.completeness.vaults[:max_shown]],
        "ledger_begins": outcome.completeness.ledger_begins,
        "differing_rows": outcome.counts,
        "first": [asdict(each) for each in outcome.first],
    }


def _shown(content: Mapping[str, Any] | None) -> str:
    return "nothing" if content is None else json.dumps(content, sort_keys=True)
