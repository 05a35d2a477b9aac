"""Signer of a key in a hardware security module, by PKCS#11 (CKM_EDDSA).

PKCS#11 blocks, so it runs in threads, one call at a time for each module. After any failure the
session is opened anew, if need be after the module was initialized anew, which is the only way by
which some modules notice that a token is back.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from functools import cache
from threading import Lock
from typing import Any

import pkcs11
import structlog
import trio
from pkcs11 import Attribute, KeyType, Mechanism, ObjectClass
from pkcs11.exceptions import PinIncorrect, PinInvalid, PinLenRange, PKCS11Error
from solders.pubkey import Pubkey
from solders.signature import Signature

from cvms.config.operator_settings import SignerSettings, SignerUri
from cvms.errors import BadValue, ConfigurationError, SignerFailed
from cvms.signing.pkcs11_uri import Pkcs11Uri, parse_pkcs11_uri

log = structlog.get_logger(__name__)

CLOSE_SECONDS = 0.5
KEY_BYTES = 32
OCTET_STRING = bytes([4, KEY_BYTES])
"""Begins a DER octet string of 32 bytes, which is how CKA_EC_POINT holds a key."""
REFUSALS = (PinIncorrect, PinInvalid, PinLenRange)
"""Of a PIN. Tokens count them, and lock themselves."""


@dataclass(slots=True, eq=False)
class Module:
    """A PKCS#11 library, of which a process has one: C_Finalize ends all of its sessions.

    A login is for all sessions with a token. The first session, with which the process has logged
    in, stays open. A PIN that a token has refused is refused for all of its keys.
    """

    path: str
    lock: Lock = field(default_factory=Lock)
    logged_in: dict[bytes, Any] = field(default_factory=dict)
    refused: dict[bytes, str | None] = field(default_factory=dict, repr=False)
    """By the token's serial number."""

    def reinitialize(self) -> None:
        """Let the library look anew which tokens there are."""
        self.logged_in.clear()
        pkcs11.lib(self.path).reinitialize()


@cache
def module_at(path: str) -> Module:
    """Return the library at the path."""
    return Module(path)


@dataclass(slots=True, eq=False)
class Pkcs11Key:
    """The key of a URI, for threads. Opens a session when it needs one."""

    uri: Pkcs11Uri
    _key: Any = field(default=None, init=False)
    _session: Any = field(default=None, init=False)

    def sign(self, message: bytes) -> bytes:
        """Sign the message. Raises SignerFailed."""
        with self._module.lock:
            if self._key is not None:
                try:
                    return self._sign(message)
                except PKCS11Error as error:  # the token may have been away, or restarted
                    log.info("pkcs11_session_lost", reason=type(error).__name__)
            try:
                self._open()
                return self._sign(message)
            except PKCS11Error as error:
                self._forget()
                raise _failed(error) from None

    def public_key(self) -> bytes:
        """Return the public key that the token holds beside the private one.

        Raises SignerFailed.
        """
        with self._module.lock:
            try:
                self._open()
                found = list(self._session.get_objects(self._template(ObjectClass.PUBLIC_KEY)))
                if len(found) != 1:
                    raise SignerFailed(f"the token has {len(found)} such public keys, not one")
                return _raw(bytes(found[0][Attribute.EC_POINT]))
            except PKCS11Error as error:
                self._forget()
                raise _failed(error) from None

    def close(self) -> None:
        """Close the session. The module stays loaded, for others may use it."""
        with self._module.lock:
            self._forget()

    @property
    def _module(self) -> Module:
        return module_at(self.uri.module_path)

    def _sign(self, message: bytes) -> bytes:
        return bytes(self._key.sign(message, mechanism=Mechanism.EDDSA))

    def _open(self) -> None:
        """Open a session and find the key, if need be after the module was initialized anew."""
        try:
            self._find()
        except REFUSALS:
            raise
        except (PKCS11Error, SignerFailed):
            self._module.reinitialize()
            self._find()

    def _find(self) -> None:
        self._forget()
        token = self._token(pkcs11.lib(self.uri.module_path))
        self._session = self._logged_in(token)
        found = list(self._session.get_objects(self._template(ObjectClass.PRIVATE_KEY)))
        if len(found) != 1:
            raise SignerFailed(f"the token has {len(found)} such private keys, not one")
        self._key = found[0]

    def _logged_in(self, token: Any) -> Any:
        """Return a session. A PIN that was refused is not tried again: that locks tokens."""
        known, refused = self._module.logged_in, self._module.refused
        if token.serial in known:
            return token.open()
        pin = self.uri.pin()
        if pin is not None and pin == refused.get(token.serial):
            raise PinIncorrect("the token has refused it before; it is not tried again")
        try:
            known[token.serial] = token.open(user_pin=pin)
        except REFUSALS:
            refused[token.serial] = pin
            raise
        return token.open()

    def _forget(self) -> None:
        session, self._key, self._session = self._session, None, None
        if session is not None:
            with suppress(PKCS11Error):  # it is closed already if its token is gone
                session.close()

    def _token(self, library: Any) -> Any:
        """Return the one token that the URI describes. Raises SignerFailed."""
        uri = self.uri
        found = [
            token
            for token in library.get_tokens(token_label=uri.token)
            if uri.manufacturer in (None, token.manufacturer_id)
            and uri.model in (None, token.model)
            and uri.serial in (None, token.serial.decode(errors="replace").strip())
        ]
        if len(found) != 1:
            raise SignerFailed(f"{len(found)} tokens are as the URI says, not one")
        return found[0]

    def _template(self, kind: ObjectClass) -> dict[Attribute, Any]:
        template: dict[Attribute, Any] = {
            Attribute.CLASS: kind,
            Attribute.KEY_TYPE: KeyType.EC_EDWARDS,
        }
        if self.uri.object is not None:
            template[Attribute.LABEL] = self.uri.object
        if self.uri.id is not None:
            template[Attribute.ID] = self.uri.id
        return template


