"""URLs that hold secrets, such as a provider's key: checked, shown and redacted without them.

A key may be anywhere behind the scheme, except for the host. So an error names the part at fault,
and quotes nothing.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Iterator
from ipaddress import ip_address
from urllib.parse import unquote, urlsplit

from cvms.errors import BadValue, ConfigurationError

LAST_PORT = 65535
_SECRET_LENGTH = 6  # shorter parts of a URL are words such as `v2`, not keys

_NOT_ENCODED = re.compile(r"%(?![0-9A-Fa-f]{2})|%00")
_CHARACTERS = re.compile(r"[-A-Za-z0-9._~:/?#@!$&'()*+,;=%\[\]]*")  # RFC 3986, section 2
_LABEL = r"[-A-Za-z0-9_]{1,63}"
_NAME = re.compile(rf"(?=[A-Za-z0-9]){_LABEL}(\.{_LABEL})*(?<=[A-Za-z0-9])\.?")
_NAME_LENGTH = 253
_DIGITS = re.compile(r"[0-9]{1,5}")


def check_url(url: str, *schemes: str) -> None:
    """Check the syntax of a URL with a host. Raises BadValue."""
    rest = after_scheme(url, *schemes)
    authority, tail = re.fullmatch(r"([^/?#]*)(.*)", rest, re.DOTALL).groups()  # type: ignore[union-attr]
    if not _CHARACTERS.fullmatch(rest):
        raise BadValue("it has characters that have to be percent-encoded")
    if "#" in tail:
        raise BadValue("it has a # that is not percent-encoded")
    if "@" in tail:
        raise BadValue("behind the host it has an @ that is not percent-encoded")
    path, _, query = tail.partition("?")
    check_encoding("path", path)
    check_encoding("query", query)
    check_host(check_user(authority))


def after_scheme(url: str, *schemes: str) -> str:
    """Return what follows `scheme://`. Raises BadValue for any other scheme."""
    scheme, separator, rest = url.partition("://")
    if not separator or scheme.lower() not in schemes:
        raise BadValue(f"its scheme is not {' or '.join(schemes)}")
    return rest


def check_user(authority: str) -> str:
    """Check the user and the password of an authority; return its hosts. Raises BadValue."""
    user_and_password, _, hosts = authority.rpartition("@")
    if any(each in user_and_password for each in "@[]"):
        raise BadValue("its user or password has an @, [ or ] that is not percent-encoded")
    user, _, password = user_and_password.partition(":")
    check_encoding("user", user)
    check_encoding("password", password)
    return hosts


def check_host(address: str) -> None:
    """Check a host and an optional port, as in `host:port` or `[::1]:port`. Raises BadValue."""
    host, port = split_host(address)
    if port is not None:
        check_port(port)
    if not is_host(host):
        raise BadValue("its host is not a name or an address")


def split_host(address: str) -> tuple[str, str | None]:
    """Return the host without brackets, and the text of its port. Raises BadValue."""
    if address.startswith("["):
        host, bracket, port = address[1:].partition("]")
        if not bracket or (port and not port.startswith(":")) or ":" not in host:
            raise BadValue("its host is not a name or an address")
        return host, port[1:] if port else None
    host, colon, port = address.partition(":")
    return host, port if colon else None


def is_host(text: str) -> bool:
    """Return whether `text` is a host's name or address."""
    if ":" not in text:
        return len(text) <= _NAME_LENGTH and _NAME.fullmatch(text) is not None
    try:
        ip_address(text)
    except ValueError:
        return False
    return True


def check_port(text: str) -> None:
    """Raise BadValue unless `text` is a port's number."""
    if not _DIGITS.fullmatch(text) or not 1 <= int(text) <= LAST_PORT:
        raise BadValue(f"its port is not a number from 1 to {LAST_PORT}")


def check_encoding(part: str, text: str) -> None:
    """Raise BadValue unless every % in `text` is followed by two hexadecimal digits, not 00."""
    if _NOT_ENCODED.search(text):
        raise BadValue(f"the percent-encoding of its {part} is not valid")


def host_of(url: str) -> str:
    """Return the host and port of a URL, which may be shown. Raises ConfigurationError without."""
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError:
        host, port = None, None
    if not host:
        raise ConfigurationError("an endpoint's URL has no valid host and port")
    shown = f"[{host}]" if ":" in host else host
    return shown if port is None else f"{shown}:{port}"


def basic_credentials(url: str) -> str:
    """Return the user and the password of a URL as the header `Authorization: Basic` has them."""
    parts = urlsplit(url)
    user = f"{unquote(parts.username or '')}:{unquote(parts.password or '')}"
    return base64.b64encode(user.encode()).decode()


def redacted(text: str, url: str) -> str:
    """Return a text, such as a provider's, without what may be the key in `url`."""
    for secret in sorted(_secrets_of(url), key=len, reverse=True):
        text = text.replace(secret, "…")
    return text


def _secrets_of(url: str) -> Iterator[str]:
    parts = urlsplit(url)
    pieces = [parts.username, parts.password, *re.split(r"[/&=?;]", f"{parts.path}?{parts.query}")]
    for piece in filter(None, pieces):
        for secret in {piece, unquote(piece)}:
            if len(secret) >= _SECRET_LENGTH:
                yield secret
    if parts.username or parts.password:
        yield basic_credentials(url)
