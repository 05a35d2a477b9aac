"""Signer of a key in the transit engine of HashiCorp Vault or OpenBao, over HTTP.

Source: both projects' API documentation of the transit secrets engine ("Read key", "Sign data").
"""

from __future__ import annotations

import base64
import binascii
import ssl
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from ipaddress import ip_address
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import parse_qsl, quote, unquote, urlsplit

import httpx
import msgspec
import trio
from solders.pubkey import Pubkey
from solders.signature import Signature

from cvms.config.operator_settings import SignerSettings, SignerUri
from cvms.config.parsers import header_value, private_text
from cvms.errors import BadValue, ConfigurationError, SignerFailed, leaves, one_line

T = TypeVar("T")
_OPTIONS = ("token-file", "namespace", "ca-file", "version")
MAX_REASON = 200
"""Characters of an error of the server that are shown."""


class _Version(msgspec.Struct, frozen=True):
    public_key: str = ""


class _Key(msgspec.Struct, frozen=True):
    type: str
    latest_version: int
    keys: dict[int, _Version | int]
    """Of a symmetric key, the numbers' values are times."""
    derived: bool = False


class _Signed(msgspec.Struct, frozen=True):
    signature: str


class _KeyAnswer(msgspec.Struct, frozen=True):
    data: _Key


class _SignAnswer(msgspec.Struct, frozen=True):
    data: _Signed


@dataclass(frozen=True, slots=True, kw_only=True)
class TransitUri:
    """A key of a transit engine: `url` is the server's, `mount` the engine's path."""

    url: str
    mount: str
    name: str
    token_file: Path | None
    namespace: str | None
    ca_file: Path | None
    version: int | None


@dataclass(frozen=True, slots=True)
class KeyVersion:
    """A version of a transit key, which is an Ed25519 key of its own."""

    number: int
    address: Pubkey


@dataclass(slots=True, eq=False)
class TransitKey:
    """Requests about one key, each with the token as it is then."""

    uri: TransitUri
    http: httpx.AsyncClient = field(repr=False)
    token: str | None = field(repr=False)
    _read: tuple[tuple[int, ...], str] | None = field(default=None, init=False, repr=False)

    async def version(self, address: Pubkey | None) -> KeyVersion:
        """Return the version with this address; else the configured one, or the latest.

        Raises SignerFailed.
        """
        path = f"{self.uri.mount}/keys/{self.uri.name}"
        key = _parsed(await self._request("GET", path), _KeyAnswer).data
        if key.type != "ed25519" or key.derived:
            kind = "derived" if key.derived else key.type
            raise SignerFailed(f"the key {self.uri.name} is {kind}, not a plain ed25519")
        found = [KeyVersion(number, _public(each)) for number, each in key.keys.items()]
        wanted = self.uri.version or (None if address else key.latest_version)
        for each in found:
            if each.number == (wanted or each.number) and each.address == (address or each.address):
                return each
        what = f"the address {address}" if address else f"the number {wanted}"
        raise SignerFailed(f"no version of the key {self.uri.name} has {what}")

    async def sign(self, message: bytes, version: int) -> Signature:
        """Sign with a version of the key. Raises SignerFailed."""
        body = {"input": base64.b64encode(message).decode(), "key_version": version}
        path = f"{self.uri.mount}/sign/{self.uri.name}"
        signed = _parsed(await self._request("POST", path, body), _SignAnswer).data
        prefix = f"vault:v{version}:"
        if not signed.signature.startswith(prefix):
            raise SignerFailed(f"its signature does not begin with {prefix}")
        try:
            raw = base64.b64decode(signed.signature.removeprefix(prefix), validate=True)
            return Signature.from_bytes(raw)
        except (binascii.Error, ValueError):
            raise SignerFailed("its signature is not one of Ed25519") from None

    async def _request(
        self, method: str, path: str, body: Mapping[str, Any] | None = None
    ) -> bytes:
        headers = {"X-Vault-Token": await self._token(), "X-Vault-Request": "true"}
        if self.uri.namespace is not None:
            headers["X-Vault-Namespace"] = self.uri.namespace
        try:
            reply = await self.http.request(
                method, f"{self.uri.url}/v1/{path}", json=body, headers=headers
            )
        except httpx.HTTPError as error:
            raise SignerFailed(f"{self.uri.url}: {_innermost(error)}") from None
        if reply.status_code != httpx.codes.OK:
            raise SignerFailed(f"{self.uri.url}: {reply.status_code} {_reason(reply)}".strip())
        return reply.content

    async def _token(self) -> str:
        """Return the token. Its file is read again whenever it has changed."""
        file = self.uri.token_file
        if file is None:
            assert self.token is not None, "checked at the start"
            return self.token
        try:
            stat = await trio.Path(file).stat()
            version = (stat.st_ino, stat.st_mtime_ns, stat.st_size)
            if self._read is None or self._read[0] != version:
                text = await trio.to_thread.run_sync(private_text, file)
                self._read = (version, header_value(text.strip()))
        except (OSError, UnicodeDecodeError) as error:
            reason = getattr(error, "strerror", None) or "is not text"
            raise SignerFailed(f"token-file {file}: {reason}") from None
        except BadValue as error:
            raise SignerFailed(f"token-file {file}: {error}") from None
        return self._read[1]


