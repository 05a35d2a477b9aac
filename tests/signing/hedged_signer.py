"""An Ed25519 signer with a random nonce, as some hardware has: each signature is another one.

The arithmetic is that of RFC 8032, section 6, without its speed.
"""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from solders.keypair import Keypair
from solders.pubkey import Pubkey
from solders.signature import Signature

P = 2**255 - 19
ORDER = 2**252 + 27742317777372353535851937790883648493
D = -121665 * pow(121666, -1, P) % P
_Y = 4 * pow(5, -1, P) % P
_X = 15112221349535400772501151409588531511454012693041857206046113283949847762202
BASE = (_X, _Y, 1, _X * _Y % P)

Point = tuple[int, int, int, int]


def _add(p: Point, q: Point) -> Point:
    a, b = (p[1] - p[0]) * (q[1] - q[0]) % P, (p[1] + p[0]) * (q[1] + q[0]) % P
    c, d = 2 * p[3] * q[3] * D % P, 2 * p[2] * q[2] % P
    e, f, g, h = b - a, d - c, d + c, b + a
    return e * f % P, g * h % P, f * g % P, e * h % P


def _times(scalar: int, point: Point) -> Point:
    found: Point = (0, 1, 1, 0)
    while scalar:
        if scalar & 1:
            found = _add(found, point)
        point = _add(point, point)
        scalar >>= 1
    return found


def _compressed(point: Point) -> bytes:
    inverse = pow(point[2], -1, P)
    x, y = point[0] * inverse % P, point[1] * inverse % P
    return (y | (x & 1) << 255).to_bytes(32, "little")


@dataclass(frozen=True, slots=True)
class HedgedSigner:
    """Signs validly, and never twice in the same way."""

    keypair: Keypair

    @property
    def address(self) -> Pubkey:
        return self.keypair.pubkey()

    async def sign(self, message: bytes) -> Signature:
        digest = hashlib.sha512(self.keypair.secret()).digest()
        scalar = int.from_bytes(digest[:32], "little") & ((1 << 254) - 8) | 1 << 254
        nonce = secrets.randbelow(ORDER)
        point = _compressed(_times(nonce, BASE))
        hashed = hashlib.sha512(point + bytes(self.address) + message).digest()
        answer = (nonce + int.from_bytes(hashed, "little") * scalar) % ORDER
        return Signature.from_bytes(point + answer.to_bytes(32, "little"))


KEYPAIRS: dict[str, Keypair] = {}


@asynccontextmanager
async def open_hedged(uri: object, settings: object) -> AsyncIterator[HedgedSigner]:
    """Open the signer of a location; the factory of an entry point."""
    yield HedgedSigner(KEYPAIRS[uri.location])  # type: ignore[attr-defined]
