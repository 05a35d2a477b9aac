"""What everybody may read, typed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import httpx

from cvms.client.errors import ClientError
from cvms.client.retrying_http import RetryingHttp
from cvms.client.schemas import (
    Balance,
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
    VaultConfig,
    VaultLimits,
    VaultList,
    VaultState,
    VaultTimelocks,
)
from cvms.client.wallet import Wallet

LONGEST_PAGE = 100


class QueryClient:
    """Vaults as the service knows them. `owner` is the wallet's where it is left out."""

    def __init__(
        self, http: httpx.AsyncClient, url: str, wallet: Wallet | None, *, patience: float
    ) -> None:
        self._http = http
        self._url = url.rstrip("/")
        self._wallet = wallet
        self._transport = RetryingHttp(http, self._url, patience=patience)

    @property
    def wallet(self) -> Wallet:
        """Raises ClientError when the client was opened without one."""
        if self._wallet is None:
            raise ClientError("this needs a wallet: open_client(url, wallet=Wallet(keypair))")
        return self._wallet

    @property
    def address(self) -> str:
        """The wallet's public key."""
        return self.wallet.address

    def stream(self, *topics: Topic) -> Stream:
        """The events of these topics from now on, whatever happens to the connection."""
        return Stream(self._http, self._url.replace("http", "ws", 1) + "/ws", topics)

    async def request(
        self, method: str, path: str, body: Any = None, *, headers: Mapping[str, str] | None = None
    ) -> Any:
        """The JSON that any route answers, for those without a method here.

        Only GET is repeated.
        """
        again = method == "GET"
        return await self._transport.send(method, path, Any, body, headers=headers, again=again)

    async def balance(self, owner: str | None = None, *, slot: int | None = None) -> Balance:
        """A vault's balances now, or as they were in `slot`."""
        path = f"/api/vault/balance/{owner or self.address}"
        return await self._transport.get(path, Balance, slot=slot)

    async def vault(self, owner: str | None = None) -> VaultState:
        """The whole state of a vault."""
        return await self._transport.get(f"/api/vault/{owner or self.address}", VaultState)

    async def config(self, owner: str | None = None) -> VaultConfig:
        """Who may act for a vault, and within which bounds."""
        return await self._transport.get(f"/api/vault/config/{owner or self.address}", VaultConfig)

    async def yield_policies(self, owner: str | None = None) -> YieldPolicies:
        """What an owner has the service compound by itself."""
        path = f"/api/vault/yield-policy/{owner or self.address}"
        return await self._transport.get(path, YieldPolicies)

    async def timelocks(self, owner: str | None = None) -> VaultTimelocks:
        """What waits in a vault, and for how long."""
        path = f"/api/vault/timelocks/{owner or self.address}"
        return await self._transport.get(path, VaultTimelocks)

    async def limits(self, owner: str | None = None) -> VaultLimits:
        """What bounds a vault's withdrawals."""
        return await self._transport.get(f"/api/vault/limits/{owner or self.address}", VaultLimits)

    async def yield_status(self, owner: str | None = None) -> dict[str, Any]:
        """What a vault has lent, and what each protocol pays; docs/http.md has the fields."""
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
        """A page of a vault's history, newest first."""
        path = f"/api/vault/transactions/{owner or self.address}"
        return await self._transport.get(path, History, kind=kind, limit=limit, cursor=cursor)

    async def movements(
        self, owner: str | None = None, *, kind: str | None = None, at_most: int = 1000
    ) -> list[Movement]:
        """The newest lines of a vault's history, page after page."""
        found: list[Movement] = []
        cursor: int | str | None = None
        while len(found) < at_most:
            limit = min(LONGEST_PAGE, at_most - len(found))
            page = await self.history(owner, kind=kind, limit=limit, cursor=cursor)
            found += page.transactions
            cursor = page.next_cursor
            if cursor is None:
                break
        return found

    async def vaults(
        self,
        *,
        sort: Literal["owner", "balance_desc", "balance_asc", "slot"] = "owner",
        min_balance: int = 0,
        limit: int = 50,
        cursor: str | None = None,
    ) -> VaultList:
        """A page of open vaults. A cursor goes with its sort."""
        return await self._transport.get(
            "/api/vaults",
            VaultList,
            sort=sort,
            min_balance=min_balance,
            limit=limit,
            cursor=cursor,
        )

    async def tvl(self) -> Tvl:
        """All vaults together."""
        return await self._transport.get("/api/vault/tvl", Tvl)

    async def transaction(self, signature: str) -> TransactionState:
        """Where a transaction stands that the service built."""
        return await self._transport.get(f"/api/transactions/{signature}", TransactionState)

    async def proposal(self, proposal_id: str) -> Proposal:
        """Where a withdrawal stands that several must sign."""
        return await self._transport.get(f"/api/vault/proposal/{proposal_id}", Proposal)

    async def second_factor(self, owner: str | None = None) -> SecondFactorStatus:
        """Whether an owner's withdrawals take a code."""
        path = f"/api/2fa/status/{owner or self.address}"
        return await self._transport.get(path, SecondFactorStatus)
