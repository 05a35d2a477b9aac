"""One provider, whose fault never ends: within a minute operators know that the books may be wrong.

`/ready`, the alerts and the metrics say so, each of them by itself.
"""

from __future__ import annotations

import random
import re
from collections.abc import Awaitable, Callable, Collection
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, LiteralString

import httpx
import pytest
import trio
from solders.keypair import Keypair

from tests.harness.processes import COMPONENTS, ServerForker, until_ready
from tests.provider_proxy.call_faults import ErrorAnswer
from tests.provider_proxy.fault import Fault
from tests.provider_proxy.history_faults import (
    EmptyList,
    Holes,
    MissingEntries,
    NewestMissing,
    WithoutMeta,
)
from tests.provider_proxy.request_faults import HttpRefusal
from tests.scenario.context import Place, ScenarioContext, administrator_headers, connect
from tests.scenario.wallets import Wallets

pytestmark = pytest.mark.slow(seconds=40)

MINUTE = 60.0
POLL_SECONDS = 0.2
DEPOSITS = 25
"""Of each of four owners: that a tenth of the ledger holds none of them happens once in 38,000."""
LIST = "getSignaturesForAddress"


class HolesWithoutBlocks(Holes):
    """No block can be read: those of many transactions would show the ones that are missing."""

    def lacks_block(self, slot: int) -> bool:
        return True


FAULTS: dict[str, Fault] = {
    "getMultipleAccounts refused": HttpRefusal(methods="getMultipleAccounts", status=403),
    "getTransaction refused": HttpRefusal(methods="getTransaction", status=403),
    "no transaction in the ledger": Holes(share=1.0),
    "a tenth of the ledger missing": HolesWithoutBlocks(share=0.1, seed=3),
    "transactions without meta": WithoutMeta(),
    "the list refused": ErrorAnswer(methods=LIST, code=-32601),
    "the list empty": EmptyList(),
    "the list without its newest entries": NewestMissing(entries=100),
    "the list without half of its entries": MissingEntries(share=0.5, seed=5),
}


OF_THE_SET_UP = (
    "database_not_durable",
    "governance_is_operator",
    "transfer_limits_off",
    "upgrade_authority_is_governance",
    "upgrade_authority_is_operator",
)
"""Alerts that the database and the chain of tests deserve, with any provider."""
AT_ONCE = 3
"""Faults, each to a service of its own: most of the time each waits for the alert."""
NAMES = list(FAULTS)
GROUPS = [NAMES[first : first + AT_ONCE] for first in range(0, len(NAMES), AT_ONCE)]


@pytest.fixture
def place(forker: ServerForker, postgres_server: str, tmp_path: Path) -> Place:
    return Place(forker, postgres_server, tmp_path)


@dataclass(slots=True)
class Told:
    """What operators are told. Empty where nothing is wrong."""

    ready: Collection[str]
    """Components and checks that are not ok, with their details."""
    alerts: Collection[str]
    """Unresolved alerts about anything but withdrawals and the set-up of tests."""
    metrics: Collection[str]
    """Samples that say that something is wrong."""

    @property
    def complete(self) -> bool:
        return bool(self.ready and self.alerts and self.metrics)


@pytest.mark.parametrize("names", GROUPS, ids=", ".join)
async def test_operators_are_told_within_a_minute(names: list[str], place: Place) -> None:
    async with trio.open_nursery() as nursery:
        for name in names:
            nursery.start_soon(_told_of, name, place)


async def _told_of(name: str, place: Place) -> None:
    fault = FAULTS[name]
    async with place.context(name, endpoints=1, providers=True) as context:
        wallets = Wallets(context.chain, context.programs, context.operator, random.Random(1))
        owners = [wallets.add_owner(Keypair()) for _ in range(4)]
        await context.server.start()
        await until_ready(context.server.url, context.server, components=COMPONENTS)
        async with httpx.AsyncClient(timeout=5, headers=administrator_headers()) as http:
            told = await _told(context, http)
            assert not told.alerts
            await context.providers[0].begin(fault)
            for amount in range(1, DEPOSITS + 1):  # all different, so that each is a transaction
                for owner in owners:
                    wallets.send_or_fail(owner, wallets.deposit_step(owner, amount))
            # One alone in its slot, which no block is read for.
            context.chain.advance()
            wallets.send_or_fail(owners[0], wallets.deposit_step(owners[0], DEPOSITS + 1))
            context.chain.advance()
            with trio.move_on_after(MINUTE):
                while True:
                    told = await _told(context, http)
                    if told.complete:
                        break
                    await trio.sleep(POLL_SECONDS)
        assert fault.struck, name
        assert told.complete, f"{name}: {told}\n{context.server.log()}"