@dataclass(slots=True, eq=False)
class TransitSigner:
    """Signs with the version of the key that has the address."""

    address: Pubkey
    key: TransitKey
    _version: int | None = None

    async def sign(self, message: bytes) -> Signature:
        """Sign by one request, and another one the first time. Raises SignerFailed."""
        if self._version is None:
            self._version = (await self.key.version(self.address)).number
        return await self.key.sign(message, self._version)


@asynccontextmanager
async def open_vault_transit(
    uri: SignerUri, settings: SignerSettings
) -> AsyncIterator[TransitSigner]:
    """Open the signer of `https://host:8200/MOUNT/keys/NAME`. See SignerFactory.

    Its address is that of the latest version of the key at the start, unless it is configured.
    """
    try:
        parsed = parse_transit_uri(uri.location)
        context = _tls(parsed.ca_file)
    except BadValue as error:
        raise ConfigurationError(f"OPERATOR_SIGNER has a bad vault-transit: {error}") from None
    if parsed.token_file is None and settings.vault_token is None:
        raise ConfigurationError(
            "VAULT_TOKEN is not set; expected a token, or token-file in OPERATOR_SIGNER"
        )
    async with httpx.AsyncClient(verify=context, timeout=settings.seconds, trust_env=False) as http:
        key = TransitKey(parsed, http, settings.vault_token)
        if uri.address is not None:
            yield TransitSigner(uri.address, key)
            return
        found = await key.version(None)
        yield TransitSigner(found.address, key, found.number)


def parse_transit_uri(location: str) -> TransitUri:
    """Parse what follows `vault-transit:`. Raises BadValue, which quotes nothing."""
    try:
        parts = urlsplit(location)
        port = f":{parts.port}" if parts.port is not None else ""
    except ValueError:
        raise BadValue("its address is not a URL") from None
    host = parts.hostname or ""
    if parts.scheme not in ("https", "http") or not host or parts.username is not None:
        raise BadValue("its address is not https://host:port/MOUNT/keys/NAME")
    if parts.scheme == "http" and not _is_loopback(host):
        raise BadValue("only this machine may be spoken to by http://, since a token is sent")
    mount, keys, name = parts.path.removeprefix("/v1/").strip("/").rpartition("/keys/")
    if not keys or not name or "/" in name or not f"{host}{mount}".isprintable():
        raise BadValue("its path is not /MOUNT/keys/NAME, such as /transit/keys/operator")
    options = dict(parse_qsl(parts.query, keep_blank_values=True))
    for option, value in options.items():
        if option not in _OPTIONS or not value:
            raise BadValue(f"it has an option that is none of {', '.join(_OPTIONS)}, or no value")
    namespace = options.get("namespace")
    if namespace is not None:
        header_value(namespace)
    version = options.get("version")
    if version is not None and not (version.isdecimal() and int(version) > 0):
        raise BadValue("version is not a number of 1 or more")
    return TransitUri(
        url=f"{parts.scheme}://{f'[{host}]' if ':' in host else host}{port}",
        mount=mount,
        name=quote(unquote(name), safe=""),
        token_file=_path(options.get("token-file")),
        namespace=namespace,
        ca_file=_path(options.get("ca-file")),
        version=None if version is None else int(version),
    )


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False


def _path(text: str | None) -> Path | None:
    return None if text is None else Path(text)


def _tls(ca_file: Path | None) -> ssl.SSLContext:
    if ca_file is None:
        return httpx.create_ssl_context(trust_env=True)
    try:
        return ssl.create_default_context(cafile=str(ca_file))
    except (OSError, ssl.SSLError) as error:
        raise BadValue(f"ca-file {ca_file}: {error.strerror or 'no certificate'}") from None


def _parsed(raw: bytes, kind: type[T]) -> T:
    try:
        return msgspec.json.decode(raw, type=kind)
    except msgspec.DecodeError:
        raise SignerFailed("its answer is not one of a transit engine") from None


def _public(version: _Version | int) -> Pubkey:
    text = version.public_key if isinstance(version, _Version) else ""
    try:
        return Pubkey(base64.b64decode(text, validate=True))
    except ValueError:
        raise SignerFailed("a version of the key has no public key of Ed25519") from None


def _innermost(error: BaseException) -> str:
    """Return why there was no answer, such as what is wrong with the certificate."""
    while (cause := error.__cause__ or error.__context__) is not None:
        error = cause
    return "; ".join(one_line(each) for each in leaves(error))


def _reason(reply: httpx.Response) -> str:
    """Return the errors of the answer, in one line."""
    try:
        errors = msgspec.json.decode(reply.content, type=dict[str, list[str]]).get("errors", [])
    except msgspec.DecodeError:
        return reply.reason_phrase
    return " ".join("; ".join(errors).split())[:MAX_REASON]
