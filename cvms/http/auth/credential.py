"""Credentials: who requests a change, and how that is proven."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Protocol

from solders.pubkey import Pubkey

from cvms.errors import CvmsError
from cvms.http.auth import siws, wallet_signature
from cvms.http.auth.wallet_message import signed_forms
from cvms.http.framework.admin_tokens import Administrator
from cvms.http.framework.dependencies import Dependencies
from cvms.http.framework.problems import response_of
from cvms.http.framework.response import Reply
from cvms.store.postgres.driver.connection import Connection
from cvms.store.security import audit_log, nonces


class Credential(Protocol):
    """The proof of who makes a request.

    `check` verifies it before the work and has no effect on the request's outcome. `consume` is
    called in the transaction that writes the effect, and ensures that there is only one effect.
    """

    @property
    def actor(self) -> str:
        """The name of the requester in the audit trail."""

    async def check(self, deps: Dependencies) -> None:
        """Raise unless the proof is valid now."""

    async def consume(self, conn: Connection) -> None:
        """Use up the proof. Raises if it has been used up already."""


@dataclass(frozen=True, slots=True)
class Anonymous:
    """The credential of a request that needs no proof."""

    actor: str = "anonymous"

    async def check(self, deps: Dependencies) -> None:
        """Accept everybody."""

    async def consume(self, conn: Connection) -> None:
        """Do nothing: there is no proof to use up."""


@dataclass(frozen=True, slots=True)
class SignedRequest:
    """A request signed by a wallet, which signed `text` or a `message` that states it.

    See `wallet_message`.
    """

    owner: Pubkey
    text: str
    nonce: str
    signature: str
    message: str | None = None

    @property
    def actor(self) -> str:
        return str(self.owner)

    async def check(self, deps: Dependencies) -> None:
        def check_sign_in(message: str) -> None:
            siws.check_message(
                message,
                deps.config.sign_in,
                signer=self.owner,
                statement=self.text,
                nonce=self.nonce,
                now=datetime.fromtimestamp(deps.wall_clock(), UTC),
            )

        forms = signed_forms(self.text, self.message, self.owner, check_sign_in)
        signed = self.text if self.message is None else self.message
        wallet_signature.verify(self.owner, forms, signed, self.signature)
        async with deps.database.connection() as conn:
            await nonces.check(conn, self.actor, self.nonce)
        # Last, or whoever has seen a request could resend it to use up its owner's rate limit.
        await deps.limits.admit_owner(self.actor)

    async def consume(self, conn: Connection) -> None:
        await nonces.consume(conn, self.actor, self.nonce)


@dataclass(frozen=True, slots=True)
class AdministratorRequest:
    """A request with an administrator token that has been checked already."""

    administrator: Administrator

    @property
    def actor(self) -> str:
        return self.administrator.actor

    async def check(self, deps: Dependencies) -> None:
        """Do nothing: the token was checked before the body was read."""

    async def consume(self, conn: Connection) -> None:
        """Check what others had to approve. The token itself may be used until it expires."""
        await self.administrator.act.consume(conn)


async def record_use(
    conn: Connection,
    credential: Credential,
    outcome: Reply | CvmsError | None,
    *,
    action: str,
    owner: str | None,
    details: Mapping[str, Any],
) -> None:
    """Append to the audit trail what the credential was used for, and tell whom it concerns.

    `outcome` is what is answered, which must be given where a route needs approval. Call it last in
    the transaction.
    """
    refused = isinstance(outcome, CvmsError)
    if isinstance(credential, AdministratorRequest) and outcome is not None:
        told = await credential.administrator.act.finish(conn, response_of(outcome))
        details = {**details, **told}
    await audit_log.record(
        conn,
        actor=credential.actor,
        action=action,
        owner=owner,
        outcome="refused" if refused else "accepted",
        details=details,
    )
