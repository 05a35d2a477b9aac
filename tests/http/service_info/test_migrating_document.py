"""docs/migrating.md answers for all that the earlier service had, and names what exists today."""

from __future__ import annotations

import re
from collections.abc import Iterator

from cvms.config.fields import settings_of
from cvms.config.settings import Config
from cvms.store.messaging.topics import Topic
from tests.harness.service import Service
from tests.paths import ROOT

TEXT = (ROOT / "docs" / "migrating.md").read_text()

EARLIER_ROUTES = """
GET /health
GET /ready
GET /metrics
GET /ws
POST /auth/nonce
POST /vault/initialize
POST /vault/deposit
POST /vault/withdraw
POST /vault/schedule-withdraw
POST /vault/request-withdraw
POST /vault/emergency-withdraw
GET /vault/config/:owner
GET /vault/timelocks/:owner
POST /vault/propose-withdraw
POST /vault/approve-withdraw
GET /vault/proposal/:id
GET /vault/balance/:owner
GET /vault/transactions/:owner
GET /vault/tvl
GET /vault/limits/:owner
GET /vault/yield-status/:owner
POST /vault/yield-deposit
POST /vault/yield-withdraw
POST /vault/compound
POST /vault/delegate/add
DELETE /vault/delegate/remove
POST /admin/withdraw/whitelist/add
DELETE /admin/withdraw/whitelist/remove
POST /admin/withdraw/min-delay/set
POST /admin/withdraw/rate-limit/set
POST /admin/vault-authority/add
POST /admin/yield-program/add
POST /admin/yield-program/remove
POST /admin/risk-level/set
POST /admin/vault-token-account/set
POST /internal/transfer-collateral
POST /2fa/setup
POST /2fa/verify
GET /analytics/tvl-series
GET /analytics/distribution
GET /analytics/utilization
POST /pm/lock
POST /pm/unlock
"""
EARLIER_SETTINGS = """
HOST PORT DATABASE_URL DB_MAX_CONNECTIONS SOLANA_RPC_URL PROGRAM_ID POSITION_MANAGER_PROGRAM_ID
USDT_MINT DEPLOYER_KEYPAIR_PATH DEPLOYER_KEYPAIR_BASE64 VAULT_AUTHORITY_PUBKEY ADMIN_JWT_SECRET
RECONCILIATION_THRESHOLD LOW_BALANCE_THRESHOLD REDIS_URL LOG_LEVEL
"""
EARLIER_TABLES = """
vaults transactions nonces timelocks withdraw_whitelist vault_delegates authorized_programs twofa
reconciliation_logs balance_snapshots audit_trail yield_events protocol_apy ms_proposals
ms_approvals ms_signer_contacts
"""
EARLIER_METRICS = """
vault_operations_total vault_deposits_total vault_withdrawals_total vault_locks_total
vault_unlocks_total vault_balance_queries_total transaction_submissions_total
transaction_failures_total reconciliation_discrepancies_total active_vaults total_value_locked
request_duration_seconds balance_query_duration_seconds transaction_duration_seconds
"""
EARLIER_TOPICS = """
deposit_event withdraw_event lock_event unlock_event timelock_event vault_balance_update tvl_update
security_alert analytics_update
"""
NAME = re.compile(r"`([^`]+)`")
RULE = re.compile(r"^\|(?:---\|)+\n", re.MULTILINE)


def table(heading: str, *, number: int = 0) -> Iterator[tuple[list[str], list[str]]]:
    """Yield the names in the first two cells of each row of a table under the heading."""
    section = TEXT.partition(f"\n## {heading}\n")[2].partition("\n## ")[0]
    rows = RULE.split(section)[number + 1].partition("\n\n")[0]
    for row in rows.splitlines():
        first, second, *_ = row.strip("|").split("|")
        yield NAME.findall(first), NAME.findall(second)


def earlier(heading: str, *, number: int = 0) -> list[str]:
    return sorted(name for names, _ in table(heading, number=number) for name in names)


def today(heading: str) -> set[str]:
    return {name for _, names in table(heading) for name in names}


async def test_each_route_has_a_successor_that_exists(service: Service) -> None:
    assert earlier("Routes") == sorted(EARLIER_ROUTES.strip().splitlines())
    assert all(len(names) == 1 for _, names in table("Routes"))
    document = (await service.get("/openapi.json")).json()
    routes = {
        f"{method.upper()} {path}" for path, item in document["paths"].items() for method in item
    }
    assert today("Routes") - routes == {"GET /ws"}
    assert "GET /api/config" in routes
    assert "`GET /api/config`" in TEXT


def test_each_setting_has_a_successor_that_exists() -> None:
    assert earlier("Settings") == sorted(EARLIER_SETTINGS.split())
    assert today("Settings") <= {setting.name for setting in settings_of(Config)}


def test_each_table_has_a_successor_that_exists() -> None:
    assert earlier("Tables") == sorted(EARLIER_TABLES.split())
    tables = re.findall(r"^CREATE TABLE (\w+)", (ROOT / "schema.sql").read_text(), re.MULTILINE)
    assert today("Tables") <= set(tables)


def test_each_topic_is_explained() -> None:
    named = earlier("WebSocket", number=1)
    assert set(EARLIER_TOPICS.split()) <= set(named)
    assert sorted(named) == sorted(Topic)


async def test_each_metric_has_a_successor_that_exists(service: Service) -> None:
    assert earlier("Metrics") == sorted(EARLIER_METRICS.split())
    exposed = (await service.get("/metrics")).text
    names = set(re.findall(r"^# TYPE (\w+) ", exposed, re.MULTILINE))
    assert today("Metrics") <= names
