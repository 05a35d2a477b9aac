"""Routes that need no signature, as typed methods."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from datetime import datetime
from typing import Any, Literal

import httpx

from cvms.client.errors import ClientError
from cvms.client.retrying_http import RetryingHttp
from cvms.client.schemas import (
    Balance,
    Deployment,
    History,
    Movement,
    Proposal,
    SecondFactorStatus,
    TransactionState,
    Tvl,
    YieldPolicies,
)
from cvms.client.stream import Stream
from cvms.client.stream_cursors import Topic
from cvms.client.vault_schemas import (
    GuardChanges,
    Statement,
    VaultConfig,
    VaultLimits,
    VaultList,
    VaultState,
    VaultTimelocks,
)
from cvms.client.wallet import Wallet

MAX_PAGE = 100
MAX_STATEMENT_PAGE = 1000
LANDED = frozenset({"confirmed", "finalized"})


class QueryClient:
    """The client's read-only methods. `owner` is by default the wallet's address.

    Replies are never older than what the client has read, received, or seen landing before.
    """

    def __init__(
        self, http: httpx.AsyncClient, url: str, wallet: Wallet | None, *, patience: float
    ) -> None:
        self._http = http
        self._url = url.rstrip("/")
        self._wallet = wallet
        self._transport = RetryingHttp(http, self._url, patience=patience)

    @property
    def wallet(self) -> Wallet:
        """The client's wallet. Raises ClientError if it was opened without one."""
        if self._wallet is None:
            raise ClientError("this needs a wallet: open_client(url, wallet=Wallet(keypair))")
        return self._wallet

    @property
    def address(self) -> str:
        """The wallet's public key."""
        return self.wallet.address

    def stream(self, *topics: Topic) -> Stream:
        """Return a stream of these topics, which survives lost connections."""
        url = self._url.replace("http", "ws", 1) + "/ws"
        return Stream(self._http, url, topics, note_slot=self._transport.note_slot)

    async def request(
        self, method: str, path: str, body: Any = None, *, headers: Mapping[str, str] | None = None
    ) -> Any:
        """Call any route, for those without a method, and return the JSON of the reply.

        Only GET is repeated.
        """
        return await self._transport.send(
            method, path, Any, body, headers=headers, repeatable=method == "GET"
        )

    async def balance(self, owner: str | None = None, *, slot: int | None = None) -> Balance:
        """Return a vault's balances, now or as of `slot`."""
        path = f"/api/vault/balance/{owner or self.address}"
        return await self._transport.get(path, Balance, slot=slot)

    async def vault(self, owner: str | None = None) -> VaultState:
        """Return the whole state of a vault."""
        return await self._transport.get(f"/api/vault/{owner or self.address}", VaultState)

    async def config(self, owner: str | None = None) -> VaultConfig:
        """Return who may act for a vault, and its limits."""
        return await self._transport.get(f"/api/vault/config/{owner or self.address}", VaultConfig)

    async def yield_policies(self, owner: str | None = None) -> YieldPolicies:
        """Return an owner's policies for automatic compounding."""
        path = f"/api/vault/yield-policy/{owner or self.address}"
        return await self._transport.get(path, YieldPolicies)

    async def timelocks(self, owner: str | None = None) -> VaultTimelocks:
        """Return a vault's timelocks."""
        path = f"/api/vault/timelocks/{owner or self.address}"
        return await self._transport.get(path, VaultTimelocks)

    async def limits(self, owner: str | None = None) -> VaultLimits:
        """Return the limits of a vault's withdrawals."""
        return await self._transport.get(f"/api/vault/limits/{owner or self.address}", VaultLimits)

    async def guard_changes(self, owner: str | None = None) -> GuardChanges:
        """Return the requested changes of a vault's guards."""
        path = f"/api/vault/guard-changes/{owner or self.address}"
        return await self._transport.get(path, GuardChanges)

    async def yield_status(self, owner: str | None = None) -> dict[str, Any]:
        """Return a vault's yield positions and the protocols' rates (fields in docs/http.md)."""
        path = f"/api/vault/yield-status/{owner or self.address}"
        return await self._transport.get(path, dict[str, Any])

    async def history(
        self,
        owner: str | None = None,
        *,
        kind: str | None = None,
        limit: int = 50,
        cursor: int | str | None = None,
    ) -> History:
        """Return a page of a vault's history, newest first."""
        path = f"/api/vault/transactions/{owner or self.address}"
        return await self._transport.get(path, History, kind=kind, limit=limit, cursor=cursor)

    async def movements(
        self, owner: str | None = None, *, kind: str | None = None, at_most: int = 1000
    ) -> list[Movement]:
        """Return the newest movements of a vault, over all pages."""
        newest: list[Movement] = []
        cursor: int | str | None = None
        while len(newest) < at_most:
            limit = min(MAX_PAGE, at_most - len(newest))
            page = await self.history(owner, kind=kind, limit=limit, cursor=cursor)
            newest += page.transactions
            cursor = page.next_cursor
            if cursor is None:
                break
        return newest

    async def statement(
        self,
        owner: str | None = None,
        *,
        since: int | datetime | None = None,
        until: int | datetime | None = None,
        limit: int = 100,
    ) -> Statement:
        """Return the first page of a vault's statement, which is a statement by itself.

        `since` belongs to it and `until` does not; each is a slot, or a time with its zone.
        """
        return await self._transport.get(
            f"/api/vault/statement/{owner or self.address}",
            Statement,
            **{"from": _moment(since), "to": _moment(until)},
            limit=limit,
        )

    async def statements(
        self,
        owner: str | None = None,
        *,
        since: int | datetime | None = None,
        until: int | datetime | None = None,
        limit: int = MAX_STATEMENT_PAGE,
    ) -> AsyncIterator[Statement]:
        """Yield all pages of a vault's statement, each of which opens as the one before closes."""
        page = await self.statement(owner, since=since, until=until, limit=limit)
        yield page
        while page.next_from is not None:
            page = await self.statement(owner, since=page.next_from, until=until, limit=limit)
            yield page

    async def vaults(
        self,
        *,
        sort: Literal["owner", "balance_desc", "balance_asc", "slot"] = "owner",
        min_balance: int = 0,
        limit: int = 50,
        cursor: str | None = None,
    ) -> VaultList:
        """Return a page of open vaults. A cursor is valid for its `sort` only."""
        return await self._transport.get(
            "/api/vaults",
            VaultList,
            sort=sort,
            min_balance=min_balance,
            limit=limit,
            cursor=cursor,
        )

    async def deployment(self) -> Deployment:
        """Return the programs, mint, operator, chain and limits of the service."""
        return await self._transport.get("/api/config", Deployment)

    async def tvl(self) -> Tvl:
        """Return the total value locked in all vaults."""
        return await self._transport.get("/api/vault/tvl", Tvl)

    async def transaction(self, signature: str) -> TransactionState:
        """Return the state of a transaction that the service built."""
        path = f"/api/transactions/{signature}"
        state = await self._transport.get(path, TransactionState)
        if state.slot is not None and state.status in LANDED:
            self._transport.note_slot(state.slot)
        return state

    async def proposal(self, proposal_id: str) -> Proposal:
        """Return the state of a multisig withdrawal."""
        return await self._transport.get(f"/api/vault/proposal/{proposal_id}", Proposal)

    async def second_factor(self, owner: str | None = None) -> SecondFactorStatus:
        """Return whether an owner's withdrawals need a code."""
        path = f"/api/2fa/status/{owner or self.address}"
        return await self._transport.get(path, SecondFactorStatus)


def _moment(moment: int | datetime | None) -> str | None:
    if isinstance(moment, datetime):
        return moment.isoformat()
    return None if moment is None else str(moment)
