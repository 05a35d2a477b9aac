"""Who asks for a change, and how that is proven."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Protocol

from solders.pubkey import Pubkey

from cvms.http.auth import siws, wallet_signature
from cvms.http.framework.admin_tokens import Administrator
from cvms.http.framework.dependencies import Dependencies
from cvms.store.postgres.driver.connection import Connection
from cvms.store.security import nonces


class Credential(Protocol):
    """Whoever asks. `check` looks and changes nothing; `consume` belongs to the transaction that
    writes the effect, and makes sure that there is only one.
    """

    @property
    def actor(self) -> str:
        """Under which name the audit trail has it."""

    async def check(self, deps: Dependencies) -> None:
        """Raise unless what proves the request is right, as far as one can see now."""

    async def consume(self, conn: Connection) -> None:
        """Use the proof up. Raises if that has been done."""


@dataclass(frozen=True, slots=True)
class Anonymous:
    """Somebody who has proved nothing, where nothing needs to be proved."""

    actor: str = "anonymous"

    async def check(self, deps: Dependencies) -> None:
        """Anybody may ask."""

    async def consume(self, conn: Connection) -> None:
        """There is nothing to use up."""


@dataclass(frozen=True, slots=True)
class SignedRequest:
    """A request that a wallet has signed, as it came: its text, or a `message` that states it."""

    owner: Pubkey
    text: str
    nonce: str
    signature: str
    message: str | None = None

    @property
    def actor(self) -> str:
        return str(self.owner)

    async def check(self, deps: Dependencies) -> None:
        if self.message is not None:
            siws.check_message(
                self.message,
                deps.config.sign_in,
                signer=self.owner,
                statement=self.text,
                nonce=self.nonce,
                now=datetime.now(UTC),
            )
        signed = self.text if self.message is None else self.message
        wallet_signature.verify(self.owner, signed, self.signature)
        async with deps.database.connection() as conn:
            await nonces.check(conn, self.actor, self.nonce)
        # Last: whoever has seen a request could else send it again and again at its owner's cost.
        await deps.limits.admit_owner(self.actor)

    async def consume(self, conn: Connection) -> None:
        await nonces.consume(conn, self.actor, self.nonce)


@dataclass(frozen=True, slots=True)
class AdministratorRequest:
    """A request under a token that has been checked already."""

    administrator: Administrator

    @property
    def actor(self) -> str:
        return f"admin:{self.administrator.subject}"

    async def check(self, deps: Dependencies) -> None:
        """The token was checked before the body was read."""

    async def consume(self, conn: Connection) -> None:
        """A token is good for its whole life."""
