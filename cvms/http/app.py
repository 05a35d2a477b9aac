"""The application: the edge with all routes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

from cvms.chain.rpc.rpc_client import RpcClient
from cvms.chain.transactions.priority_fees import PriorityFees
from cvms.chain.transactions.sponsorship_policy import FeeCaps
from cvms.chain.types import Programs
from cvms.chain.yields.rate_cache import RateCache
from cvms.chain.yields.sources import YieldSource
from cvms.config.settings import Config
from cvms.http import transaction_routes
from cvms.http.admin import (
    admin_routes,
    alert_routes,
    approval_routes,
    collateral_routes,
    delivery_routes,
    governance_routes,
    governance_view,
    log_routes,
    submission_routes,
)
from cvms.http.admin.console import (
    audit_routes,
    chart_routes,
    overview_routes,
    program_routes,
    settings_routes,
    silence_routes,
    vault_search_routes,
)
from cvms.http.admin.console.overview import read_overview
from cvms.http.auth import nonce_routes, second_factor_routes
from cvms.http.auth.signed_texts import TEXT_OF_ACTION
from cvms.http.framework.cors import Cors
from cvms.http.framework.dependencies import Dependencies
from cvms.http.framework.edge import Edge
from cvms.http.framework.operation_metrics import start_operations
from cvms.http.framework.rate_limits import RateLimits
from cvms.http.framework.routing import answer
from cvms.http.multisig import proposal_routes, webhook_routes
from cvms.http.operations.approvals import guard
from cvms.http.pages.page_routes import register_pages
from cvms.http.service_info import config_routes, idl_routes, metrics_routes, probe_routes
from cvms.http.service_info.config_routes import WebSocketBounds
from cvms.http.service_info.swagger_ui import register_docs
from cvms.http.vaults import (
    analytics_routes,
    balance_routes,
    command_routes,
    position_routes,
    query_routes,
    withdrawal_policy_routes,
)
from cvms.http.vaults.guards import change_routes, exit_routes, owner_routes
from cvms.http.vaults.proofs import proof_routes
from cvms.http.vaults.statements import exchange_routes
from cvms.http.vaults.statements import vault_routes as statement_routes
from cvms.http.vaults.yields import movement_routes, policy_routes, status_routes
from cvms.http.webhooks import endpoint_routes, message_routes
from cvms.http.websocket import asyncapi
from cvms.http.websocket.client_session import WebSocketLimits
from cvms.http.websocket.endpoint import WebSocketEndpoint
from cvms.http.websocket.operations_feed import OperationsFeed
from cvms.log.configuration import ProcessLog
from cvms.metrics import Metrics
from cvms.nursery.channels.account_registry import AccountRegistry
from cvms.nursery.channels.hub import Hub
from cvms.nursery.channels.reply_cache import ReplyCache
from cvms.nursery.channels.status_board import StatusBoard
from cvms.nursery.channels.wakeups import SubmitWakeup
from cvms.signing.operator_key import OperatorKey
from cvms.signing.signer_set import SignerSet
from cvms.store.indexed_reads.batched_queries import BatchedQueries
from cvms.store.indexed_reads.reader import Reader
from cvms.store.postgres.database import Database
from cvms.store.redis.rate_limiter import Limiter
from cvms.store.security.encryption import SecretBox
from cvms.store.security.revoked_tokens import RevocationList
from cvms.store.submissions.fee_budget import FeeBudget
from cvms.traces.spans import Traces

OPERATIONS_WITHOUT_TEXT = (
    "emergency_withdraw",
    "initialize",
    "pm_settle",
    "release_timelocks",
    "submit",
    "transfer_collateral",
    "twofa_verify",
)
"""Operations for which no wallet signs a text."""


def create_app(
    *,
    config: Config,
    database: Database,
    queries: BatchedQueries,
    reader: Reader,
    rpc: RpcClient,
    programs: Programs,
    signers: SignerSet,
    hub: Hub,
    submit_wake: SubmitWakeup,
    board: StatusBoard,
    replies: ReplyCache,
    metrics: Metrics,
    log: ProcessLog,
    traces: Traces,
    accounts: AccountRegistry,
    limiter: Limiter,
    yield_sources: Sequence[YieldSource],
    websocket_limits: WebSocketLimits,
    max_in_flight: int,
    wall_clock: Callable[[], float],
) -> Edge:
    """Return the front end, built on the components of the composition root."""
    limits = RateLimits(
        limiter=limiter,
        rates=config.rates,
        proxies=config.trusted_proxies,
        metrics=metrics,
    )
    deps = Dependencies(
        config=config,
        database=database,
        queries=queries,
        reader=reader,
        rpc=rpc,
        fees=PriorityFees(rpc, metrics),
        programs=programs,
        operator=_operator_key(config, programs, signers),
        hub=hub,
        accounts=accounts,
        submit_wake=submit_wake,
        board=board,
        replies=replies,
        metrics=metrics,
        log=log,
        limits=limits,
        secret_box=SecretBox(config.data_encryption_keys),
        revocations=RevocationList(database),
        wall_clock=wall_clock,
        yield_rates=RateCache(
            rpc, yield_sources, programs=programs, max_age=config.yield_rates_seconds
        ),
    )
    start_operations(metrics, [*TEXT_OF_ACTION, *OPERATIONS_WITHOUT_TEXT])
    cors = Cors(config.cors_origins)
    app = Edge(
        __name__,
        limits=limits,
        metrics=metrics,
        cors=cors,
        max_in_flight=max_in_flight,
        traces=traces,
    )
    routes = (
        *probe_routes.ROUTES,
        *metrics_routes.metrics_routes(deps),
        *config_routes.config_routes(_websocket_bounds(websocket_limits)),
        *idl_routes.ROUTES,
        *asyncapi.ROUTES,
        *nonce_routes.ROUTES,
        *command_routes.ROUTES,
        *balance_routes.ROUTES,
        *query_routes.ROUTES,
        *statement_routes.ROUTES,
        *proof_routes.ROUTES,
        *proof_routes.ADMIN_ROUTES,
        *exchange_routes.ROUTES,
        *analytics_routes.ROUTES,
        *position_routes.ROUTES,
        *status_routes.ROUTES,
        *movement_routes.ROUTES,
        *policy_routes.ROUTES,
        *governance_routes.ROUTES,
        *collateral_routes.ROUTES,
        *governance_view.ROUTES,
        *withdrawal_policy_routes.ROUTES,
        *change_routes.ROUTES,
        *owner_routes.ROUTES,
        *exit_routes.ROUTES,
        *admin_routes.ROUTES,
        *alert_routes.ROUTES,
        *delivery_routes.ROUTES,
        *log_routes.ROUTES,
        *submission_routes.ROUTES,
        *overview_routes.ROUTES,
        *vault_search_routes.ROUTES,
        *chart_routes.ROUTES,
        *settings_routes.ROUTES,
        *program_routes.program_routes(),
        *silence_routes.ROUTES,
        *audit_routes.ROUTES,
        *proposal_routes.ROUTES,
        *webhook_routes.ROUTES,
        *endpoint_routes.ROUTES,
        *message_routes.ROUTES,
        *transaction_routes.ROUTES,
        *second_factor_routes.ROUTES,
    )
    guarded = guard(routes)
    routes = (*guarded.routes, *approval_routes.approval_routes(guarded.acts))
    for route in routes:
        app.add(route.method, route.rule, partial(answer, deps, route))
    register_docs(app, routes)
    register_pages(app)
    operations = OperationsFeed(hub, partial(read_overview, deps))
    endpoint = WebSocketEndpoint(deps, websocket_limits, operations)
    app.add_websocket("/ws", "ws", endpoint.serve)
    app.background += (endpoint.heartbeat.run, deps.revocations.keep_current, operations.run)
    app.shutdown_hooks.append(endpoint.drain)
    return app


def _websocket_bounds(limits: WebSocketLimits) -> WebSocketBounds:
    return WebSocketBounds(
        connections_per_address=limits.connections_per_ip,
        subscriptions=limits.subscriptions,
        frames_per_second=limits.frames_per_second,
    )


def _operator_key(config: Config, programs: Programs, signers: SignerSet) -> OperatorKey:
    settings = config.sponsoring
    return OperatorKey(
        signers=signers,
        programs=programs,
        caps=FeeCaps(price=settings.unit_price, lamports=settings.transaction),
        budget=FeeBudget(owner=settings.owner_a_day, everybody=settings.everybody_a_day),
        guards=frozenset(settings.guard_programs),
    )
