"""A signer behind a deadline, a circuit breaker and a check of every signature."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import structlog
import trio
from solders.pubkey import Pubkey
from solders.signature import Signature

from cvms.errors import SignerFailed, SignerUnavailable
from cvms.signing.signer import KeypairSigner, Signer
from cvms.store.postgres.circuit_breaker import CircuitBreaker

log = structlog.get_logger(__name__)

CHECK_TEXT = b"cvms signer check\n"
"""What a check signs, with the address. No transaction begins so: its first two bytes would be 99
required signers, of which 118 are read-only.
"""


class SignerCircuit(CircuitBreaker):
    """Open while a signer does not sign."""

    failures = (SignerFailed,)
    outcome = SignerUnavailable
    events = ("signer_unavailable", "signer_available_again")


class SignerFunds:
    """Balance of a key for fees. Written by the balance monitor."""

    def __init__(self, minimum: int = 0) -> None:
        self.minimum = minimum
        self.lamports: int | None = None

    @property
    def enough(self) -> bool:
        """True if the key can pay for others, and before its balance is known."""
        return self.lamports is None or self.lamports >= self.minimum


@dataclass(slots=True, eq=False)
class GuardedSigner:
    """One key of the operator. Signatures of others than this process's are verified before use.

    `name` says where the key is, without secrets.
    """

    signer: Signer
    name: str
    seconds: float
    funds: SignerFunds = field(default_factory=SignerFunds)
    checked_at: float = field(default=-math.inf, init=False)
    """When a signature was last verified, by trio's clock."""
    deterministic: bool = field(init=False)
    """Whether two signatures of one message are known to be equal."""
    _circuit: SignerCircuit = field(init=False)

    def __post_init__(self) -> None:
        self.deterministic = self.local
        self._circuit = SignerCircuit(name=self.name)

    @property
    def address(self) -> Pubkey:
        return self.signer.address

    @property
    def local(self) -> bool:
        """True if the key is in this process's memory, so that it cannot be away."""
        return isinstance(self.signer, KeypairSigner)

    @property
    def available(self) -> bool:
        """False from a failure until the next success."""
        return self._circuit.closed

    @property
    def away_because(self) -> str | None:
        """Why it is not available. It may name hosts."""
        return self._circuit.reason

    async def sign(self, message: bytes) -> Signature:
        """Sign the message. Raises SignerUnavailable, at once while the circuit is open."""
        if self.local:
            return await self.signer.sign(message)
        with self._circuit.attempt():
            try:
                with trio.fail_after(self.seconds):
                    signature = await self.signer.sign(message)
            except trio.TooSlowError:
                raise SignerFailed(f"no signature within {self.seconds:g} s") from None
            if not signature.verify(self.address, message):
                log.error("signature_wrong", signer=self.name)
                raise SignerFailed(f"its signature is not one of {self.address}")
        self.checked_at = trio.current_time()
        return signature

    async def check(self) -> None:
        """Sign a fixed text, and the first time find out whether that gives the same twice.

        Raises SignerUnavailable.
        """
        text = CHECK_TEXT + str(self.address).encode()
        signature = await self.sign(text)
        if not self.deterministic:
            self.deterministic = signature == await self.sign(text)
