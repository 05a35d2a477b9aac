"""Checks of the RPC and PubSub endpoints, and of the chain that they serve."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import trio
from solders.pubkey import Pubkey

from cvms.chain.program.cluster_features import (
    LIFT_CPI_CALLER_RESTRICTION,
    REQUIRED_FEATURES,
    activation_slot,
    missing_features,
)
from cvms.chain.pubsub.websocket import LOST, PubSubTarget, open_connection, reason_of
from cvms.chain.rpc import call_params
from cvms.chain.rpc.call_params import at
from cvms.chain.rpc.rpc_client import RpcClient, open_rpc
from cvms.chain.rpc.transport.endpoint_pool import LAG_SLOTS
from cvms.chain.rpc.transport.error_kinds import ErrorKind, kind_of
from cvms.chain.types import Commitment, Programs
from cvms.checks.finding import Finding, failure, ok, warning
from cvms.errors import ChainUnavailable, RpcError, leaves
from cvms.metrics import Metrics

CALL_SECONDS = 5.0
PUBSUB_SECONDS = 5.0
OTHER_ENDPOINT = "use another endpoint or plan: docs/endpoints.md says what each must offer"
NO_SIGNATURE, NO_BLOCKHASH = "1" * 64, "1" * 32
"""Of zero bytes, which no transaction and no block has."""


@dataclass(slots=True, eq=False)
class EndpointReport:
    """What one endpoint has shown. `slot` is None if it does not answer."""

    host: str
    slot: int | None = None
    genesis: str | None = None
    findings: list[Finding] = field(default_factory=list)


async def endpoint_reports(urls: Sequence[str], programs: Programs | None) -> list[EndpointReport]:
    """Ask each endpoint by itself, all at once. The order is that of `urls`."""
    async with open_rpc(urls) as together:  # names two endpoints of one host differently
        reports = [EndpointReport(each.host) for each in together.endpoints]
    async with trio.open_nursery() as nursery:
        for report, url in zip(reports, urls, strict=True):
            nursery.start_soon(_ask_slot, report, url)
    async with trio.open_nursery() as nursery:
        for report, url in zip(reports, urls, strict=True):
            if report.slot is not None:
                nursery.start_soon(_ask_everything, report, url, programs)
    _compare_slots(reports)
    return reports


async def pubsub_finding(url: str) -> Finding:
    """Check that an endpoint opens a WebSocket and answers a subscription."""
    target = PubSubTarget.parse(url)
    reason = f"no answer within {PUBSUB_SECONDS:g} s"
    with trio.move_on_after(PUBSUB_SECONDS):
        try:
            reason = await _subscribe(target)
        except BaseExceptionGroup as group:
            lost, others = group.split(LOST)
            if lost is None or others is not None:
                raise
            reason = reason_of(next(leaves(lost)))
        except LOST as error:
            reason = reason_of(error)
    if reason:
        advice = "check SOLANA_WS_URL; events are learnt late by polling meanwhile"
        return failure("pubsub_reachable", reason, advice, subject=target.host)
    return ok("pubsub_reachable", "answers", subject=target.host)


def genesis_findings(reports: Sequence[EndpointReport], *, recorded: str | None) -> list[Finding]:
    """Check that all endpoints serve one chain, which is that of the database.

    `recorded` is the hash that the database has, None before the first start.
    """
    hashes = {each.host: each.genesis for each in reports if each.genesis is not None}
    if not hashes:
        advice = "nothing protects from an endpoint of another chain; " + OTHER_ENDPOINT
        return [warning("chain_genesis", "no endpoint tells its genesis", advice)]
    expected = expected_genesis(reports, recorded=recorded)
    assert expected is not None
    strangers = {host: each for host, each in hashes.items() if each != expected}
    if len(strangers) == len(hashes):
        stranger = next(iter(strangers.values()))
        return [another_chain(stranger, recorded=expected)]
    if strangers:
        return [
            failure(
                "chain_genesis",
                f"it is on another chain: its genesis is {each}, not {expected}",
                "remove it from SOLANA_RPC_URL",
                subject=host,
            )
            for host, each in strangers.items()
        ]
    whose = "that of every endpoint" + (" and of the database" if recorded else "")
    return [ok("chain_genesis", f"{expected}, {whose}")]


def expected_genesis(reports: Sequence[EndpointReport], *, recorded: str | None) -> str | None:
    """Return the genesis that all should have: the database's, or else the first endpoint's."""
    return recorded or next((each.genesis for each in reports if each.genesis is not None), None)


def another_chain(genesis: str, *, recorded: str) -> Finding:
    """Return the failure of endpoints that are all on another chain than the database."""
    return failure(
        "chain_genesis",
        f"SOLANA_RPC_URL leads to the chain with genesis {genesis}, and DATABASE_URL to the books "
        f"of the chain with genesis {recorded}",
        "set SOLANA_RPC_URL to endpoints of that chain, or DATABASE_URL to a database for this one",
        kind="another_chain",
    )


async def _ask_slot(report: EndpointReport, url: str) -> None:
    async with open_rpc([url], timeout=CALL_SECONDS) as rpc:
        try:
            report.slot = await rpc.get_slot(Commitment.CONFIRMED)
        except (ChainUnavailable, RpcError) as error:
            advice = "check SOLANA_RPC_URL and the network, and the provider's status"
            finding = failure("rpc_reachable", str(error), advice, subject=report.host)
        else:
            finding = ok("rpc_reachable", f"at slot {report.slot}", subject=report.host)
    report.findings.append(finding)


async def _ask_everything(report: EndpointReport, url: str, programs: Programs | None) -> None:
    metrics = Metrics()
    async with open_rpc([url], timeout=CALL_SECONDS, metrics=metrics) as rpc:
        [host] = [each.host for each in rpc.endpoints]
        report.findings += await _method_findings(report, rpc, programs)
        report.findings += await _feature_findings(rpc, report.host)
    throttled = metrics.registry.get_sample_value(
        "cvms_rpc_endpoint_requests_total", {"endpoint": host, "outcome": "throttled"}
    )
    if throttled:
        seen = f"it throttled {throttled:g} of some twenty requests"
        report.findings.append(warning("rpc_limits", seen, OTHER_ENDPOINT, subject=report.host))
    else:
        report.findings.append(ok("rpc_limits", "none was met", subject=report.host))


def _calls(programs: Programs | None, slot: int) -> list[tuple[str, list[Any]]]:
    """Return a harmless call of each method that the service needs."""
    address = str(Pubkey.default() if programs is None else programs.vault)
    confirmed = at(Commitment.CONFIRMED)
    nothing = call_params.send(b"", skip_preflight=False, max_retries=0)
    block = {"transactionDetails": "none", "rewards": False, "maxSupportedTransactionVersion": 1}
    only_addresses = {"encoding": "base64", "dataSlice": {"offset": 0, "length": 0}}
    no_account = {"filters": [{"dataSize": 1}], "withContext": True}
    return [
        ("getGenesisHash", []),
        ("getFirstAvailableBlock", []),
        ("getBlockHeight", [confirmed]),
        ("getLatestBlockhash", [confirmed]),
        ("isBlockhashValid", [NO_BLOCKHASH, confirmed]),
        ("getBalance", [address, confirmed]),
        ("getMultipleAccounts", [[address], confirmed | only_addresses]),
        ("getProgramAccounts", [address, confirmed | only_addresses | no_account]),
        ("getMinimumBalanceForRentExemption", [0]),
        ("getSignaturesForAddress", [address, confirmed | {"limit": 1}]),
        ("getSignatureStatuses", call_params.statuses([NO_SIGNATURE])),
        ("getTransaction", [NO_SIGNATURE, confirmed | {"maxSupportedTransactionVersion": 1}]),
        ("getBlocks", [slot, slot, confirmed]),
        ("getBlock", [slot, confirmed | block]),
        ("getEpochInfo", [confirmed]),
        ("getRecentPrioritizationFees", [[]]),
        # Of no bytes: every node that serves the methods refuses these.
        ("simulateTransaction", ["", confirmed | {"encoding": "base64"}]),
        ("sendTransaction", nothing),
    ]


async def _method_findings(
    report: EndpointReport, rpc: RpcClient, programs: Programs | None
) -> list[Finding]:
    host, answers, refused = report.host, dict[str, Any](), dict[str, str]()
    for method, params in _calls(programs, report.slot or 0):
        try:
            answers[method] = await rpc.call(method, params)
        except RpcError as error:
            if kind_of(error) in {ErrorKind.FAULT, ErrorKind.THROTTLED}:
                refused[method] = f"it does not serve {method}: {error}"
        except ChainUnavailable as error:
            refused[method] = f"it does not answer {method}: {error}"
    genesis, first = answers.get("getGenesisHash"), answers.get("getFirstAvailableBlock")
    report.genesis = genesis if isinstance(genesis, str) else None
    found = [
        failure("rpc_methods", seen, OTHER_ENDPOINT, subject=host) for seen in refused.values()
    ] or [ok("rpc_methods", "all that are needed", subject=host)]
    if isinstance(first, int):
        found.append(_history_finding(first, host))
    return found


def _history_finding(first: int, host: str) -> Finding:
    if first <= 1:
        return ok("rpc_history", "from the first block on", subject=host)
    advice = "use an endpoint with the whole history if the program is older than that"
    return warning("rpc_history", f"from block {first} on", advice, subject=host)


async def _feature_findings(rpc: RpcClient, host: str) -> list[Finding]:
    check = "cluster_features"
    features = [*REQUIRED_FEATURES, LIFT_CPI_CALLER_RESTRICTION]
    try:
        found = await rpc.get_accounts(
            [each.address for each in features], commitment=Commitment.CONFIRMED
        )
    except (ChainUnavailable, RpcError) as error:
        return [failure(check, str(error), OTHER_ENDPOINT, subject=host)]
    *required, lifted = found.accounts
    findings = [
        failure(
            check,
            f"{each.name} is not active",
            "the programs cannot be deployed on this cluster before it is",
            subject=host,
        )
        for each in missing_features(required)
    ] or [ok(check, "all that the programs need", subject=host)]
    if activation_slot(lifted) is not None:
        name = LIFT_CPI_CALLER_RESTRICTION.name
        advice = "test the caller rule of the programs again: docs/programs.md"
        findings.append(warning(check, f"{name} is active", advice, subject=host))
    return findings


def _compare_slots(reports: Sequence[EndpointReport]) -> None:
    newest = max((each.slot for each in reports if each.slot is not None), default=0)
    for each in reports:
        if each.slot is not None and newest - each.slot > LAG_SLOTS:
            seen = f"{newest - each.slot} slots behind another endpoint"
            each.findings.append(warning("rpc_lag", seen, "ask its provider", subject=each.host))


async def _subscribe(target: PubSubTarget) -> str:
    """Return why the endpoint cannot be used, empty if it can."""
    async with (
        trio.open_nursery() as nursery,
        open_connection(target, nursery) as connection,
    ):
        await connection.call(1, "slotSubscribe", [])
        answer: Any = await connection.receive()
        nursery.cancel_scope.cancel()
        subscription = getattr(answer, "subscription", None)
        return "" if subscription is not None else "it refuses slotSubscribe"
