"""Secrets at rest: encrypted and authenticated, under keys that the operator can change.

Fernet: AES-128-CBC and HMAC-SHA-256. The first key seals, every key opens; so a new key goes in
front, `cvms reseal` writes everything anew under it, and then the old one can go. What a secret is
about is sealed with it: whoever can write to the tables cannot put one in another's place.
"""

from __future__ import annotations

from collections.abc import Sequence

from cryptography.fernet import Fernet, InvalidToken, MultiFernet

from cvms.errors import DecryptionFailed, EncryptionDisabled


class SecretBox:
    """Seals with the first of `keys` (URL-safe base64 of 32 bytes each) and opens with any."""

    def __init__(self, keys: Sequence[bytes]) -> None:
        self._fernets = [Fernet(key) for key in keys]

    @property
    def enabled(self) -> bool:
        """Whether there is a key."""
        return bool(self._fernets)

    def seal(self, plain: bytes, *, about: str) -> bytes:
        """The plain bytes, sealed. Raises SealingDisabled without a key."""
        self._require_a_key()
        return self._fernets[0].encrypt(_label(about) + plain)

    def open(self, sealed: bytes, *, about: str) -> bytes:
        """The plain bytes. Raises Unsealable if no key fits, or if they are about something else;
        SealingDisabled without a key.
        """
        self._require_a_key()
        try:
            labelled = MultiFernet(self._fernets).decrypt(sealed)
        except InvalidToken:
            raise DecryptionFailed(
                f"No key of DATA_ENCRYPTION_KEYS opens what is sealed as {about}."
            ) from None
        label = _label(about)
        if not labelled.startswith(label):
            raise DecryptionFailed(f"What is sealed as {about} was sealed as something else.")
        return labelled[len(label) :]

    def reseal(self, sealed: bytes, *, about: str) -> bytes | None:
        """The same under the first key; None if it is already. Raises as `open` does."""
        plain = self.open(sealed, about=about)
        try:
            self._fernets[0].decrypt(sealed)
        except InvalidToken:
            return self.seal(plain, about=about)
        return None

    def _require_a_key(self) -> None:
        if not self.enabled:
            raise EncryptionDisabled("DATA_ENCRYPTION_KEYS is not set: nothing can be kept sealed.")


def _label(about: str) -> bytes:
    return about.encode() + b"\0"
