"""Groups of checks, which run concurrently, each within a deadline of its own."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass

import psycopg
import trio

from cvms.checks.finding import Finding, failure, skipped
from cvms.errors import (
    ChainUnavailable,
    DatabaseUnavailable,
    DecodeError,
    RpcError,
    one_line,
)

DEADLINE_SECONDS = 20.0
"""A group makes some dozen calls, one after another, to endpoints that may be slow."""
FAILURES = (ChainUnavailable, DatabaseUnavailable, DecodeError, RpcError, psycopg.Error)


@dataclass(frozen=True, slots=True, kw_only=True)
class Group:
    """Checks of one subject.

    It runs once the groups in `after` have ended. `blocked` then returns why it cannot run, such as
    `no database`, or None.
    """

    name: str
    run: Callable[[], Awaitable[Sequence[Finding]]]
    after: tuple[str, ...] = ()
    blocked: Callable[[], str | None] = lambda: None
    seconds: float = DEADLINE_SECONDS


async def run_groups(groups: Sequence[Group], *, only: str | None) -> dict[str, list[Finding]]:
    """Run the groups and return the findings of each, in their order.

    With `only`, run that group and those that it comes after, and return its findings alone.
    """
    by_name = {group.name: group for group in groups}
    wanted = set(by_name) if only is None else _with_dependencies(only, by_name)
    ended = {name: trio.Event() for name in wanted}
    found: dict[str, list[Finding]] = {}

    async def run(group: Group) -> None:
        for name in group.after:
            await ended[name].wait()
        found[group.name] = await _findings(group)
        ended[group.name].set()

    async with trio.open_nursery() as nursery:
        for name in wanted:
            nursery.start_soon(run, by_name[name])
    return {name: found[name] for name in by_name if only in {None, name}}


async def _findings(group: Group) -> list[Finding]:
    reason = group.blocked()
    if reason is not None:
        return [skipped(group.name, reason)]
    advice = "see what the groups `database` and `endpoints` say, and run the check again"
    with trio.move_on_after(group.seconds):
        try:
            return list(await group.run())
        except FAILURES as error:
            return [failure(group.name, one_line(error), advice)]
    return [failure(group.name, f"no answer within {group.seconds:g} s", advice)]


def _with_dependencies(name: str, groups: Mapping[str, Group]) -> set[str]:
    names = {name}
    for each in groups[name].after:
        names |= _with_dependencies(each, groups)
    return names
