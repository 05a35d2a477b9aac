"""Secrets decrypt with any key, only under their label, and move to a new key."""

from __future__ import annotations

import base64

import pytest
from cryptography.fernet import Fernet

from cvms.errors import DecryptionFailed, EncryptionDisabled
from cvms.store.security.encryption import SecretBox

OLD, NEW = Fernet.generate_key(), Fernet.generate_key()
SECRET = b"a secret"


def test_an_encrypted_secret_does_not_show_and_decrypts_again() -> None:
    sealed = SecretBox([OLD]).seal(SECRET, about="alice")
    assert SECRET not in base64.urlsafe_b64decode(sealed)
    assert SecretBox([OLD]).open(sealed, about="alice") == SECRET


def test_a_key_is_rotated_in_three_steps_without_losing_anything() -> None:
    sealed = SecretBox([OLD]).seal(SECRET, about="alice")
    both = SecretBox([NEW, OLD])
    assert both.open(sealed, about="alice") == SECRET
    renewed = both.reseal(sealed, about="alice")
    assert renewed is not None
    assert both.reseal(renewed, about="alice") is None
    assert SecretBox([NEW]).open(renewed, about="alice") == SECRET
    with pytest.raises(DecryptionFailed, match="No key"):
        SecretBox([OLD]).open(renewed, about="alice")


def test_a_secret_with_another_label_does_not_decrypt() -> None:
    secret_box = SecretBox([OLD])
    sealed = secret_box.seal(SECRET, about="mallory")
    for use in (secret_box.open, secret_box.reseal):
        with pytest.raises(DecryptionFailed, match="as alice was sealed as something else"):
            use(sealed, about="alice")


def test_no_bit_can_be_changed() -> None:
    sealed = bytearray(SecretBox([OLD]).seal(SECRET, about="alice"))
    sealed[40] ^= 1
    with pytest.raises(DecryptionFailed):
        SecretBox([OLD]).open(bytes(sealed), about="alice")


def test_without_a_key_nothing_is_stored_in_the_clear() -> None:
    nothing = SecretBox([])
    assert not nothing.enabled
    for use in (nothing.seal, nothing.open, nothing.reseal):
        with pytest.raises(EncryptionDisabled, match="DATA_ENCRYPTION_KEYS"):
            use(SECRET, about="alice")