@dataclass(frozen=True, slots=True)
class Pkcs11Signer:
    """Signs in threads. A call that is cancelled leaves its thread behind, which still ends."""

    address: Pubkey
    key: Pkcs11Key
    limiter: trio.CapacityLimiter

    async def sign(self, message: bytes) -> Signature:
        """Sign in a thread. Raises SignerFailed."""
        raw = await trio.to_thread.run_sync(
            self.key.sign, message, abandon_on_cancel=True, limiter=self.limiter
        )
        try:
            return Signature.from_bytes(raw)
        except ValueError:
            raise SignerFailed(f"the token's signature has {len(raw)} bytes") from None


@asynccontextmanager
async def open_pkcs11(uri: SignerUri, settings: SignerSettings) -> AsyncIterator[Pkcs11Signer]:
    """Open the signer of a URI. Its address is read from the token unless it is configured.

    Raises ConfigurationError for a bad URI, and SignerFailed.
    """
    try:
        parsed = parse_pkcs11_uri(uri.location)
    except BadValue as error:
        raise ConfigurationError(f"OPERATOR_SIGNER has a bad PKCS#11 URI: {error}") from None
    if parsed.pin_value is not None:
        log.warning("pin_in_setting", instead="pin-source, a file that only the service can read")
    key, limiter = Pkcs11Key(parsed), trio.CapacityLimiter(1)
    address = uri.address
    if address is None:
        with trio.move_on_after(settings.seconds) as waited:
            read = await trio.to_thread.run_sync(
                key.public_key, abandon_on_cancel=True, limiter=limiter
            )
        if waited.cancelled_caught:
            raise SignerFailed(f"no answer within {settings.seconds:g} s")
        address = Pubkey(read)
    try:
        yield Pkcs11Signer(address, key, limiter)
    finally:
        with trio.move_on_after(CLOSE_SECONDS, shield=True):
            await trio.to_thread.run_sync(key.close, abandon_on_cancel=True, limiter=limiter)


def _raw(point: bytes) -> bytes:
    """Return the 32 bytes of an EC point: a DER octet string, or some modules' bare bytes."""
    if len(point) == KEY_BYTES:
        return point
    if len(point) == len(OCTET_STRING) + KEY_BYTES and point.startswith(OCTET_STRING):
        return point.removeprefix(OCTET_STRING)
    raise SignerFailed(f"the token's public key is not of Ed25519: {len(point)} bytes")


def _failed(error: PKCS11Error) -> SignerFailed:
    return SignerFailed(" ".join(f"{type(error).__name__} {error}".split()))
