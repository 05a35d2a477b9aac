"""Bodies of requests whose transaction signers of the vault's multisig sign beside the owner."""

from __future__ import annotations

from collections.abc import Sequence

from solders.pubkey import Pubkey

from cvms.http.auth.signed_body import Signed
from cvms.http.framework.request import Signers


class CoSignedRequest(Signed, frozen=True, kw_only=True):
    """`signers` of the vault's multisig will sign the transaction, too. No text names them."""

    signers: Signers | None = None

    @property
    def co_signers(self) -> Sequence[Pubkey]:
        return self.signers or ()
