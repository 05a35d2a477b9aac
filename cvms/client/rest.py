"""The routes of the service, typed; those that a wallet signs for are signed here."""

from __future__ import annotations

import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, TypeVar

import anyio
import httpx

from cvms.client.errors import ClientError, TransactionFailed
from cvms.client.replies import (
    Accepted,
    Balance,
    CoSign,
    History,
    Movement,
    Nonce,
    Outcome,
    TransactionState,
    Tvl,
)
from cvms.client.stream import Stream, Topic
from cvms.client.transport import PATIENCE_SECONDS, Transport
from cvms.client.wallet import Wallet

T = TypeVar("T")

ENDED = frozenset({"failed", "expired", "quarantined"})
POLL_SECONDS = 0.25
REQUEST_SECONDS = 20.0


class Client:
    """One wallet's view of the service, or without a wallet what everybody may read.

    Every method raises Problem when the service refuses and ServiceUnavailable when it does not
    answer. Requests that may be repeated are, within `patience`: the signed ones too, since each
    carries an Idempotency-Key.
    """

    def __init__(self, transport: Transport, url: str, wallet: Wallet | None) -> None:
        self._transport = transport
        self._url = url
        self._wallet = wallet

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

    # --- what everybody may read ---------------------------------------------------------------

    async def balance(self, owner: str | None = None, *, slot: int | None = None) -> Balance:
        """A vault's balances now, or as they were in `slot`."""
        path = f"/api/vault/balance/{owner or self.address}"
        return await self._transport.get(path, Balance, {"slot": slot})

    async def vault(self, owner: str | None = None) -> dict[str, Any]:
        """The whole state of a vault."""
        return await self._transport.get(f"/api/vault/{owner or self.address}", dict[str, Any])

    async def history(
        self,
        owner: str | None = None,
        *,
        kind: str | None = None,
        limit: int = 50,
        cursor: int | str | None = None,
    ) -> History:
        """A page of a vault's history."""
        path = f"/api/vault/transactions/{owner or self.address}"
        return await self._transport.get(
            path, History, {"kind": kind, "limit": limit, "cursor": cursor}
        )

    async def movements(
        self, owner: str | None = None, *, kind: str | None = None, at_most: int = 1000
    ) -> list[Movement]:
        """The newest lines of a vault's history, page after page."""
        found: list[Movement] = []
        cursor: int | str | None = None
        while len(found) < at_most:
            limit = min(100, at_most - len(found))
            page = await self.history(owner, kind=kind, limit=limit, cursor=cursor)
            found += page.transactions
            cursor = page.next_cursor
            if cursor is None:
                break
        return found

    async def tvl(self) -> Tvl:
        """All vaults together."""
        return await self._transport.get("/api/vault/tvl", Tvl)

    async def transaction(self, signature: str) -> TransactionState:
        """Where a transaction stands that the service built."""
        return await self._transport.get(f"/api/transactions/{signature}", TransactionState)

    def stream(self, *topics: Topic) -> Stream:
        """The events of these topics from now on, whatever happens to the connection."""
        return Stream(self._url, topics)

    # --- what the wallet signs -----------------------------------------------------------------

    async def initialize(self) -> Outcome:
        """Open the wallet's vault."""
        return await self._post("/api/vault/initialize", {"user_pubkey": self.address})

    async def deposit(self, amount: int) -> Outcome:
        return await self._signed("/api/vault/deposit", "deposit", amount=amount)

    async def withdraw(
        self, amount: int, *, recipient: str | None = None, code: str | None = None
    ) -> Outcome:
        """`code`: of the second factor, where the owner has one."""
        path = "/api/vault/withdraw"
        return await self._signed(
            path, "withdraw", amount=amount, unsigned_recipient=recipient, code=code
        )

    async def request_withdraw(self, amount: int, *, code: str | None = None) -> Outcome:
        path = "/api/vault/request-withdraw"
        return await self._signed(path, "request_withdraw", amount=amount, code=code)

    async def schedule_withdraw(
        self, amount: int, duration_seconds: int, *, code: str | None = None
    ) -> Outcome:
        return await self._signed(
            "/api/vault/schedule-withdraw",
            "schedule",
            amount=amount,
            duration_seconds=duration_seconds,
            code=code,
        )

    async def release_timelocks(self) -> Outcome:
        """Give back what has matured."""
        return await self._post("/api/vault/release-timelocks", {"owner": self.address})

    async def add_delegate(self, delegate: str) -> Outcome:
        path = "/api/vault/delegate/add"
        return await self._signed(path, "delegate_add", delegate=delegate)

    async def remove_delegate(self, delegate: str) -> Outcome:
        path = "/api/vault/delegate/remove"
        return await self._signed(path, "delegate_remove", delegate=delegate, method="DELETE")

    async def lock(self, amount: int) -> Outcome:
        """Open a position with so much collateral."""
        return await self._signed("/api/pm/lock", "pm_lock", amount=amount)

    async def unlock(self, amount: int) -> Outcome:
        return await self._signed("/api/pm/unlock", "pm_unlock", amount=amount)

    async def yield_deposit(self, amount: int, yield_program: str) -> Outcome:
        path = "/api/vault/yield-deposit"
        return await self._signed(path, "yield_deposit", amount=amount, yield_program=yield_program)

    async def yield_withdraw(self, amount: int, yield_program: str) -> Outcome:
        path = "/api/vault/yield-withdraw"
        return await self._signed(
            path, "yield_withdraw", amount=amount, yield_program=yield_program
        )

    async def compound(self, amount: int, yield_program: str) -> Outcome:
        return await self._signed(
            "/api/vault/compound",
            "compound_yield",
            compounded_amount=amount,
            yield_program=yield_program,
        )

    async def close(self) -> Outcome:
        """Close the wallet's empty vault."""
        return await self._signed("/api/vault/close", "close_vault")

    # --- how it reaches the chain --------------------------------------------------------------

    async def submit(self, transaction: str) -> Accepted:
        """Hand in a transaction (base64) that the service built and the wallet has signed."""
        body = {"transaction": transaction}
        return await self._transport.send("POST", "/api/transactions", Accepted, body, again=True)

    async def finish(self, outcome: Outcome) -> TransactionState:
        """Sign what is to be signed, and wait until the chain has confirmed it.

        Raises TransactionFailed when it ends otherwise.
        """
        signature: str | None
        if isinstance(outcome, CoSign):
            accepted = await self.submit(self.wallet.cosign(outcome.transaction))
            signature = accepted.signature
            if signature is None:
                raise ClientError(f"others have to sign as well: {', '.join(accepted.missing)}")
        else:
            signature = outcome.signature
        return await self.settled(signature)

    async def settled(self, signature: str, *, finalized: bool = False) -> TransactionState:
        """A transaction once it is confirmed, or finalized. Raises TransactionFailed."""
        enough = {"finalized"} if finalized else {"confirmed", "finalized"}
        while True:
            state = await self.transaction(signature)
            if state.status in enough:
                return state
            if state.status in ENDED:
                raise TransactionFailed(signature, state.status, state.error)
            await anyio.sleep(POLL_SECONDS)

    async def nonce(self) -> Nonce:
        """A nonce for the wallet."""
        body = {"owner": self.address}
        return await self._transport.send("POST", "/api/auth/nonce", Nonce, body, again=True)

    async def _signed(
        self,
        path: str,
        action: str,
        *,
        method: str = "POST",
        code: str | None = None,
        unsigned_recipient: str | None = None,
        **fields: Any,
    ) -> Outcome:
        nonce = (await self.nonce()).nonce
        signed = [action, self.address, *fields.values(), nonce]
        body = {
            "owner": self.address,
            **fields,
            "nonce": nonce,
            "signature": self.wallet.sign_text(":".join(map(str, signed))),
        }
        if unsigned_recipient is not None:
            body["recipient"] = unsigned_recipient
        return await self._post(path, body, method=method, code=code)

    async def _post(
        self, path: str, body: Any, *, method: str = "POST", code: str | None = None
    ) -> Outcome:
        headers = {"Idempotency-Key": secrets.token_urlsafe(18)}
        if code is not None:
            headers["X-2FA-CODE"] = code
        kind: type[Outcome] = Outcome  # type: ignore[assignment]
        return await self._transport.send(method, path, kind, body, headers=headers, again=True)


@asynccontextmanager
async def open_client(
    url: str,
    *,
    wallet: Wallet | None = None,
    patience: float = PATIENCE_SECONDS,
    http: httpx.AsyncClient | None = None,
) -> AsyncIterator[Client]:
    """A client of the service at `url`. `patience`: for how many seconds a request is repeated.

    With `http` it uses that one, and leaves it open.
    """
    if http is not None:
        yield Client(Transport(http, url, patience=patience), url, wallet)
        return
    async with httpx.AsyncClient(timeout=REQUEST_SECONDS) as own:
        yield Client(Transport(own, url, patience=patience), url, wallet)
