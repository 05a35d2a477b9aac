"""PKCS#11 URIs (RFC 7512): which module, which token, which key, and where its PIN is."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import unquote, unquote_to_bytes

from cvms.config.parsers import private_text
from cvms.errors import BadValue, SignerFailed

_TEXTS = ("token", "manufacturer", "serial", "model", "object")
_PATH = (*_TEXTS, "id", "type")
_QUERY = ("module-path", "pin-source", "pin-value")


@dataclass(frozen=True, slots=True, kw_only=True)
class Pkcs11Uri:
    """The key `object` or `id` of a token. What is None may be anything."""

    module_path: str
    token: str | None = None
    manufacturer: str | None = None
    serial: str | None = None
    model: str | None = None
    object: str | None = None
    id: bytes | None = None
    pin_source: Path | None = None
    pin_value: str | None = field(default=None, repr=False)

    def pin(self) -> str | None:
        """Return the PIN, which is read anew from its file; None to log in without.

        Raises SignerFailed.
        """
        if self.pin_source is None:
            return self.pin_value
        try:
            return private_text(self.pin_source).rstrip("\r\n")
        except (OSError, UnicodeDecodeError) as error:
            reason = getattr(error, "strerror", None) or "is not text"
            raise SignerFailed(f"pin-source {self.pin_source}: {reason}") from None
        except BadValue as error:
            raise SignerFailed(f"pin-source: {error}") from None


def parse_pkcs11_uri(location: str) -> Pkcs11Uri:
    """Parse what follows `pkcs11:`. Raises BadValue, which quotes no value."""
    path, _, query = location.partition("?")
    given = _attributes(path, ";", _PATH) | _attributes(query, "&", _QUERY)
    if given.pop("type", "private") != "private":
        raise BadValue("type is not private")
    if "module-path" not in given:
        raise BadValue("module-path is missing, the path of the device's PKCS#11 library")
    if "object" not in given and "id" not in given:
        raise BadValue("object and id are missing, of which one has to name the key")
    if "pin-source" in given and "pin-value" in given:
        raise BadValue("pin-source and pin-value are both given")
    texts = {name: unquote(given[name]) for name in _TEXTS if name in given}
    return Pkcs11Uri(
        module_path=unquote(given["module-path"]),
        id=unquote_to_bytes(given["id"]) if "id" in given else None,
        pin_source=_pin_source(unquote(given["pin-source"])) if "pin-source" in given else None,
        pin_value=unquote(given["pin-value"]) if "pin-value" in given else None,
        **texts,
    )


def _attributes(text: str, separator: str, known: tuple[str, ...]) -> dict[str, str]:
    found: dict[str, str] = {}
    for each in filter(None, text.split(separator)):
        name, equals, value = each.partition("=")
        if name not in known:
            raise BadValue(f"it has an attribute that is none of {', '.join(known)}")
        if not equals or not value:
            raise BadValue(f"{name} has no value")
        if name in found:
            raise BadValue(f"{name} is given twice")
        found[name] = value
    return found


def _pin_source(value: str) -> Path:
    if value.startswith("|"):
        raise BadValue("pin-source is a command; give a file")
    return Path(value.removeprefix("file://").removeprefix("file:"))
