"""Base of the request bodies that a wallet signs."""

from __future__ import annotations

from solders.pubkey import Pubkey

from cvms.http.auth.credential import SignedRequest
from cvms.http.auth.wallet_signature import signed_text
from cvms.http.framework.request import Body, Nonce, SignInMessage, WalletSignature


class Signed(Body, frozen=True):
    """A body signed by the owner's wallet."""

    owner: Pubkey
    nonce: Nonce
    signature: WalletSignature
    message: SignInMessage | None = None

    def request(self, action: str, *fields: object) -> SignedRequest:
        """Return the signed request; its text consists of the action, the owner and the fields."""
        text = signed_text(action, self.owner, *fields, self.nonce)
        return SignedRequest(self.owner, text, self.nonce, self.signature, self.message)
