"""Parsing of request bodies and queries, and the types that validate their fields."""

from __future__ import annotations

import re
from decimal import Decimal
from typing import Annotated, Any, TypeVar

import msgspec
from quart import Response, request
from solders.pubkey import Pubkey
from werkzeug.exceptions import UnsupportedMediaType

from cvms.errors import FieldProblem, InvalidRequest

MAX_AMOUNT = 2**63 - 1

T = TypeVar("T")


class TokenAmount(int):
    """An amount in the token's smallest unit, 1 to 2^63 - 1; a number or a decimal string."""


class Exact(Decimal):
    """A fraction, written to replies as a JSON number with every digit and no exponent."""


class Body(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Base of every body and query. Unknown fields are refused, so that typos are noticed."""


# No characters that have a meaning in a header or in the signed text, or that PostgreSQL refuses.
Nonce = Annotated[str, msgspec.Meta(pattern=r"^[A-Za-z0-9_-]{16,64}\Z")]
WalletSignature = Annotated[str, msgspec.Meta(min_length=64, max_length=90)]
SignInMessage = Annotated[
    str,
    msgspec.Meta(
        max_length=2048,
        description="The Sign-In-With-Solana message, exactly as signed, if the wallet signed a "
        "message with the request's text as its statement instead of the text itself",
    ),
]
Seconds = Annotated[int, msgspec.Meta(ge=0, le=MAX_AMOUNT)]
Limit = Annotated[int, msgspec.Meta(ge=1, le=100)]
Offset = Annotated[int, msgspec.Meta(ge=0, le=10_000_000)]
RowId = Annotated[int, msgspec.Meta(ge=1, le=MAX_AMOUNT)]
Slot = Annotated[int, msgspec.Meta(ge=0, le=MAX_AMOUNT)]
Uuid = Annotated[str, msgspec.Meta(pattern=r"^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}\Z")]


async def read_body(kind: type[T]) -> T:
    """Return the JSON body as `kind`. Raises InvalidRequest, or the HTTP error 413 or 415."""
    if request.mimetype != "application/json":
        raise UnsupportedMediaType("Send the body as `Content-Type: application/json`.")
    if request.headers.get("Content-Encoding", "").lower() not in {"", "identity"}:
        raise UnsupportedMediaType("Send the body without a `Content-Encoding`.")
    return decode(await request.get_data(as_text=False), kind)


def decode(raw: bytes | str, kind: type[T]) -> T:
    """Return JSON as `kind`. Raises only InvalidRequest, whatever the bytes are."""
    try:
        return msgspec.json.decode(raw, type=kind, dec_hook=_field)
    except (msgspec.DecodeError, UnicodeError, RecursionError) as error:
        raise _invalid("The body", error) from None


def read_query(kind: type[T]) -> T:
    """Return the query string as `kind`. Raises InvalidRequest, also for a repeated parameter."""
    repeated = [name for name, values in request.args.lists() if len(values) > 1]
    if repeated:
        raise field_error("The query", repeated[0], "given more than once")
    try:
        return msgspec.convert(request.args.to_dict(), kind, strict=False, dec_hook=_field)
    except msgspec.ValidationError as error:
        raise _invalid("The query", error) from None


def owner_in_path(text: str) -> Pubkey:
    """Return the public key in a path. Raises InvalidRequest."""
    try:
        return _pubkey(text)
    except ValueError as error:
        raise field_error("The path", "owner", str(error)) from None


def read_min_slot() -> int:
    """Return the slot in `X-Min-Slot`, 0 without one. Raises InvalidRequest."""
    text = request.headers.get("X-Min-Slot", "0")
    if not (text.isascii() and text.isdecimal() and len(text) < 20):
        raise field_error("The header", "X-Min-Slot", "expected a slot, at most 19 digits")
    return int(text)


def json_response(value: Any, status: int = 200) -> Response:
    """Return the value as a JSON response."""
    content = msgspec.json.encode(value, enc_hook=_encode_exact)
    return Response(content, status, content_type="application/json")


def _encode_exact(value: Any) -> msgspec.Raw:
    if not isinstance(value, Exact):
        raise NotImplementedError(type(value))
    whole, _, decimals = f"{value:f}".partition(".")
    decimals = decimals.rstrip("0")
    return msgspec.Raw(f"{whole}.{decimals}" if decimals else whole)


def _field(kind: type, value: Any) -> Any:
    if kind is TokenAmount:
        return _amount(value)
    if kind is Pubkey:
        return _pubkey(value)
    raise NotImplementedError(kind)


def _amount(value: Any) -> TokenAmount:
    if isinstance(value, str) and re.fullmatch(r"[1-9][0-9]{0,18}", value, re.ASCII):
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= MAX_AMOUNT:
        raise ValueError("Expected a whole number of token units, 1 to 9223372036854775807")
    return TokenAmount(value)


def _pubkey(value: Any) -> Pubkey:
    # Check the length first: base58 decoding takes quadratic time.
    if isinstance(value, str) and 32 <= len(value) <= 44:
        try:
            return Pubkey.from_string(value)
        except ValueError:
            pass
    raise ValueError("Expected a base58 public key")


def _invalid(what: str, error: Exception) -> InvalidRequest:
    if not isinstance(error, msgspec.ValidationError):
        return field_error(what, "", "not valid JSON in UTF-8")
    message, _, path = str(error).partition(" - at `$")
    return field_error(what, path.removesuffix("`").removeprefix("."), message)


def field_error(what: str, path: str, message: str) -> InvalidRequest:
    """Return the error for a field of the body, the query or the path; "" is all of it."""
    where = f" at `{path}`" if path else ""
    return InvalidRequest(f"{what} is invalid{where}: {message}.", [FieldProblem(path, message)])
