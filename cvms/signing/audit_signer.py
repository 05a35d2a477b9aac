"""Signing of what the service publishes about itself: the audit trail's heads, and proofs.

The secret of a key in a file gives a key of its own. A key that cannot be read signs the texts
itself; none can be taken for a transaction, or for another kind of text
(docs/adr/0021-audit-heads-of-hardware-keys.md).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from cvms.errors import SignerUnavailable
from cvms.signing.guarded_signer import GuardedSigner
from cvms.signing.signer import KeypairSigner
from cvms.signing.signer_set import SignerSet
from cvms.store.security.audit_heads import AuditKey, Head, SignedHead, head_text


@dataclass(frozen=True, slots=True)
class SignedText:
    """An Ed25519 signature, and the public key that it is of."""

    key: bytes
    signature: bytes


@dataclass(frozen=True, slots=True)
class AuditSigner:
    """Signs texts with the key that belongs to one key of the operator."""

    signer: GuardedSigner

    @property
    def public(self) -> bytes:
        """The public key that verifies the signatures."""
        key = self._derived()
        return bytes(self.signer.address) if key is None else key.public

    async def sign_text(self, text: bytes) -> SignedText:
        """Sign a text, whose first line says what it is. Raises SignerUnavailable."""
        key = self._derived()
        if key is not None:
            return SignedText(key.public, key.sign_text(text))
        return SignedText(self.public, bytes(await self.signer.sign(text)))

    def _derived(self) -> AuditKey | None:
        held = self.signer.signer
        return AuditKey(held.keypair.secret()) if isinstance(held, KeypairSigner) else None


@dataclass(frozen=True, slots=True)
class AuditSigners:
    """Those of all keys of the operator, the preferred one first."""

    signers: Sequence[AuditSigner]

    @property
    def public(self) -> list[bytes]:
        return [each.public for each in self.signers]

    async def sign_text(self, text: bytes) -> SignedText:
        """Sign with the first that is available. Raises SignerUnavailable."""
        for each in self.signers:
            if each.signer.available:
                return await each.sign_text(text)
        raise SignerUnavailable("no signer of the operator is available")

    async def sign(self, head: Head, at: datetime) -> SignedHead:
        """Sign the head as the newest at the time `at`. Raises SignerUnavailable."""
        signed = await self.sign_text(head_text(head, at))
        return SignedHead(
            id=head.id, hash=head.hash, signed_at=at, key=signed.key, signature=signed.signature
        )


def audit_signers(signers: SignerSet) -> AuditSigners:
    """Return who signs the audit trail's heads, and the entries of proofs."""
    return AuditSigners([AuditSigner(each) for each in signers.signers])
