"""A service at work under a real Prometheus: every query finds its series, and one drill."""

from __future__ import annotations

import re

import trio

from tests.deploy.monitoring.dashboards import panel_queries
from tests.deploy.monitoring.rules import expressions, recorded
from tests.http.wallets import confirmed_submission, deposit, funded, initialize, land
from tests.runbooks import pages
from tests.runbooks.conftest import Drill, Start
from tests.runbooks.pages import PAGES

SCRAPES = 3
"""After the work, so that a rate has two values."""


async def test_every_query_has_an_answer_and_an_outage_of_the_chain_is_followed(
    drill: Start,
) -> None:
    async with drill() as at:
        await _work(at)
        await at.monitors.until_scraped(SCRAPES)
        await _check_panels(at)
        await _check_names(at)
        await _check_routes(at)
        await _lose_the_only_endpoint(at)


async def _work(at: Drill) -> None:
    """Do what users do."""
    wallet = await funded(at.service)
    await land(at.service, wallet, await initialize(at.service, wallet))
    signature = await land(at.service, wallet, await deposit(at.service, wallet, 1_000))
    await confirmed_submission(at.service, signature)
    reply = await at.service.get(f"/api/vault/balance/{wallet.pubkey()}")
    assert reply.status_code == 200, reply.text


async def _check_panels(at: Drill) -> None:
    """Each query of each panel has at least one line."""
    queries = list(panel_queries())
    empty = [each for each in queries if not await at.monitors.query(each.expression)]
    assert empty == []
    assert len(queries) > 80


async def _check_names(at: Drill) -> None:
    """Each metric that a panel, a rule or a page names is there."""
    there = await at.monitors.names() | recorded() | {"ALERTS"}
    named = {
        name: where
        for where, expression in (
            *((query.panel, query.expression) for query in panel_queries()),
            *(("a rule", expression) for expression in expressions()),
            *((path.name, query) for path in PAGES for query in pages.queries(path)),
        )
        for name in pages.metrics(expression)
    }
    assert {name: where for name, where in named.items() if name not in there} == {}
    assert len(named) > 50


async def _check_routes(at: Drill) -> None:
    """Each route that a page calls exists, with its method."""
    paths = (await at.service.get("/openapi.json")).json()["paths"]
    patterns = {
        (method, re.compile(re.sub(r"\\{\w+\\}", r"[$\\w-]+", re.escape(template))))
        for template, operations in paths.items()
        for method in operations
    }
    for path in PAGES:
        for method, called in pages.routes(path):
            exists = any(way == method and each.fullmatch(called) for way, each in patterns)
            assert exists, f"{path.name}: {method} {called}"


async def _lose_the_only_endpoint(at: Drill) -> None:
    at.rpc.refuse()
    await at.monitors.until_firing("RpcDown")
    await at.monitors.until_firing("RpcEndpointDown", "suppressed")
    seen = await at.follow("rpc-down")
    assert '"ok": false' in seen
    assert "no answer" in seen
    at.rpc.heal()
    with trio.fail_after(60):
        await at.monitors.until_ended("RpcDown")
