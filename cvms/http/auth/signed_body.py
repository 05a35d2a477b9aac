"""Request bodies that a wallet signs."""

from __future__ import annotations

from solders.pubkey import Pubkey

from cvms.http.auth.credential import SignedRequest
from cvms.http.auth.signed_texts import TEXT_OF_ACTION
from cvms.http.framework.request import Body, Nonce, SignInMessage, WalletSignature


class SignedBody(Body, frozen=True, kw_only=True):
    """A body signed by the wallet that the action's text names as its signer."""

    nonce: Nonce
    signature: WalletSignature
    message: SignInMessage | None = None

    def request(self, action: str, **computed: object) -> SignedRequest:
        """Return the signed request, with the text of this action.

        The text's fields are the body's, except for those that are `computed`.
        """
        return signed_request(self, action, self.nonce, self.signature, self.message, **computed)


class Signed(SignedBody, frozen=True):
    """A body signed by the owner's wallet."""

    owner: Pubkey


def signed_request(
    body: Body,
    action: str,
    nonce: str,
    signature: str,
    message: str | None,
    **computed: object,
) -> SignedRequest:
    """Return the request of a body with this proof; see `SignedBody.request`."""
    text = TEXT_OF_ACTION[action]
    values = {name: getattr(body, name) for name in text.names} | computed
    signer = getattr(body, text.signer)
    return SignedRequest(signer, text.write(values, nonce), nonce, signature, message)
