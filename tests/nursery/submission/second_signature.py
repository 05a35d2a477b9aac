"""A second valid signature of the same message, which Ed25519 allows whoever has the key."""

from __future__ import annotations

import hashlib

from solders.keypair import Keypair
from solders.signature import Signature

P = 2**255 - 19
ORDER = 2**252 + 27742317777372353535851937790883648493
D = -121665 * pow(121666, -1, P) % P
ROOT = pow(2, (P - 1) // 4, P)

Point = tuple[int, int]


def _base() -> Point:
    y = 4 * pow(5, -1, P) % P
    square = (y * y - 1) * pow(D * y * y + 1, -1, P) % P
    x = pow(square, (P + 3) // 8, P)
    if (x * x - square) % P:
        x = x * ROOT % P
    return (x if x % 2 == 0 else P - x), y


def _add(a: Point, b: Point) -> Point:
    product = D * a[0] * b[0] * a[1] * b[1] % P
    x = (a[0] * b[1] + b[0] * a[1]) * pow(1 + product, -1, P) % P
    y = (a[1] * b[1] + a[0] * b[0]) * pow(1 - product, -1, P) % P
    return x, y


def _multiplied(point: Point, factor: int) -> Point:
    total: Point = (0, 1)
    while factor:
        if factor & 1:
            total = _add(total, point)
        point = _add(point, point)
        factor >>= 1
    return total


def _encoded(point: Point) -> bytes:
    return (point[1] | (point[0] & 1) << 255).to_bytes(32, "little")


def second_signature(key: Keypair, message: bytes, *, nonce: int) -> Signature:
    """Sign with this nonce instead of the one that RFC 8032 derives from the message."""
    clamped = bytearray(hashlib.sha512(key.secret()).digest()[:32])
    clamped[0] &= 248
    clamped[31] = clamped[31] & 127 | 64
    secret = int.from_bytes(clamped, "little")
    r = _encoded(_multiplied(_base(), nonce))
    digest = hashlib.sha512(r + bytes(key.pubkey()) + message).digest()
    s = (nonce + int.from_bytes(digest, "little") * secret) % ORDER
    signature = Signature.from_bytes(r + s.to_bytes(32, "little"))
    assert signature.verify(key.pubkey(), message)
    return signature
