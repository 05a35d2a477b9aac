"""The wallet, whose key signs requests and transactions."""

from __future__ import annotations

import base64

from solders.keypair import Keypair
from solders.message import to_bytes_versioned
from solders.transaction import VersionedTransaction


class Wallet:
    """A wallet whose key is in this process."""

    def __init__(self, keypair: Keypair) -> None:
        self._keypair = keypair
        self.address = str(keypair.pubkey())

    def sign_text(self, text: str) -> str:
        """Return the signature of a request's text, in base58."""
        return str(self._keypair.sign_message(text.encode()))

    def cosign(self, transaction: str) -> str:
        """Return the transaction (base64) with this wallet's signature added.

        Raises ValueError if the transaction does not need it.
        """
        unsigned = VersionedTransaction.from_bytes(base64.b64decode(transaction))
        message = unsigned.message
        signers = list(message.account_keys)[: message.header.num_required_signatures]
        if self._keypair.pubkey() not in signers:
            raise ValueError(f"the transaction does not need the signature of {self.address}")
        signatures = list(unsigned.signatures)
        signatures[signers.index(self._keypair.pubkey())] = self._keypair.sign_message(
            to_bytes_versioned(message)
        )
        signed = VersionedTransaction.populate(message, signatures)
        return base64.b64encode(bytes(signed)).decode()
