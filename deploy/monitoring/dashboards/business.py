"""The dashboard of the business: value, movements, operations, integrators."""

from __future__ import annotations

from deploy.monitoring.dashboards.promql import or_zero, over, per_second, quantile, series
from deploy.monitoring.dashboards.rendering import Board, Graph, Number, Query, Section

BUSINESS = Board(
    name="business",
    title="CVMS business",
    description="How much is in the vaults, what moves, and what do people get?",
    sections=[
        Section(
            "How much is there?",
            [
                Number(
                    "Value locked",
                    "In USDT: what all vaults hold.",
                    "none",
                    over("max", "cvms_total_value_locked") + " / 1e6",
                ),
                Number("Vaults", "Open vaults.", "none", over("max", "cvms_active_vaults")),
                Number(
                    "Deposits",
                    "That the chain has confirmed, since the beginning.",
                    "none",
                    over("max", "cvms_vault_deposits_total"),
                ),
                Number(
                    "Withdrawals",
                    "That the chain has confirmed, since the beginning.",
                    "none",
                    over("max", "cvms_vault_withdrawals_total"),
                ),
                Number(
                    "Locks of collateral",
                    "Since the beginning.",
                    "none",
                    over("max", "cvms_vault_locks_total"),
                ),
                Number(
                    "Unlocks of collateral",
                    "Since the beginning.",
                    "none",
                    over("max", "cvms_vault_unlocks_total"),
                ),
            ],
        ),
        Section(
            "Where does it go?",
            [
                Graph(
                    "Value locked",
                    "In USDT.",
                    "short",
                    [Query(over("max", "cvms_total_value_locked") + " / 1e6", "USDT")],
                ),
                Graph(
                    "Movements",
                    "That the chain has confirmed, in an hour.",
                    "short",
                    [
                        Query(
                            f"max(increase({series('cvms_vault_deposits_total')}[1h]))", "deposits"
                        ),
                        Query(
                            f"max(increase({series('cvms_vault_withdrawals_total')}[1h]))",
                            "withdrawals",
                        ),
                        Query(f"max(increase({series('cvms_vault_locks_total')}[1h]))", "locks"),
                        Query(
                            f"max(increase({series('cvms_vault_unlocks_total')}[1h]))", "unlocks"
                        ),
                    ],
                ),
                Graph(
                    "Vaults",
                    "Open vaults.",
                    "short",
                    [Query(over("max", "cvms_active_vaults"), "vaults")],
                ),
            ],
        ),
        Section(
            "What do people ask for, and what do they get?",
            [
                Graph(
                    "Operations",
                    "Requests in a second.",
                    "reqps",
                    [
                        Query(
                            per_second("cvms_vault_operations_total", by="operation"),
                            "{{operation}}",
                        )
                    ],
                ),
                Graph(
                    "Outcomes",
                    "Requests in a second.",
                    "reqps",
                    [Query(per_second("cvms_vault_operations_total", by="outcome"), "{{outcome}}")],
                ),
                Graph(
                    "Time of a balance query",
                    "Of all replicas.",
                    "s",
                    [
                        Query(quantile(0.5, "cvms_balance_query_duration_seconds"), "half"),
                        Query(quantile(0.99, "cvms_balance_query_duration_seconds"), "99 %"),
                    ],
                ),
            ],
        ),
        Section(
            "Do integrators get their events?",
            [
                Graph(
                    "Webhooks",
                    "Endpoints by state; `failing` ones accept nothing.",
                    "short",
                    [Query(over("max", "cvms_webhook_endpoints", by="state"), "{{state}}")],
                ),
                Graph(
                    "Attempts",
                    "In a second, by outcome.",
                    "reqps",
                    [
                        Query(
                            or_zero(per_second("cvms_webhook_messages_total", by="outcome")),
                            "{{outcome}}",
                        )
                    ],
                ),
                Graph(
                    "Delay",
                    "From the commit of an event until an endpoint has accepted it.",
                    "s",
                    [Query(quantile(0.95, "cvms_webhook_delay_seconds"), "95 %")],
                ),
                Graph(
                    "Events handed out",
                    "In a second, of all processes.",
                    "short",
                    [Query(per_second("cvms_outbox_published_total"), "events")],
                ),
                Graph(
                    "Clients",
                    "WebSocket connections, and accounts that they watch.",
                    "short",
                    [
                        Query(over("sum", "cvms_websocket_clients"), "connections"),
                        Query(over("sum", "cvms_watched_accounts"), "accounts"),
                    ],
                ),
                Graph(
                    "Messages to the operators that failed",
                    "Alerts that did not reach the webhook within a day.",
                    "short",
                    [Query(over("max", "cvms_alert_webhook_failing"), "failing")],
                ),
            ],
        ),
    ],
)
