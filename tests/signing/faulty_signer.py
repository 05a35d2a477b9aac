"""A remote signer whose faults a test chooses, as another package would add it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import Literal

import trio
from solders.keypair import Keypair
from solders.pubkey import Pubkey
from solders.signature import Signature

from cvms.errors import SignerFailed, SignerUnavailable
from cvms.signing.guarded_signer import CHECK_TEXT, GuardedSigner, SignerFunds
from cvms.signing.signer_set import SignerSet

Fault = Literal["slow", "dead", "wrong"]


@dataclass
class FaultySigner:
    """Signs as long as it has no fault, and notes what."""

    keypair: Keypair = field(default_factory=Keypair)
    fault: Fault | None = None
    asked: trio.Event = field(default_factory=trio.Event)
    signed: list[bytes] = field(default_factory=list)

    @property
    def address(self) -> Pubkey:
        return self.keypair.pubkey()

    async def sign(self, message: bytes) -> Signature:
        await trio.lowlevel.checkpoint()
        self.asked.set()
        if self.fault == "slow":
            await trio.sleep_forever()
        if self.fault == "dead":
            raise SignerFailed("it is unplugged")
        if self.fault == "wrong":
            return Keypair().sign_message(message)
        if not message.startswith(CHECK_TEXT):
            self.signed.append(message)
        return self.keypair.sign_message(message)

    def guarded(self, *, seconds: float = 0.05, minimum: int = 0) -> GuardedSigner:
        """Return it as the service holds it, with a short deadline."""
        return GuardedSigner(self, f"faulty {self.address}", seconds, SignerFunds(minimum))


def set_of(*signers: FaultySigner, seconds: float = 0.05, minimum: int = 0) -> SignerSet:
    return SignerSet(tuple(each.guarded(seconds=seconds, minimum=minimum) for each in signers))


async def signs_again(signers: SignerSet) -> None:
    """Wait until all signers sign, of which the circuits let nobody through for a second."""
    with trio.fail_after(30):
        for each in signers.signers:
            while not each.available:
                with suppress(SignerUnavailable):
                    await each.check()
                await trio.sleep(0.01)


SIGNERS: dict[str, FaultySigner] = {}
"""What `faulty:NAME` opens."""


@asynccontextmanager
async def open_faulty(uri: object, settings: object) -> AsyncIterator[FaultySigner]:
    """Open the signer of a location; the factory of an entry point."""
    yield SIGNERS[uri.location]  # type: ignore[attr-defined]
