"""Signing of the audit trail's heads: with a key derived from the operator's, or by its signer.

The secret of a key in a file gives a key of its own. A key that cannot be read signs the heads
itself; no head can be taken for a transaction (docs/adr/0021-audit-heads-of-hardware-keys.md).
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
class AuditSigner:
    """Signs heads with the key that belongs to one key of the operator."""

    signer: GuardedSigner

    @property
    def public(self) -> bytes:
        """The public key that verifies the heads."""
        key = self._derived()
        return bytes(self.signer.address) if key is None else key.public

    async def sign(self, head: Head, at: datetime) -> SignedHead:
        """Sign the head as the newest at the time `at`. Raises SignerUnavailable."""
        key = self._derived()
        if key is not None:
            return key.sign(head, at)
        signature = await self.signer.sign(head_text(head, at))
        return SignedHead(
            id=head.id, hash=head.hash, signed_at=at, key=self.public, signature=bytes(signature)
        )

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

    async def sign(self, head: Head, at: datetime) -> SignedHead:
        """Sign with the first that is available. Raises SignerUnavailable."""
        for each in self.signers:
            if each.signer.available:
                return await each.sign(head, at)
        raise SignerUnavailable("no signer of the operator is available")


def audit_signers(signers: SignerSet) -> AuditSigners:
    """Return who signs the audit trail's heads."""
    return AuditSigners([AuditSigner(each) for each in signers.signers])
