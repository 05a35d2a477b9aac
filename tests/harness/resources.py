"""The settings and the resources of a service under test."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import cache
from typing import Any

from solders.keypair import Keypair

from cvms.config.admin_settings import AdminSettings
from cvms.config.loader import load_programs
from cvms.config.settings import Config, Rates
from cvms.log.configuration import ProcessLog
from cvms.metrics import Metrics
from cvms.nursery.channels.status_board import StatusBoard
from cvms.nursery.wiring.resources import Resources, open_resources
from cvms.signing.signer_set import SignerSet, keypair_signer
from cvms.store.postgres.database import Database
from cvms.store.postgres.driver.connection import Connection
from cvms.store.postgres.migrations import migrations
from cvms.store.postgres.row_mapping import fetch_value

NOWHERE = "http://127.0.0.1:1"  # nothing listens on port 1: refused at once
UNLIMITED = Rates(address=None, sensitive=None, owner=None, everybody=None)


def config_for_tests(database_url: str, **settings: Any) -> Config:
    """Return settings with any free port and no rate limits, and no chain unless one is given.

    `operator` is the only key of the operator, `operators` are several.
    """
    if "operator" in settings:
        settings["operators"] = (settings.pop("operator"),)
    defaults: dict[str, Any] = {
        "operators": (Keypair(),),
        "database_url": database_url,
        "programs": load_programs({}),
        "port": 0,
        "rpc_urls": (NOWHERE,),
        "ws_urls": (NOWHERE.replace("http", "ws"),),
        "rates": UNLIMITED,
        "admin": AdminSettings(approvals=1),
    }
    return Config(**(defaults | settings))


def keypair_of(config: Config) -> Keypair:
    """Return the operator's first key, which is in memory."""
    key = config.operators[0]
    assert isinstance(key, Keypair)
    return key


def signers_of(*keypairs: Keypair, minimum: int = 0) -> SignerSet:
    """Return the signers of these keys, which need so many lamports to pay for others."""
    return SignerSet(tuple(keypair_signer(each, minimum=minimum) for each in keypairs))


@asynccontextmanager
async def open_prepared_resources(
    config: Config, process_log: ProcessLog | None = None
) -> AsyncIterator[Resources]:
    """Open the resources of a process, with the schema applied."""
    async with open_resources(
        config, board=StatusBoard(), metrics=Metrics(), process_log=process_log
    ) as resources:
        await prepare(resources.database)
        yield resources


async def prepare(database: Database) -> None:
    """Apply the schema, unless the database is a clone of the template that has it.

    To find all migrations applied takes as long as the clone.
    """
    database.schema_ready = True
    async with database.connection() as conn:
        database.schema_ready = await _newest_version(conn) == _newest_migration()
    if not database.schema_ready:
        await database.prepare()


@cache
def _newest_migration() -> int:
    """Return its version, read once: the migrations are 35 files."""
    return migrations()[-1].version


async def _newest_version(conn: Connection) -> int | None:
    if not await fetch_value(conn, "SELECT to_regclass('schema_migrations') IS NOT NULL"):
        return None
    version: int | None = await fetch_value(conn, "SELECT max(version) FROM schema_migrations")
    return version