@pytest.mark.parametrize("status", [403, 410])
async def test_without_the_list_of_all_vaults_the_other_checks_go_on(
    status: int, place: Place
) -> None:
    async with place.context(str(status), endpoints=1, providers=True) as context:
        fault = HttpRefusal(methods="getProgramAccounts", status=status)
        context.providers[0].add(fault)
        wallets = Wallets(context.chain, context.programs, context.operator, random.Random(1))
        wallets.add_owner(Keypair())
        await context.server.start()
        await until_ready(context.server.url, context.server, components=COMPONENTS)
        async with httpx.AsyncClient(timeout=5, headers=administrator_headers()) as http:
            with trio.fail_after(MINUTE):
                await _until(partial(_lacks_only_the_listing, context, http))
                await _until(partial(_any_row, context, "vaults WHERE settled_slot >= slot"))
                with connect(context.database_url) as connection:
                    connection.execute("UPDATE vaults SET total = total + 1, locked = locked + 1")
                await _until(
                    partial(_any_row, context, "reconciliation_logs WHERE field = 'locked'")
                )
            assert await _lacks_only_the_listing(context, http)
        assert fault.struck
        assert context.server.log().count('"check_interrupted"') <= 1


async def _lacks_only_the_listing(context: ScenarioContext, http: httpx.AsyncClient) -> bool:
    reply = await http.get(f"{context.server.url}/ready")
    parts, checks = reply.json()["parts"], reply.json()["checks"]
    failing = [name for name, check in checks.items() if not check["ok"]]
    return (
        reply.status_code == 200
        and failing == ["listing"]
        and "not available on your plan" in checks["listing"]["detail"]
        and "does not serve getProgramAccounts" in parts["rpc"]["detail"]
        and all(check["completed_at"] for name, check in checks.items() if name != "listing")
    )


async def _until(condition: Callable[[], Awaitable[bool]]) -> None:
    while True:
        if await condition():
            return
        await trio.sleep(POLL_SECONDS)


async def _any_row(context: ScenarioContext, rows: LiteralString) -> bool:
    """Return whether there are any such rows."""
    with connect(context.database_url) as connection:
        return connection.execute(f"SELECT 1 FROM {rows}").fetchone() is not None


async def _told(context: ScenarioContext, http: httpx.AsyncClient) -> Told:
    told = (await http.get(f"{context.server.url}/ready")).json()
    states: dict[str, Any] = told["parts"] | told["checks"]
    with connect(context.database_url) as connection:
        alerts = connection.execute(
            "SELECT kind || ': ' || summary FROM alerts WHERE resolved_at IS NULL"
            " AND kind NOT LIKE '%%withdrawal%%' AND kind <> ALL(%s)",
            [["low_balance", *OF_THE_SET_UP]],
        ).fetchall()
    return Told(
        ready=[f"{name}: {each['detail']}" for name, each in states.items() if not each["ok"]],
        alerts=[str(row[0]) for row in alerts],
        metrics=_bad_samples((await http.get(f"{context.server.url}/metrics")).text),
    )


BAD = re.compile(
    r"^(cvms_alerts_open\{[^}]*\} [1-9]"
    r"|cvms_reconciliation_differences_total\{[^}]*\} [1-9]"
    r"|cvms_indexer_gap_signatures [1-9]"
    r"|cvms_indexer_lag_slots (5[1-9]|[6-9]\d|\d{3,})"
    r"|cvms_reconciliation_check_age_seconds\{[^}]*\} (4[5-9]|[5-9]\d|\d{3,})).*",
    re.MULTILINE,
)


def _bad_samples(exported: str) -> list[str]:
    others = ("withdrawal", *OF_THE_SET_UP)
    samples = [match[0] for match in BAD.finditer(exported)]
    return [each for each in samples if not any(kind in each for kind in others)]
