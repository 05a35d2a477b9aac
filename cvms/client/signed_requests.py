"""Requests that the wallet signs, and the submission of their transactions."""

from __future__ import annotations

import secrets
from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

import anyio

from cvms.client.errors import SignaturesMissing, TransactionFailed, UnexpectedText
from cvms.client.query_client import QueryClient
from cvms.client.schemas import Accepted, CoSign, Nonce, Outcome, Submitted, TransactionState

T = TypeVar("T")

FAILED_STATES = frozenset({"failed", "expired", "quarantined"})
POLL_SECONDS = 0.25
# Fields that may name the wallet, for which the nonce is issued.
SIGNERS = frozenset({"owner", "signer"})


class SigningClient(QueryClient):
    """A client that signs requests and transactions."""

    async def submit(self, transaction: str) -> Accepted:
        """Submit a transaction (base64) that the service built and the wallet has signed."""
        body = {"transaction": transaction}
        return await self._transport.send("POST", "/api/transactions", Accepted, body)

    async def finish(self, outcome: Outcome) -> TransactionState:
        """Sign the transaction if necessary, submit it, and wait until it is confirmed.

        Raises TransactionFailed if it fails, and SignaturesMissing if others must sign, too.
        """
        if isinstance(outcome, Submitted):
            return await self.settled(outcome.signature)
        accepted = await self.submit(self.wallet.cosign(outcome.transaction))
        if accepted.signature is None:
            raise SignaturesMissing(accepted.missing)
        return await self.settled(accepted.signature)

    async def settled(self, signature: str, *, finalized: bool = False) -> TransactionState:
        """Wait until a transaction is confirmed or finalized. Raises TransactionFailed.

        Every transaction reaches a terminal state, but the wait has no deadline of its own.
        """
        enough = {"finalized"} if finalized else {"confirmed", "finalized"}
        while (state := await self.transaction(signature)).status not in enough:
            if state.status in FAILED_STATES:
                raise TransactionFailed(signature, state.status, state.error)
            await anyio.sleep(POLL_SECONDS)
        return state

    async def nonce(self, action: str | None = None, **fields: Any) -> Nonce:
        """Return a new nonce for the wallet, and the text to sign if there is an action."""
        body: dict[str, Any] = {"owner": self.address}
        if action is not None:
            body |= {"action": action, "fields": fields}
        return await self._transport.send("POST", "/api/auth/nonce", Nonce, body)

    async def signed(
        self, action: str, *, absent: Mapping[str, str] | None = None, **fields: Any
    ) -> dict[str, Any]:
        """Return a request's body: the fields, a new nonce, and the signature of both.

        `absent` has what the text says for fields that are None. Signs the service's text, which
        must say what the fields do. Raises UnexpectedText.
        """
        texts = {
            name: (absent or {}).get(name) if value is None else value
            for name, value in fields.items()
        }
        fields = {name: value for name, value in fields.items() if value is not None}
        shown = {
            name: value
            for name, value in fields.items()
            if name not in SIGNERS or value != self.address
        }
        issued = await self.nonce(action, **shown)
        said = [text for text in texts.values() if text is not None]
        expected = ":".join(map(_as_signed, (action, *said, issued.nonce)))
        if issued.message != expected:
            raise UnexpectedText(issued.message, expected)
        return {**fields, "nonce": issued.nonce, "signature": self.wallet.sign_text(expected)}

    async def _cosign(
        self,
        path: str,
        action: str,
        *,
        code: str | None = None,
        signers: Sequence[str] | None = None,
        **fields: Any,
    ) -> CoSign:
        body = await self.signed(action, owner=self.address, **fields)
        if signers is not None:
            body["signers"] = list(signers)
        return await self._send(path, body, CoSign, code=code)

    async def _move(
        self,
        path: str,
        action: str,
        *,
        code: str | None = None,
        **fields: Any,
    ) -> Outcome:
        body = await self.signed(action, owner=self.address, **fields)
        kind: type[Outcome] = Outcome  # type: ignore[assignment]
        return await self._send(path, body, kind, code=code)

    async def _send(self, path: str, body: Any, kind: type[T], *, code: str | None = None) -> T:
        headers = {"Idempotency-Key": secrets.token_urlsafe(18)}
        if code is not None:
            headers["X-2FA-CODE"] = code
        return await self._transport.send("POST", path, kind, body, headers=headers)

    async def _send_once(
        self, path: str, body: Any, kind: type[T], *, code: str | None = None
    ) -> T:
        """Send a request that must not be repeated, since it has no Idempotency-Key."""
        headers = None if code is None else {"X-2FA-CODE": code}
        return await self._transport.send(
            "POST", path, kind, body, headers=headers, repeatable=False
        )


def _as_signed(field: object) -> str:
    """Return a field's text in the message that the wallet signs."""
    if isinstance(field, bool):
        return "on" if field else "off"
    if isinstance(field, list):
        return ",".join(field)
    return str(field)
