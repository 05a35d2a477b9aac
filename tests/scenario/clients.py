"""Owners who go through the service: each request is repeated until it is answered."""

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

LEFT_BY_HTTPX = "ignore:.*ByteStream.__aiter__:pytest.PytestUnraisableExceptionWarning"
"""It does not close the body of a request whose connection breaks while it is being sent."""

AGAIN_SECONDS = 0.1
PATIENCE_SECONDS = 30.0
"""How long a client repeats one request before giving it up: the service may be down."""


@dataclass(slots=True)
class Intent:
    """What an owner wants once. The amount is like no other, so that its effect can be told."""

    owner: str
    kind: str
    amount: int
    signature: str | None = None
    outcome: str = "unknown"


class GivenUp(Exception):
    """No answer for too long."""


@dataclass(slots=True)
class Client:
    """A wallet behind a bad connection to a service that comes and goes."""

    url: str
    http: httpx.AsyncClient
    rng: random.Random
    numbers: itertools.count[int]
    intents: list[Intent] = field(default_factory=list)

    async def want(self, owner: Keypair) -> None:
        """Ask for one thing, to its end or until it is refused."""
        route, action, kind = self.rng.choice(WISHES)
        intent = Intent(str(owner.pubkey()), kind, next(self.numbers))
        self.intents.append(intent)
        try:
            intent.outcome = await self._ask(owner, route, action, intent)
        except GivenUp:
            intent.outcome = "given up"

    async def _ask(self, owner: Keypair, route: str, action: str, intent: Intent) -> str:
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
        answer = reply.json()
        if answer["mode"] == "submitted":
            intent.signature = answer["signature"]
            return "submitted"
        transaction = attach_signature(parse_base64(answer["transaction"]), owner)
        signed = {"transaction": base64.b64encode(bytes(transaction)).decode()}
        reply = await self._post("/api/transactions", signed)
        if reply.status_code >= 400:
            return str(reply.json()["code"])
        intent.signature = reply.json()["signature"]
        return "submitted"

    async def _post(
        self, path: str, body: Json, headers: Mapping[str, str] | None = None
    ) -> httpx.Response:
        """The answer, which may be a refusal; sent again while the service is not itself."""
        with trio.move_on_after(PATIENCE_SECONDS):
            while True:
                try:
                    reply = await self.http.post(self.url + path, json=body, headers=headers)
                except httpx.TransportError:
                    await trio.sleep(AGAIN_SECONDS)
                    continue
                if reply.status_code not in {429, 502, 503, 504}:
                    assert reply.status_code < 500, f"{path} answers {reply.text}"
                    return reply
                await trio.sleep(AGAIN_SECONDS)
        raise GivenUp


WISHES = (
    ("/api/vault/deposit", "deposit", "deposit"),
    ("/api/vault/deposit", "deposit", "deposit"),
    ("/api/vault/withdraw", "withdraw", "withdraw"),
    ("/api/pm/lock", "pm_lock", "lock"),
    ("/api/pm/unlock", "pm_unlock", "unlock"),
    ("/api/vault/schedule-withdraw", "schedule", "timelock"),
)
