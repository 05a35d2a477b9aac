"""The groups of `cvms check`, of the settings that can be read."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from psycopg.errors import InsufficientPrivilege, UndefinedTable
from solders.keypair import Keypair
from solders.pubkey import Pubkey

from cvms.chain.rpc.rpc_client import RpcClient, open_rpc
from cvms.chain.types import Programs
from cvms.checks.authority_check import authority_findings, mint_findings
from cvms.checks.database_check import database_findings, unreachable
from cvms.checks.deployment import Deployment, DeploymentReader
from cvms.checks.endpoint_check import (
    EndpointReport,
    endpoint_reports,
    expected_genesis,
    genesis_findings,
    pubsub_finding,
)
from cvms.checks.finding import Finding, failure, ok, skipped, warning
from cvms.checks.groups import Group
from cvms.checks.operator_check import balance_finding, key_finding
from cvms.checks.program_check import program_findings, shipped_hashes
from cvms.checks.redis_check import redis_findings
from cvms.checks.settings_check import load_checked
from cvms.checks.webhook_check import Connect, webhook_findings
from cvms.config.alert_settings import AlertSettings
from cvms.config.fields import settings_of
from cvms.config.loader import pubsub_url
from cvms.config.operator_settings import OperatorSource, SignerSettings, Sponsoring
from cvms.config.settings import Config
from cvms.errors import ConfigurationError, DatabaseUnavailable, one_line
from cvms.signing.open_signers import open_signers
from cvms.signing.signer_set import SignerSet
from cvms.store.index import chain_genesis
from cvms.store.postgres.database import open_database

BAD_SETTINGS, NO_DATABASE = "bad settings", "no database"
NO_CHAIN, ANOTHER_CHAIN = "no chain", "no endpoint of this chain"


@dataclass(slots=True, eq=False)
class Observed:
    """What a group has seen, for the groups after it."""

    database: bool = False
    genesis: str | None = None
    other_mint: str | None = None
    endpoints: Sequence[EndpointReport] = ()
    deployment: Deployment | None = None


@dataclass(slots=True, kw_only=True, eq=False)
class Checks:
    """All groups. A setting that cannot be read is None, and blocks what needs it."""

    environ: Mapping[str, str]
    connect: Connect
    observed: Observed = field(default_factory=Observed)

    def groups(self) -> list[Group]:
        """Return the groups in the order in which they are shown."""
        chain = ("database", "endpoints")  # the database says which chain it is
        return [
            Group(name="settings", run=self._settings),
            Group(name="database", run=self._database, blocked=self._without("database_url")),
            Group(name="redis", run=self._redis),
            Group(name="endpoints", run=self._endpoints, blocked=self._without("rpc_urls")),
            Group(name="chain", run=self._chain, after=chain, blocked=self._unreached),
            Group(name="programs", run=self._programs, after=chain, blocked=self._no_chain),
            Group(
                name="authority",
                run=self._authority,
                after=("programs",),
                blocked=self._no_deployment,
            ),
            Group(
                name="mint",
                run=self._mint,
                after=("programs",),
                blocked=self._no_deployment,
            ),
            Group(
                name="operator", run=self._operator, after=chain, blocked=self._without("operators")
            ),
            Group(name="webhooks", run=self._webhooks, blocked=self._without("alerts")),
        ]

    # --- what blocks a group -------------------------------------------------------------------

    def _setting(self, name: str) -> Any:
        """Return a setting, None if it is bad or not set."""
        value = None
        try:
            value = settings_of(Config).members[name].read(self.environ)
        except* ConfigurationError:
            pass  # the group `settings` reports it
        return value

    def _without(self, name: str) -> Callable[[], str | None]:
        return lambda: BAD_SETTINGS if self._setting(name) is None else None

    def _unreached(self) -> str | None:
        if self._setting("programs") is None:
            return BAD_SETTINGS
        reached = any(each.slot is not None for each in self.observed.endpoints)
        return None if reached else NO_CHAIN

    def _no_chain(self) -> str | None:
        if (reason := self._unreached()) is not None:
            return reason
        return None if self._usable_urls() else ANOTHER_CHAIN

    def _no_deployment(self) -> str | None:
        return "the programs could not be read" if self.observed.deployment is None else None

    # --- the groups ----------------------------------------------------------------------------

    async def _settings(self) -> list[Finding]:
        return load_checked(self.environ)[1]

    async def _database(self) -> list[Finding]:
        try:
            async with (
                open_database(self._setting("database_url")) as database,
                database.dedicated() as conn,
            ):
                pool_size = self._setting("database_connections")
                findings = await database_findings(conn, pool_size=pool_size)
                self.observed.database = True
                # Without the schema, or rights to read it, the findings say so.
                with suppress(UndefinedTable, InsufficientPrivilege):
                    self.observed.genesis = await chain_genesis.read(conn)
                    if (programs := self._setting("programs")) is not None:
                        mint = await chain_genesis.other_mint(conn, str(programs.mint))
                        self.observed.other_mint = mint
        except DatabaseUnavailable as error:
            return unreachable(str(error))
        return findings

    async def _redis(self) -> list[Finding]:
        return await redis_findings(self._setting("redis_url"))

    async def _endpoints(self) -> list[Finding]:
        urls = self._setting("rpc_urls")
        self.observed.endpoints = await endpoint_reports(urls, self._setting("programs"))
        ws_urls = self._setting("ws_urls") if self.environ.get("SOLANA_WS_URL") else None
        found = [finding for each in self.observed.endpoints for finding in each.findings]
        return found + [await pubsub_finding(url) for url in ws_urls or map(pubsub_url, urls)]

    async def _chain(self) -> list[Finding]:
        recorded = self.observed.genesis
        found = genesis_findings(self.observed.endpoints, recorded=recorded)
        if recorded is not None:
            return found
        if not self.observed.database:
            return [*found, skipped("chain_of_database", NO_DATABASE)]
        return [*found, ok("chain_of_database", "not recorded yet: the first start does that")]

    async def _programs(self) -> list[Finding]:
        programs: Programs = self._setting("programs")
        async with self._rpc() as rpc:
            deployment = await DeploymentReader(rpc, programs).read()
        self.observed.deployment = deployment
        operator = self._operator_address()
        return [*program_findings(deployment, shipped=shipped_hashes(), operator=operator)]

    async def _authority(self) -> list[Finding]:
        assert self.observed.deployment is not None
        operator, now = self._operator_address(), datetime.now(UTC)
        return [*authority_findings(self.observed.deployment, operator=operator, now=now)]

    async def _mint(self) -> list[Finding]:
        assert self.observed.deployment is not None
        return [*mint_findings(self.observed.deployment, indexed=self.observed.other_mint)]

    async def _operator(self) -> list[Finding]:
        signing: SignerSettings | None = self._setting("signing")
        try:
            async with open_signers(
                self._setting("operators"), signing or SignerSettings()
            ) as signers:
                addresses, found = signers.addresses, [*self._key_findings(signers)]
        except ConfigurationError as error:
            return [failure("operator_key", one_line(error), "correct OPERATOR_SIGNER")]
        sponsoring: Sponsoring | None = self._setting("sponsoring")
        alerts: AlertSettings | None = self._setting("alerts")
        if sponsoring is None or alerts is None:
            return found
        if (reason := self._no_chain()) is not None:
            return [*found, skipped("operator_balance", reason)]
        async with self._rpc() as rpc:
            for address in addresses:
                found.append(
                    await balance_finding(
                        rpc,
                        address,
                        minimum=sponsoring.operator_minimum,
                        alert_below=alerts.fee_payer_minimum_lamports,
                    )
                )
            return found

    def _key_findings(self, signers: SignerSet) -> Iterator[Finding]:
        if not self.environ.get("OPERATOR_SIGNER"):
            path = self.environ.get("DEPLOYER_KEYPAIR_PATH")
            yield key_finding(signers.preferred.address, path)
            return
        for each in signers.signers:
            if each.available:
                yield ok("operator_key", f"{each.name} signs")
            else:
                advice = "see that it can be reached: `cvms signers` asks it again"
                yield warning("operator_key", f"{each.name}: {each.away_because}", advice)

    async def _webhooks(self) -> list[Finding]:
        alerts: AlertSettings = self._setting("alerts")
        private = bool(self._setting("webhook_private_addresses"))
        return await webhook_findings(alerts.webhooks, private=private, connect=self.connect)

    def _operator_address(self) -> Pubkey | None:
        """Return the address of the first key, None if only its signer knows it."""
        operators: tuple[OperatorSource, ...] | None = self._setting("operators")
        if operators is None:
            return None
        first = operators[0]
        return first.pubkey() if isinstance(first, Keypair) else first.address

    def _usable_urls(self) -> list[str]:
        """Return the endpoints that answer, and are not of another chain than the database's."""
        reports = self.observed.endpoints
        expected = expected_genesis(reports, recorded=self.observed.genesis)
        pairs = zip(self._setting("rpc_urls"), reports, strict=True)
        return [
            url for url, each in pairs if each.slot is not None and each.genesis in {None, expected}
        ]

    @asynccontextmanager
    async def _rpc(self) -> AsyncIterator[RpcClient]:
        async with open_rpc(self._usable_urls()) as rpc:
            yield rpc
