"""Request body that a wallet has signed."""

from __future__ import annotations

from solders.pubkey import Pubkey

from cvms.http.auth.requester import SignedRequest
from cvms.http.auth.wallet_signature import signed_text
from cvms.http.framework.request import Body, Nonce, SignInMessage, WalletSignature


class Signed(Body, frozen=True):
    """A body that a wallet has signed."""

    owner: Pubkey
    nonce: Nonce
    signature: WalletSignature
    message: SignInMessage | None = None

    def request(self, action: str, *fields: object) -> SignedRequest:
        """The signed request with this action's text."""
        text = signed_text(action, self.owner, *fields, self.nonce)
        return SignedRequest(self.owner, text, self.nonce, self.signature, self.message)
