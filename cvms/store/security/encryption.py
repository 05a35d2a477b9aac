"""Authenticated encryption of secrets at rest, with keys that the operator can rotate.

Fernet: AES-128-CBC and HMAC-SHA-256. The first key encrypts, every key decrypts. To rotate, put a
new key in front, run `cvms reseal`, which encrypts everything again with it, and remove the old
key. Each secret is encrypted with a label that says what it is for, so that someone with write
access to the tables cannot swap secrets.
"""

from __future__ import annotations

from collections.abc import Sequence

from cryptography.fernet import Fernet, InvalidToken, MultiFernet

from cvms.errors import DecryptionFailed, EncryptionDisabled


class SecretBox:
    """Encrypts with the first of `keys` (URL-safe base64 of 32 bytes each), decrypts with any."""

    def __init__(self, keys: Sequence[bytes]) -> None:
        self._fernets = [Fernet(key) for key in keys]

    @property
    def enabled(self) -> bool:
        """True if there is a key."""
        return bool(self._fernets)

    def seal(self, plain: bytes, *, about: str) -> bytes:
        """Encrypt `plain` with the label `about`. Raises EncryptionDisabled without a key."""
        self._require_a_key()
        return self._fernets[0].encrypt(_label(about) + plain)

    def open(self, sealed: bytes, *, about: str) -> bytes:
        """Decrypt what was sealed with the label `about`.

        Raises DecryptionFailed if no key fits or the label differs, EncryptionDisabled without a
        key.
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
        """Encrypt again with the first key; return None if it is already. Raises as `open` does."""
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
