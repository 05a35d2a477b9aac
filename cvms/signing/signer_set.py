"""The keys of the operator: the first that can pays, the others stand by."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from solders.keypair import Keypair
from solders.pubkey import Pubkey

from cvms.signing.guarded_signer import GuardedSigner, SignerFunds
from cvms.signing.signer import KeypairSigner


@dataclass(frozen=True, slots=True)
class SignerSet:
    """The configured keys, the preferred one first. There is at least one."""

    signers: tuple[GuardedSigner, ...]

    @property
    def preferred(self) -> GuardedSigner:
        return self.signers[0]

    @property
    def addresses(self) -> tuple[Pubkey, ...]:
        return tuple(each.address for each in self.signers)

    @property
    def remote(self) -> tuple[GuardedSigner, ...]:
        """Those whose keys are not in this process's memory."""
        return tuple(each for each in self.signers if not each.local)

    def find(self, address: Pubkey) -> GuardedSigner | None:
        """Return the signer of this address, None if it is not one of the operator's."""
        return next((each for each in self.signers if each.address == address), None)

    def payer(self, among: Collection[Pubkey] | None = None) -> GuardedSigner | None:
        """Return the first that is available and has enough SOL to pay for others."""
        return next((each for each in self._available(among) if each.funds.enough), None)

    def signing(self, among: Collection[Pubkey] | None = None) -> GuardedSigner | None:
        """Return who pays for what the operator itself does: the payer, or any that is available.

        None if none is.
        """
        return self.payer(among) or next(iter(self._available(among)), None)

    def is_deterministic(self, address: Pubkey) -> bool:
        """Return whether this key of the operator's gives one signature to each message."""
        found = self.find(address)
        return found is not None and found.deterministic

    def _available(self, among: Collection[Pubkey] | None) -> Sequence[GuardedSigner]:
        return [
            each
            for each in self.signers
            if each.available and (among is None or each.address in among)
        ]


def keypair_signer(keypair: Keypair, *, seconds: float = 1.0, minimum: int = 0) -> GuardedSigner:
    """Return the signer of a key in memory, which needs `minimum` lamports to pay for others."""
    return GuardedSigner(
        KeypairSigner(keypair), f"file {keypair.pubkey()}", seconds, SignerFunds(minimum)
    )
