"""A request as handlers see it, and the types that validate its body and its query."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextvars import ContextVar
from decimal import Decimal
from typing import Annotated, Any, ClassVar, Literal, TypeVar, get_args
from urllib.parse import parse_qsl

import msgspec
from solders.pubkey import Pubkey
from werkzeug.exceptions import UnsupportedMediaType
from werkzeug.http import parse_options_header

from cvms.config.webhook_url import MAX_URL
from cvms.errors import FieldProblem, InvalidRequest
from cvms.log.fields import log_fields
from cvms.metrics.http_metrics import RouteMetrics
from cvms.store.redis.rate_limiter import Allowance
from cvms.store.submissions.submissions import NO_REQUEST, Origin
from cvms.traces.trace_context import RequestTrace

MAX_AMOUNT = 2**63 - 1
AMOUNTS = "amounts"
"""Parameter of a query and of `Accept`, with the value `string`."""
MAX_SIGNERS = 10
"""Signers of a multisig, as in the program."""
MAX_PAGE = 100
_SLOT = re.compile(r"[0-9]{1,19}")
_WEIGHT = re.compile(r"0(\.[0-9]{0,3})?|1(\.0{0,3})?")

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
        "amount_strings",
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
        "route",
        "trace",
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
        self.route: RouteMetrics | None = None
        """The metrics of its route, from when that answers it."""
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
        self.amount_strings = False
        """Whether its reply has amounts and carries them as strings."""
        self.clamped_limit: int | None = None
        """The number of rows that it gets instead of a larger one that it asked for."""
        self.indexed_slot: int | None = None
        """The slot that what was read for it is true for, if that is known."""
        self.allowances: list[Allowance] = []
        """The allowances that were checked for it; the response reports the scarcest."""
        self.trace: RequestTrace | None = None
        """Its place in a trace, if it is traced."""

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


def request_origin() -> Origin:
    """Return what links a submission to the request that this task answers."""
    request = _current.get()
    if request is None:
        return NO_REQUEST
    return Origin(request.id, request.trace.context.traceparent if request.trace else None)


def join_trace(traceparent: str | None) -> None:
    """Let the request that this task answers continue a trace, unless its client has given one."""
    request = _current.get()
    if request is not None and request.trace is not None:
        request.trace.join(traceparent)


def end_request() -> None:
    """Let this task answer no request: it keeps neither the body nor the fields of its logs."""
    _current.set(None)
    log_fields.set({})


class WholeNumber(int):
    """A number from 0 to 2^63 - 1; in JSON a number, or a string for who has no exact ones."""

    least, most = 0, MAX_AMOUNT
    unit = ""


class Uint32(WholeNumber):
    """A number from 0 to 2^32 - 1."""

    most = 2**32 - 1


class TokenAmount(WholeNumber):
    """An amount in the token's smallest unit, 1 to 2^63 - 1."""

    least = 1
    unit = " of token units"


class Exact(Decimal):
    """A fraction, written to replies as a JSON number with every digit and no exponent."""


