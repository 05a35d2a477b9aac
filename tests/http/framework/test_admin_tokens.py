"""Administrators' tokens: their secrets, their ids, and the people whom they name."""

from __future__ import annotations

import hmac
import json

import jwt
import pytest
from jwt.utils import base64url_encode

from cvms.errors import AdminDisabled, InvalidToken
from cvms.http.framework.admin_tokens import Administrator, Role, authenticate, mint, person

OLD, NEW, OTHER = b"o" * 32, b"n" * 32, b"x" * 32
NAMED = {"new": NEW, "other": OTHER}


def minted(secret: bytes, name: str | None = None) -> str:
    return mint(secret, subject="carol", role=Role.ADMIN, seconds=60, secret_name=name)


def holder(secret: bytes | None, token: str, named: dict[str, bytes] = NAMED) -> Administrator:
    return authenticate(secret, f"Bearer {token}", named)


def test_a_token_is_verified_with_the_secret_that_it_names() -> None:
    assert holder(OLD, minted(OLD)).subject == "carol"
    assert holder(OLD, minted(NEW, "new")).subject == "carol"
    assert holder(None, minted(OTHER, "other")).subject == "carol", "without the one secret"
    for secret, name in (
        (NEW, None),
        (OLD, "new"),
        (OTHER, "new"),
        (OLD, "unknown"),
        (OLD, ""),
    ):
        with pytest.raises(InvalidToken):
            holder(OLD, minted(secret, name))
    with pytest.raises(InvalidToken):
        holder(None, minted(OLD))
    with pytest.raises(AdminDisabled):
        holder(None, minted(NEW, "new"), {})


@pytest.mark.parametrize("name", [["new"], {"new": "new"}, 1])
def test_a_name_that_is_no_text_names_no_secret(name: object) -> None:
    header = json.dumps({"alg": "HS256", "typ": "JWT", "kid": name}).encode()
    signed = base64url_encode(header) + b"." + minted(NEW).split(".")[1].encode()
    for secret in (OLD, NEW):
        signature = base64url_encode(hmac.digest(secret, signed, "sha256"))
        with pytest.raises(InvalidToken):
            holder(OLD, (signed + b"." + signature).decode())


def test_each_token_has_an_id_of_its_own_and_says_when_it_was_issued() -> None:
    first, second = holder(OLD, minted(OLD)), holder(OLD, minted(OLD))
    assert first.token_id
    assert first.token_id != second.token_id
    assert first.issued_at == first.expires_at - 60


@pytest.mark.parametrize(
    "name",
    ["carol\ufe0f", "car\u034fol", "\u3164carol", "carol\u115f", "carol\U000e0100", "carol\u2800"],
)
def test_invisible_characters_make_no_other_person(name: str) -> None:
    assert name.isprintable(), "a token may have it"
    assert person(name) == "carol"


def test_a_token_without_an_id_stays_valid() -> None:
    claims = jwt.decode(minted(OLD), options={"verify_signature": False})
    del claims["jti"]
    assert holder(OLD, jwt.encode(claims, OLD)).token_id is None


@pytest.mark.parametrize("token_id", ["", "a\0b", "x" * 201, 7])
def test_a_token_with_an_id_that_nobody_can_store_is_invalid(token_id: object) -> None:
    claims = jwt.decode(minted(OLD), options={"verify_signature": False})
    with pytest.raises(InvalidToken):
        holder(OLD, jwt.encode(claims | {"jti": token_id}, OLD))


def test_all_spellings_of_a_name_are_one_person() -> None:
    spellings = ["Carol Ann", "carol ann", " CAROL  ANN ", "\uff43arol ann"]
    assert {person(each) for each in spellings} == {"carol ann"}
    assert person("carol") != person("carola")
