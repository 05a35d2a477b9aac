"""The interface of a signer, and the signer of a key that is in this process's memory."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Protocol

from solders.keypair import Keypair
from solders.pubkey import Pubkey
from solders.signature import Signature


class Signer(Protocol):
    """Signs with one Ed25519 key (RFC 8032)."""

    @property
    def address(self) -> Pubkey:
        """The public key, which stays the same."""

    async def sign(self, message: bytes) -> Signature:
        """Sign the message as it is. Raises SignerFailed; may be cancelled at any time."""


@dataclass(frozen=True, slots=True)
class KeypairSigner:
    """Signs with a key in memory, which came from a file or a setting."""

    keypair: Keypair = field(repr=False)

    @property
    def address(self) -> Pubkey:
        return self.keypair.pubkey()

    async def sign(self, message: bytes) -> Signature:
        """Sign at once."""
        return self.keypair.sign_message(message)


def as_signer(key: Signer | Keypair) -> Signer:
    """Return the signer of a key."""
    return KeypairSigner(key) if isinstance(key, Keypair) else key
