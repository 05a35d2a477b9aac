"""A request as handlers see it, and the types that validate its body and its query."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextvars import ContextVar
from decimal import Decimal
from typing import Annotated, Any, ClassVar, TypeVar
from urllib.parse import parse_qsl

import msgspec
from solders.pubkey import Pubkey
from werkzeug.exceptions import UnsupportedMediaType
from werkzeug.http import parse_options_header

from cvms.errors import FieldProblem, InvalidRequest
from cvms.log import log_fields
from cvms.store.redis.rate_limiter import Allowance

MAX_AMOUNT = 2**63 - 1
MAX_PAGE = 100
_SLOT = re.compile(r"[0-9]{1,19}")

T = TypeVar("T")
B = TypeVar("B", bound="Body")

_current: ContextVar[Request | None] = ContextVar("request", default=None)


class Request:
    """A request, or the handshake of a WebSocket, whichever way it came.

    `headers` has the values of each name, which is in lower case, in their order. `body` returns
    the whole body, or raises the HTTP error 413. `plain` says whether the path is spelled as in our
    own documents, `peer` is the address at the other end of the connection, and
    `identity` tells the request from all others.
    """

    __slots__ = (
        "address",
        "allowances",
        "body",
        "clamped_limit",
        "headers",
        "id",
        "indexed_slot",
        "method",
        "path",
        "peer",
        "plain",
        "probes_only",
        "query_string",
        "raw_path",
    )

    def __init__(
        self,
        method: str,
        path: str,
        *,
        raw_path: bytes,
        query_string: bytes,
        headers: Mapping[str, Sequence[str]],
        body: Callable[[], Awaitable[bytes]],
        peer: str,
        plain: bool,
        probes_only: bool,
        identity: str,
    ) -> None:
        self.method = method
        self.path = path
        self.raw_path = raw_path
        self.query_string = query_string
        self.headers = headers
        self.body = body
        self.peer = peer
        self.plain = plain
        self.probes_only = probes_only
        self.id = identity
        self.address: str | None = None
        """The client's address, once it is known."""
        self.clamped_limit: int | None = None
        """The number of rows that it gets instead of a larger one that it asked for."""
        self.indexed_slot: int | None = None
        """The slot that what was read for it is true for, if that is known."""
        self.allowances: list[Allowance] = []
        """The allowances that were checked for it; the response reports the scarcest."""

    def header(self, name: str) -> str | None:
        """Return the first value of a header, whose name is given in lower case."""
        values = self.headers.get(name)
        return values[0] if values else None

    def make_current(self) -> None:
        """Let `current_request` return it in this task."""
        _current.set(self)


def current_request() -> Request:
    """Return the request that this task answers. Raises LookupError if there is none."""
    request = _current.get()
    if request is None:
        raise LookupError("this task answers no request")
    return request


def current_request_id() -> str:
    """Return the id of the request that this task answers, "" if there is none."""
    request = _current.get()
    return request.id if request else ""


def end_request() -> None:
    """Let this task answer no request: it keeps neither the body nor the fields of its logs."""
    _current.set(None)
    log_fields.set({})


class TokenAmount(int):
    """An amount in the token's smallest unit, 1 to 2^63 - 1; a number or a decimal string."""


class Exact(Decimal):
    """A fraction, written to replies as a JSON number with every digit and no exponent."""


