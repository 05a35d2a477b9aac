"""The dashboard of the service: requests, readiness, database, process."""

from __future__ import annotations

from deploy.monitoring.dashboards.promql import (
    WITHOUT_PROBES,
    in_an_hour,
    or_zero,
    over,
    per_second,
    quantile,
    series,
    top,
)
from deploy.monitoring.dashboards.rendering import Board, Graph, Number, Query, Section

SERVICE = Board(
    name="service",
    title="CVMS service",
    description="Does the service answer, and if not, which part is the reason?",
    sections=[
        Section(
            "Does it serve?",
            [
                Number(
                    "Processes that answer",
                    "Processes that answered the last scrape.",
                    "none",
                    over("sum", "up"),
                ),
                Number("Leaders", "Must be 1.", "none", over("sum", "cvms_leader")),
                Number(
                    "Components that are not ready",
                    "Of all processes: GET /ready names them.",
                    "none",
                    f"sum(1 - {series('cvms_component_up')})",
                ),
                Number(
                    "Open alerts of the service",
                    "GET /api/admin/alerts lists them.",
                    "none",
                    or_zero(f"sum({over('max', 'cvms_alerts_open', by='kind, severity')})"),
                ),
                Number(
                    "Requests with a 5xx, of the last hour",
                    "The objective is at most 0.1 %.",
                    "percentunit",
                    series("job:cvms_http_errors:ratio_rate1h"),
                ),
                Number(
                    "Slow requests, of the last hour",
                    "Slower than a quarter of a second: the objective is at most 5 %.",
                    "percentunit",
                    series("job:cvms_http_slow:ratio_rate1h"),
                ),
            ],
        ),
        Section(
            "What do clients see?",
            [
                Graph(
                    "Requests by status",
                    "Requests in a second, without probes.",
                    "reqps",
                    [
                        Query(
                            per_second(
                                "cvms_http_requests_total", by="status", where=WITHOUT_PROBES
                            ),
                            "{{status}}",
                        )
                    ],
                ),
                Graph(
                    "Time to answer",
                    "Of all routes but the probes.",
                    "s",
                    [
                        Query(
                            quantile(
                                0.5, "cvms_http_request_duration_seconds", where=WITHOUT_PROBES
                            ),
                            "half",
                        ),
                        Query(
                            quantile(
                                0.95, "cvms_http_request_duration_seconds", where=WITHOUT_PROBES
                            ),
                            "95 %",
                        ),
                        Query(
                            quantile(
                                0.99, "cvms_http_request_duration_seconds", where=WITHOUT_PROBES
                            ),
                            "99 %",
                        ),
                    ],
                ),
                Graph(
                    "The slowest routes",
                    "Within this time, 95 % are answered.",
                    "s",
                    [
                        Query(
                            top(
                                quantile(
                                    0.95,
                                    "cvms_http_request_duration_seconds",
                                    by="route",
                                    where=WITHOUT_PROBES,
                                )
                            ),
                            "{{route}}",
                        )
                    ],
                ),
                Graph(
                    "The most used routes",
                    "Requests in a second.",
                    "reqps",
                    [
                        Query(
                            top(
                                per_second(
                                    "cvms_http_requests_total", by="route", where=WITHOUT_PROBES
                                )
                            ),
                            "{{route}}",
                        )
                    ],
                ),
                Graph(
                    "Refused",
                    "With 429 by a rate limit, or to stay available.",
                    "reqps",
                    [
                        Query(
                            or_zero(per_second("cvms_requests_limited_total", by="scope")),
                            "limit: {{scope}}",
                        ),
                        Query(
                            or_zero(per_second("cvms_http_refused_total", by="reason")),
                            "refused: {{reason}}",
                        ),
                    ],
                ),
                Graph(
                    "How fast the budgets are spent",
                    "1 spends it in 30 days. Alerts: 14.4 over an hour, 6 over six.",
                    "none",
                    [
                        Query(
                            series("job:cvms_http_errors:ratio_rate1h") + " / 0.001",
                            "errors, one hour",
                        ),
                        Query(
                            series("job:cvms_http_slow:ratio_rate1h") + " / 0.05", "slow, one hour"
                        ),
                        Query(
                            series("job:cvms_http_errors:ratio_rate6h") + " / 0.001",
                            "errors, six hours",
                        ),
                        Query(
                            series("job:cvms_http_slow:ratio_rate6h") + " / 0.05", "slow, six hours"
                        ),
                    ],
                ),
            ],
        ),
        Section(
            "What is not ready?",
            [
                Graph(
                    "Components",
                    "1 while a part of /ready is ok.",
                    "bool_on_off",
                    [Query(over("min", "cvms_component_up", by="component"), "{{component}}")],
                ),
                Graph(
                    "Tasks",
                    "1 while some replica runs it.",
                    "bool_on_off",
                    [Query(over("max", "cvms_task_up", by="task"), "{{task}}")],
                ),
                Graph(
                    "Restarts of tasks",
                    "In an hour.",
                    "short",
                    [Query(or_zero(in_an_hour("cvms_task_restarts_total", by="task")), "{{task}}")],
                ),
                Graph(
                    "Duration of a run",
                    "Of each task: 95 % are shorter.",
                    "s",
                    [
                        Query(
                            quantile(0.95, "cvms_task_run_duration_seconds", by="task"), "{{task}}"
                        )
                    ],
                ),
                Graph(
                    "Lines of the log",
                    "In a second.",
                    "short",
                    [Query(per_second("cvms_log_lines_total", by="level"), "{{level}}")],
                ),
                Graph(
                    "Alerts of the service",
                    "Open now, by kind.",
                    "short",
                    [
                        Query(
                            or_zero(over("max", "cvms_alerts_open", by="kind, severity") + " > 0"),
                            "{{kind}} {{severity}}",
                        )
                    ],
                ),
            ],
        ),
        Section(
            "Is the database the reason?",
            [
                Graph(
                    "Connections",
                    "Of the pool, by state.",
                    "short",
                    [
                        Query(
                            over("sum", "cvms_database_pool_connections", by="state"), "{{state}}"
                        ),
                        Query(over("sum", "cvms_database_pool_waiting"), "requests that wait"),
                    ],
                ),
                Graph(
                    "Wait for a connection",
                    "95 % wait shorter.",
                    "s",
                    [Query(quantile(0.95, "cvms_database_pool_wait_seconds"), "95 %")],
                ),
                Graph(
                    "Database on its disk",
                    "Its files, and the WAL that the slowest replication slot keeps.",
                    "bytes",
                    [
                        Query(over("max", "cvms_database_size_bytes"), "files"),
                        Query(over("max", "cvms_database_slot_wal_bytes"), "kept WAL"),
                    ],
                ),
                Graph(
                    "Queries",
                    "In a second, by outcome; and transactions that were repeated.",
                    "ops",
                    [
                        Query(
                            per_second("cvms_database_queries_total", by="outcome"), "{{outcome}}"
                        ),
                        Query(
                            per_second("cvms_database_transaction_repeats_total"),
                            "repeated transactions",
                        ),
                    ],
                ),
            ],
        ),
        Section(
            "Is it the process?",
            [
                Graph(
                    "Memory",
                    "Resident, of each process.",
                    "bytes",
                    [Query(series("process_resident_memory_bytes"), "{{instance}}")],
                ),
                Graph(
                    "Processor",
                    "Cores that each process uses.",
                    "short",
                    [Query(per_second("process_cpu_seconds_total", by="instance"), "{{instance}}")],
                ),
                Graph(
                    "Open files",
                    "Of each process.",
                    "short",
                    [Query(series("process_open_fds"), "{{instance}}")],
                ),
            ],
        ),
        Section(
            "Do events arrive?",
            [
                Graph(
                    "WebSocket clients",
                    "Open connections.",
                    "short",
                    [Query(over("sum", "cvms_websocket_clients"), "clients")],
                ),
                Graph(
                    "Frames",
                    "Sent in a second, by topic; and connections that ended, by reason.",
                    "short",
                    [
                        Query(
                            or_zero(per_second("cvms_websocket_frames_total", by="topic")),
                            "{{topic}}",
                        ),
                        Query(
                            or_zero(per_second("cvms_websocket_closed_total", by="reason")),
                            "closed: {{reason}}",
                        ),
                    ],
                ),
                Graph(
                    "Outbox",
                    "Age of the oldest message that was not handed out.",
                    "s",
                    [Query(over("max", "cvms_outbox_lag_seconds"), "lag")],
                ),
            ],
        ),
    ],
)