class Body(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Base of every body and query. Unknown fields are refused, so that typos are noticed.

    `aliases` has other names under which a body's fields are taken too. A query's `limit` above
    `max_limit` is lowered to it.
    """

    aliases: ClassVar[Mapping[str, str]] = {}
    max_limit: ClassVar[int] = MAX_PAGE


# No characters that have a meaning in a header or in the signed text, or that PostgreSQL refuses.
Nonce = Annotated[str, msgspec.Meta(pattern=r"^[A-Za-z0-9_-]{16,64}\Z")]
WalletSignature = Annotated[str, msgspec.Meta(min_length=64, max_length=90)]
SignInMessage = Annotated[
    str,
    msgspec.Meta(
        max_length=2048,
        description="What the wallet signed, if that is not the request's text itself: a "
        "Sign-In-With-Solana message with the text as its statement, as text or in base64, or the "
        "bytes of an off-chain message or of a memo transaction that is never sent, in base64",
    ),
]
Threshold = Annotated[int, msgspec.Meta(ge=1, le=MAX_SIGNERS)]
Signers = Annotated[tuple[Pubkey, ...], msgspec.Meta(min_length=1, max_length=MAX_SIGNERS)]
ChangeText = Annotated[
    str,
    msgspec.Meta(
        pattern=r"^(min_delay|rate_limit|whitelist|transfer_allowance|multisig)="
        r"[0-9A-Za-z/,]{1,480}\Z",
        description="`min_delay=SECONDS`, `rate_limit=WINDOW_SECONDS/MAX_AMOUNT`, "
        "`whitelist=ADDRESS`, `transfer_allowance=AMOUNT` or `transfer_allowance=unlimited`, "
        "`multisig=THRESHOLD/SIGNER,SIGNER` or `multisig=0`",
        extra_json_schema={"format": "guard-change"},
    ),
]
AllowanceText = Annotated[
    str,
    msgspec.Meta(
        pattern=r"^(unlimited|0|[1-9][0-9]{0,18})\Z",
        description="An amount in the token's smallest unit as a string of its digits, or "
        "`unlimited`",
    ),
]
WebhookUrl = Annotated[str, msgspec.Meta(min_length=1, max_length=MAX_URL)]
EventTopic = Literal[
    "deposit_event",
    "withdraw_event",
    "lock_event",
    "unlock_event",
    "transfer_event",
    "timelock_event",
    "yield_event",
    "transaction_update",
]
"""A topic whose events webhooks get; see `cvms.store.messaging.webhooks.event_messages.TOPICS`."""
EventTopics = Annotated[
    list[EventTopic], msgspec.Meta(min_length=1, max_length=len(get_args(EventTopic)))
]
# Without what nobody sees, such as marks that turn text around: people decide by it. Tabs and line
# breaks may be in it.
_VISIBLE = (
    r"^(?=\s*\S)[^\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f"
    r"\u061c\u200b\u200e\u200f\u202a-\u202e\u2060-\u2069\ufeff]+\Z"
)
Reason = Annotated[str, msgspec.Meta(min_length=1, max_length=500, pattern=_VISIBLE)]
OverlapSeconds = Annotated[int, msgspec.Meta(ge=0, le=7 * 86_400)]
"""For which the old and the new secret of a webhook sign."""
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

    A `limit` above the query's `max_limit` is lowered to it, and the response says so.
    """
    fields: dict[str, str] = {}
    text = current_request().query_string.decode("ascii", "replace")
    for name, value in parse_qsl(text, keep_blank_values=True, errors="werkzeug.url_quote"):
        if name in fields:
            raise field_error("The query", name, "given more than once")
        fields[name] = value
    fields.pop(AMOUNTS, None)
    try:
        query = msgspec.convert(fields, kind, strict=False, dec_hook=_field)
    except msgspec.ValidationError as error:
        raise _invalid("The query", error) from None
    if isinstance(query, Body) and getattr(query, "limit", 0) > query.max_limit:
        current_request().clamped_limit = query.max_limit
        return msgspec.structs.replace(query, limit=query.max_limit)
    return query


def wants_amount_strings(request: Request) -> bool:
    """Return whether the client asks for amounts as strings, in the query or in `Accept`.

    Raises InvalidRequest for another value in the query.
    """
    if AMOUNTS.encode() in request.query_string:
        query = parse_qsl(request.query_string.decode("ascii", "replace"), keep_blank_values=True)
        asked = [value for name, value in query if name == AMOUNTS]
        if asked and asked not in (["string"], ["number"]):
            raise field_error("The query", AMOUNTS, "expected `string` or `number`, once")
        if asked:
            return asked == ["string"]
    accept = ",".join(request.headers.get("accept", ())).lower()
    return AMOUNTS in accept and _quality(accept, "string") >= max(_quality(accept, None), 0.001)


def _quality(accept: str, amounts: str | None) -> float:
    """Return the weight of JSON with such amounts; 0 unless it is listed."""
    ranges = [parse_options_header(each) for each in accept.split(",")]
    weights = [
        options.get("q", "1")
        for kind, options in ranges
        if kind == "application/json" and options.get(AMOUNTS) == amounts
    ]
    return max((float(each) for each in weights if _WEIGHT.fullmatch(each)), default=0.0)


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
    if issubclass(kind, WholeNumber):
        return _whole_number(kind, value)
    if kind is Pubkey:
        return pubkey_of(value)
    raise NotImplementedError(kind)


def _whole_number(kind: type[WholeNumber], value: Any) -> WholeNumber:
    if isinstance(value, str) and re.fullmatch(r"0|[1-9][0-9]{0,18}", value, re.ASCII):
        value = int(value)
    is_number = isinstance(value, int) and not isinstance(value, bool)
    if not is_number or not kind.least <= value <= kind.most:
        raise ValueError(f"Expected a whole number{kind.unit}, {kind.least} to {kind.most}")
    return kind(value)


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