class Body(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Base of every body and query. Unknown fields are refused, so that typos are noticed.

    `aliases` has other names under which a body's fields are taken too.
    """

    aliases: ClassVar[Mapping[str, str]] = {}


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
Limit = Annotated[
    int,
    msgspec.Meta(
        ge=1,
        le=MAX_AMOUNT,
        description=f"Rows of a page. More than {MAX_PAGE} get {MAX_PAGE}, and the header "
        "`X-Limit-Clamped` says so",
    ),
]
Offset = Annotated[int, msgspec.Meta(ge=0, le=10_000_000)]
RowId = Annotated[int, msgspec.Meta(ge=1, le=MAX_AMOUNT)]
Slot = Annotated[int, msgspec.Meta(ge=0, le=MAX_AMOUNT)]
Uuid = Annotated[str, msgspec.Meta(pattern=r"^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}\Z")]


async def read_body(kind: type[B]) -> B:
    """Return the JSON body as `kind`. Raises InvalidRequest, or the HTTP error 413 or 415."""
    request = current_request()
    if parse_options_header(request.header("content-type"))[0].lower() != "application/json":
        raise UnsupportedMediaType("Send the body as `Content-Type: application/json`.")
    if (request.header("content-encoding") or "").lower() not in {"", "identity"}:
        raise UnsupportedMediaType("Send the body without a `Content-Encoding`.")
    raw = await request.body()
    return _decode_with_aliases(raw, kind) if kind.aliases else decode(raw, kind)


def _decode_with_aliases(raw: bytes, kind: type[B]) -> B:
    fields = decode(raw, Any)
    if isinstance(fields, dict):
        for alias in fields.keys() & kind.aliases:
            name = kind.aliases[alias]
            if name in fields:
                raise field_error("The body", alias, f"the same as `{name}`, which is there too")
            fields[name] = fields.pop(alias)
    try:
        return msgspec.convert(fields, kind, dec_hook=_field)
    except msgspec.ValidationError as error:
        raise _invalid("The body", error) from None


def decode(raw: bytes | str, kind: type[T]) -> T:
    """Return JSON as `kind`. Raises only InvalidRequest, whatever the bytes are."""
    try:
        return msgspec.json.decode(raw, type=kind, dec_hook=_field)
    except (msgspec.DecodeError, UnicodeError, RecursionError) as error:
        raise _invalid("The body", error) from None


def read_query(kind: type[T]) -> T:
    """Return the query string as `kind`. Raises InvalidRequest, also for a repeated parameter.

    A `limit` above `MAX_PAGE` is lowered to it, and the response says so.
    """
    fields: dict[str, str] = {}
    text = current_request().query_string.decode("ascii", "replace")
    for name, value in parse_qsl(text, keep_blank_values=True, errors="werkzeug.url_quote"):
        if name in fields:
            raise field_error("The query", name, "given more than once")
        fields[name] = value
    try:
        query = msgspec.convert(fields, kind, strict=False, dec_hook=_field)
    except msgspec.ValidationError as error:
        raise _invalid("The query", error) from None
    if isinstance(query, Body) and getattr(query, "limit", 0) > MAX_PAGE:
        current_request().clamped_limit = MAX_PAGE
        return msgspec.structs.replace(query, limit=MAX_PAGE)
    return query


def owner_in_path(text: str) -> Pubkey:
    """Return the public key in a path. Raises InvalidRequest."""
    try:
        return pubkey_of(text)
    except ValueError as error:
        raise field_error("The path", "owner", str(error)) from None


def read_min_slot() -> int | None:
    """Return the slot in `X-Min-Slot`, None without one. Raises InvalidRequest."""
    texts = current_request().headers.get("x-min-slot")
    if texts is None:
        return None
    if len(texts) != 1 or not _SLOT.fullmatch(texts[0]) or int(texts[0]) > MAX_AMOUNT:
        raise field_error("The header", "X-Min-Slot", f"expected one slot, 0 to {MAX_AMOUNT}")
    return int(texts[0])


def _field(kind: type, value: Any) -> Any:
    if kind is TokenAmount:
        return _amount(value)
    if kind is Pubkey:
        return pubkey_of(value)
    raise NotImplementedError(kind)


def _amount(value: Any) -> TokenAmount:
    if isinstance(value, str) and re.fullmatch(r"[1-9][0-9]{0,18}", value, re.ASCII):
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= MAX_AMOUNT:
        raise ValueError("Expected a whole number of token units, 1 to 9223372036854775807")
    return TokenAmount(value)


def pubkey_of(value: Any) -> Pubkey:
    """Return the public key in base58. Raises ValueError."""
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
