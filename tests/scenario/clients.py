"""Clients of the service, which repeat each request until they get a reply."""

from __future__ import annotations

import base64
import itertools
import random
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import httpx
import trio
from solders.keypair import Keypair

from cvms.chain.transactions.versioned import attach_signature, parse_base64

Json = dict[str, Any]

IGNORE_HTTPX_WARNING = "ignore:.*ByteStream.__aiter__:pytest.PytestUnraisableExceptionWarning"
"""httpx does not close the body of a request whose connection breaks while it is sent."""

RETRY_SECONDS = 0.1
PATIENCE = 30.0
"""Seconds for which a client repeats one request. The service may be down meanwhile."""

OPERATIONS = (
    ("/api/vault/deposit", "deposit", "deposit"),
    ("/api/vault/deposit", "deposit", "deposit"),
    ("/api/vault/withdraw", "withdraw", "withdraw"),
    ("/api/pm/lock", "pm_lock", "lock"),
    ("/api/pm/unlock", "pm_unlock", "unlock"),
    ("/api/vault/schedule-withdraw", "schedule", "timelock"),
)
"""The route, the action that the wallet signs, and the kind of the effect. One is drawn."""


@dataclass(slots=True)
class Intent:
    """An operation that an owner wants once. Its amount is unique, which identifies its effect."""

    owner: str
    kind: str
    amount: int
    signature: str | None = None
    outcome: str = "unknown"


class RequestAbandoned(Exception):
    """There was no reply within the client's patience."""


@dataclass(slots=True)
class Client:
    """A client of several wallets. The service may fail at any moment."""

    url: str
    http: httpx.AsyncClient
    rng: random.Random
    numbers: itertools.count[int]
    patience: float = PATIENCE
    operations: tuple[tuple[str, str, str], ...] = OPERATIONS
    intents: list[Intent] = field(default_factory=list)

    async def request(self, owner: Keypair) -> None:
        """Request a random operation, until it is submitted, refused or abandoned."""
        route, action, kind = self.rng.choice(self.operations)
        intent = Intent(str(owner.pubkey()), kind, next(self.numbers))
        self.intents.append(intent)
        try:
            intent.outcome = await self._operate(owner, route, action, intent)
        except RequestAbandoned:
            intent.outcome = "abandoned"

    async def _operate(self, owner: Keypair, route: str, action: str, intent: Intent) -> str:
        nonce = (await self._post("/api/auth/nonce", {"owner": intent.owner})).json()["nonce"]
        body: Json = {"owner": intent.owner, "amount": intent.amount}
        if action == "schedule":
            body["duration_seconds"] = 1
        body["nonce"] = nonce
        text = ":".join([action, *map(str, body.values())])
        body["signature"] = str(owner.sign_message(text.encode()))
        key = {"Idempotency-Key": f"{intent.kind}-{intent.amount}"}
        reply = await self._post(route, body, key)
        if reply.status_code >= 400:
            return str(reply.json()["code"])
        result = reply.json()
        if result["mode"] == "submitted":
            intent.signature = result["signature"]
            return "submitted"
        transaction = attach_signature(parse_base64(result["transaction"]), owner)
        signed = {"transaction": base64.b64encode(bytes(transaction)).decode()}
        reply = await self._post("/api/transactions", signed)
        if reply.status_code >= 400:
            return str(reply.json()["code"])
        intent.signature = reply.json()["signature"]
        return "submitted"

    async def _post(
        self, path: str, body: Json, headers: Mapping[str, str] | None = None
    ) -> httpx.Response:
        """Return the reply, which may be a refusal. Repeat the request while there is none."""
        with trio.move_on_after(self.patience):
            while True:
                try:
                    reply = await self.http.post(self.url + path, json=body, headers=headers)
                except httpx.TransportError:
                    await trio.sleep(RETRY_SECONDS)
                    continue
                if reply.status_code not in {429, 502, 503, 504}:
                    assert reply.status_code < 500, f"{path} replied {reply.text}"
                    return reply
                await trio.sleep(RETRY_SECONDS)
        raise RequestAbandoned
