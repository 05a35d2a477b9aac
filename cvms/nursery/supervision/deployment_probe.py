"""Deployment probe: checks programs, authority and mint on the chain, and the database's server."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime

import trio
from solders.pubkey import Pubkey

from cvms.checks.authority_check import authority_findings, mint_findings
from cvms.checks.database_check import server_findings
from cvms.checks.deployment import DeploymentReader
from cvms.checks.finding import Finding, dangers, first_trouble
from cvms.checks.program_check import program_findings, shipped_hashes
from cvms.config.settings import Config
from cvms.errors import DatabaseUnavailable
from cvms.nursery.channels.status_board import StatusBoard
from cvms.store.index import chain_genesis
from cvms.store.postgres.database import Database
from cvms.store.postgres.driver.server_facts import read_server_facts

DEPLOYMENT = "deployment"
"""Of the task, and of the component in /ready."""
CHECK_SECONDS = 30.0
RETRY_SECONDS = 2.0
"""While it is not ready: whoever mends it waits for that."""


@dataclass(slots=True, kw_only=True, eq=False)
class DeploymentProbe:
    """Keeps the board's component `deployment` up to date, and the dangers that become alerts.

    While the chain does not answer, the component stays as it was: the component `rpc` shows that.
    """

    database: Database
    reader: DeploymentReader
    operator: Pubkey
    config: Config
    board: StatusBoard
    _shipped: dict[str, str] = field(default_factory=shipped_hashes, init=False)
    _of_database: list[Finding] = field(default_factory=list, init=False)
    _other_mint: str | None = field(default=None, init=False)

    async def run(self) -> None:
        """Check periodically, more often while something is missing, until cancelled."""
        while True:
            ready = await self.run_once()
            self.board.task_succeeded(DEPLOYMENT)
            await trio.sleep(CHECK_SECONDS if ready else RETRY_SECONDS)

    async def run_once(self) -> bool:
        """Check once; return whether the deployment is ready. Raises what the chain raises."""
        deployment = await self.reader.read()
        await self._check_database()
        operator = self.operator
        found = [
            *program_findings(deployment, shipped=self._shipped, operator=operator),
            *authority_findings(deployment, operator=operator, now=datetime.now(UTC)),
            *mint_findings(deployment, indexed=self._other_mint),
        ]
        trouble = first_trouble(found)
        if trouble is None:
            self.board.set_component(DEPLOYMENT, ok=True, detail="programs, authority and mint")
        else:
            detail = f"{trouble.seen}; {trouble.advice}"
            self.board.set_component(DEPLOYMENT, ok=False, detail=detail, trouble=trouble.kind)
        self.board.dangers = () if self.config.own_chain else dangers([*found, *self._of_database])
        return trouble is None

    async def _check_database(self) -> None:
        """Check the database's server, unless it is away: then what was found last stays."""
        try:
            async with self.database.connection() as conn:
                before = datetime.now(UTC)
                facts = await read_server_facts(conn)
                local = before + (datetime.now(UTC) - before) / 2
                size = self.config.database_connections
                self._of_database = [*server_findings(facts, local=local, pool_size=size)]
                mint = str(self.config.programs.mint)
                self._other_mint = await chain_genesis.other_mint(conn, mint)
        except DatabaseUnavailable:
            return  # the component `database` shows that
