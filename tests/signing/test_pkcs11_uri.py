"""URIs of RFC 7512, as far as they name a key."""

from __future__ import annotations

from pathlib import Path

import pytest

from cvms.errors import BadValue, SignerFailed
from cvms.signing.pkcs11_uri import parse_pkcs11_uri

MODULE = "module-path=/usr/lib/hsm.so"


def test_attributes_are_decoded() -> None:
    uri = parse_pkcs11_uri(
        "token=The%20token;serial=4d6f;manufacturer=Snake%20Oil%2c%20Inc.;model=1.0;type=private;"
        f"object=my%3bkey;id=%01%ff?{MODULE}&pin-source=file:/run/secrets/pin"
    )
    assert (uri.token, uri.serial, uri.manufacturer) == ("The token", "4d6f", "Snake Oil, Inc.")
    assert (uri.model, uri.object, uri.id) == ("1.0", "my;key", b"\x01\xff")
    assert (uri.module_path, uri.pin_source) == ("/usr/lib/hsm.so", Path("/run/secrets/pin"))


@pytest.mark.parametrize("source", ["/run/pin", "file:/run/pin", "file:///run/pin"])
def test_a_pin_is_in_a_file(source: str) -> None:
    assert parse_pkcs11_uri(f"id=1?{MODULE}&pin-source={source}").pin_source == Path("/run/pin")


@pytest.mark.parametrize(
    ("location", "reason"),
    [
        ("object=key", "module-path is missing"),
        (f"token=t?{MODULE}", "object and id are missing"),
        (f"object=key;type=public?{MODULE}", "type is not private"),
        (f"object=key;colour=SECRET?{MODULE}", "none of token"),
        (f"object=key?{MODULE}&module-name=SECRET", "none of module-path"),
        (f"object=key;object=SECRET?{MODULE}", "object is given twice"),
        (f"object?{MODULE}", "object has no value"),
        (f"object=key?{MODULE}&pin-source=|SECRET", "is a command"),
        (f"object=key?{MODULE}&pin-value=SECRET&pin-source=a", "are both given"),
    ],
)
def test_what_names_no_key_is_refused_without_being_quoted(location: str, reason: str) -> None:
    with pytest.raises(BadValue, match=reason) as raised:
        parse_pkcs11_uri(location)
    assert "SECRET" not in str(raised.value)


def test_a_pin_is_read_when_it_is_needed_and_only_if_nobody_else_can_read_it(
    tmp_path: Path,
) -> None:
    file = tmp_path / "pin"
    uri = parse_pkcs11_uri(f"object=key?{MODULE}&pin-source={file}")
    with pytest.raises(SignerFailed, match="No such file"):
        uri.pin()
    file.write_text(" 12 34\n")
    file.chmod(0o644)
    with pytest.raises(SignerFailed, match="chmod 600"):
        uri.pin()
    file.chmod(0o600)
    assert uri.pin() == " 12 34"


def test_no_text_of_a_uri_has_its_pin() -> None:
    uri = parse_pkcs11_uri(f"object=key?{MODULE}&pin-value=12%2034")
    assert uri.pin() == "12 34"
    assert "12" not in repr(uri)
