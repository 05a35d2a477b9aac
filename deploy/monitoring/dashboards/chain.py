"""The dashboard of the chain: indexer, RPC, submissions, operator, books."""

from __future__ import annotations

from deploy.monitoring.dashboards.promql import (
    average,
    in_an_hour,
    or_zero,
    over,
    per_second,
    quantile,
    top,
)
from deploy.monitoring.dashboards.rendering import Board, Graph, Number, Query, Section

BEHIND_THE_BEST = (
    f"scalar({over('max', 'cvms_rpc_endpoint_slot')}) - "
    f"{over('max', 'cvms_rpc_endpoint_slot', by='endpoint')}"
)

CHAIN = Board(
    name="chain",
    title="CVMS chain",
    description="Does the service follow the chain, and do its transactions land?",
    sections=[
        Section(
            "Do the books follow the chain?",
            [
                Number(
                    "Slots behind",
                    "An alert above 50.",
                    "none",
                    over("max", "cvms_indexer_lag_slots"),
                ),
                Number(
                    "Slot",
                    "Up to which events are applied.",
                    "none",
                    over("max", "cvms_indexer_slot"),
                ),
                Number(
                    "Missing transactions",
                    "Listed by the chain, and not applied yet.",
                    "none",
                    over("max", "cvms_indexer_gap_signatures"),
                ),
                Number(
                    "Differences that are not corrected",
                    "Of the last hour.",
                    "none",
                    or_zero(
                        in_an_hour("cvms_reconciliation_differences_total", where='healed="false"')
                    ),
                ),
                Number(
                    "Transactions of unknown outcome",
                    "Each waits for a person.",
                    "none",
                    over(
                        "max", "cvms_transaction_submissions_under_way", where='state="quarantined"'
                    ),
                ),
                Number(
                    "SOL of the operator",
                    "Of the key that pays fees; an alert below 0.1.",
                    "none",
                    over("min", "cvms_operator_lamports") + " / 1e9",
                ),
            ],
        ),
        Section(
            "Is the indexer late?",
            [
                Graph(
                    "Lag in slots",
                    "Between the chain and the indexer.",
                    "short",
                    [Query(over("max", "cvms_indexer_lag_slots"), "slots")],
                ),
                Graph(
                    "Lag in seconds",
                    "Since all confirmed transactions were last known to be applied.",
                    "s",
                    [Query(over("max", "cvms_indexer_lag_seconds"), "seconds")],
                ),
                Graph(
                    "Work",
                    "In a second.",
                    "short",
                    [
                        Query(per_second("cvms_indexer_batches_total"), "batches"),
                        Query(
                            per_second("cvms_indexer_retracted_events_total"), "events rolled back"
                        ),
                        Query(per_second("cvms_indexer_rebuilt_logs_total"), "logs reconstructed"),
                        Query(
                            per_second("cvms_indexer_unread_logs_total"), "logs that lack events"
                        ),
                    ],
                ),
            ],
        ),
        Section(
            "Is it a provider?",
            [
                Graph(
                    "Endpoints in use",
                    "1 while an endpoint is reachable and on the right chain.",
                    "bool_on_off",
                    [Query(over("min", "cvms_rpc_endpoint_up", by="endpoint"), "{{endpoint}}")],
                ),
                Graph(
                    "Response time",
                    "Of an endpoint: on average, and that of 95 in 100 attempts.",
                    "s",
                    [
                        Query(
                            average("cvms_rpc_request_duration_seconds", by="endpoint"),
                            "{{endpoint}}, average",
                        ),
                        Query(
                            quantile(0.95, "cvms_rpc_request_duration_seconds", by="endpoint"),
                            "{{endpoint}}, 95 %",
                        ),
                    ],
                ),
                Graph(
                    "Requests by outcome",
                    "Attempts at an endpoint in a second.",
                    "reqps",
                    [
                        Query(
                            per_second("cvms_rpc_endpoint_requests_total", by="endpoint, outcome"),
                            "{{endpoint}} {{outcome}}",
                        )
                    ],
                ),
                Graph(
                    "Methods",
                    "Requests in a second.",
                    "reqps",
                    [Query(top(per_second("cvms_rpc_requests_total", by="method")), "{{method}}")],
                ),
                Graph(
                    "Newest slot",
                    "Seen at each endpoint, behind the best one.",
                    "short",
                    [Query(BEHIND_THE_BEST, "{{endpoint}}")],
                ),
                Graph(
                    "Disagreements",
                    "Comparisons in an hour in which an endpoint had another block or chain.",
                    "short",
                    [
                        Query(
                            or_zero(in_an_hour("cvms_rpc_disagreements_total", by="endpoint")),
                            "{{endpoint}}",
                        )
                    ],
                ),
            ],
        ),
        Section(
            "Do transactions land?",
            [
                Graph(
                    "Outcomes",
                    "Transactions in a second, by the state that they reached.",
                    "short",
                    [
                        Query(
                            per_second("cvms_transaction_submissions_total", by="state"),
                            "{{state}}",
                        ),
                        Query(per_second("cvms_transaction_resends_total"), "sent again"),
                    ],
                ),
                Graph(
                    "Under way",
                    "Without a final outcome.",
                    "short",
                    [
                        Query(
                            over("max", "cvms_transaction_submissions_under_way", by="state"),
                            "{{state}}",
                        )
                    ],
                ),
                Graph(
                    "Time to confirm",
                    "From the last signature until a block is seen.",
                    "s",
                    [
                        Query(quantile(0.5, "cvms_transaction_confirmation_seconds"), "half"),
                        Query(quantile(0.95, "cvms_transaction_confirmation_seconds"), "95 %"),
                        Query(
                            over("max", "cvms_transaction_submission_oldest_seconds"),
                            "the oldest in flight",
                        ),
                    ],
                ),
            ],
        ),
        Section(
            "Can the operator pay?",
            [
                Graph(
                    "Balance",
                    "SOL of each key.",
                    "short",
                    [
                        Query(
                            over("max", "cvms_operator_signer_lamports", by="address") + " / 1e9",
                            "{{address}}",
                        )
                    ],
                ),
                Graph(
                    "Signers",
                    "1 while a signer signs.",
                    "bool_on_off",
                    [
                        Query(
                            over("min", "cvms_operator_signer_available", by="address"),
                            "{{address}}",
                        ),
                        Query(over("min", "cvms_operator_pays"), "pays for owners"),
                    ],
                ),
                Graph(
                    "Fees of today",
                    "SOL that the operator has signed to pay for owners.",
                    "short",
                    [
                        Query(over("max", "cvms_sponsored_lamports_today") + " / 1e9", "SOL"),
                        Query(over("min", "cvms_priority_fees_known"), "priority fees known"),
                    ],
                ),
            ],
        ),
        Section(
            "Are the books right?",
            [
                Graph(
                    "Comparisons",
                    "Vaults in a second, by outcome.",
                    "short",
                    [
                        Query(
                            per_second("cvms_reconciliation_checks_total", by="outcome"),
                            "{{outcome}}",
                        )
                    ],
                ),
                Graph(
                    "Age of each check",
                    "Seconds since it has completed.",
                    "s",
                    [
                        Query(
                            over("min", "cvms_reconciliation_check_age_seconds", by="check"),
                            "{{check}}",
                        )
                    ],
                ),
                Graph(
                    "Differences",
                    "In an hour, by field.",
                    "short",
                    [
                        Query(
                            or_zero(
                                in_an_hour(
                                    "cvms_reconciliation_differences_total", by="field, healed"
                                )
                                + " > 0"
                            ),
                            "{{field}}, corrected: {{healed}}",
                        )
                    ],
                ),
            ],
        ),
    ],
)
