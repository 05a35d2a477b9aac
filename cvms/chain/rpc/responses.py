"""Typed results of RPC calls. A response of the wrong shape raises RpcError, never a KeyError."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Annotated, Any, Generic, TypeVar

import msgspec
from solders.hash import Hash
from solders.pubkey import Pubkey

from cvms.chain.rpc.error_codes import INTERNAL_ERROR
from cvms.chain.types import Account, BlockHeight, Commitment, Lamports, Slot
from cvms.errors import RpcError

T = TypeVar("T")

UNEXPECTED_SHAPE = INTERNAL_ERROR  # the node's own, since it broke its interface

Count = Annotated[int, msgspec.Meta(ge=0)]
FIRST_BLOCK_TIME = 1_584_230_400  # 15 March 2020, the day before the first block of Solana
LAST_BLOCK_TIME = 4_102_444_800  # the year 2100


@dataclass(frozen=True, slots=True)
class AccountsAt:
    """Accounts in the order of the request, None where there is none.

    Up to ACCOUNTS_PER_CALL accounts hold for the same `slot`. More take several calls: `slots` has
    the slot of each account, and `slot` the lowest.
    """

    slot: Slot
    accounts: tuple[Account | None, ...]
    slots: tuple[Slot, ...]


@dataclass(frozen=True, slots=True)
class SignatureInfo:
    """A transaction that mentions an address. `err` is the node's JSON, None for success.

    `commitment` is the transaction's own. It is `confirmed`, the lowest that the call returns, when
    the node does not say.
    """

    signature: str
    slot: Slot
    err: Any
    block_time: int | None
    commitment: Commitment = Commitment.CONFIRMED


@dataclass(frozen=True, slots=True)
class SignatureStatus:
    """Status of a transaction. `confirmations` is None once it is finalized."""

    slot: Slot
    confirmations: int | None
    err: Any
    commitment: Commitment


@dataclass(frozen=True, slots=True)
class StatusesAt:
    """Statuses in the order of the request.

    A None says only that there is no such transaction up to `slot`: from a node that is behind it
    is no evidence.
    """

    slot: Slot
    statuses: list[SignatureStatus | None]


class RawInstruction(msgspec.Struct, frozen=True):
    """An executed instruction.

    `index` is that of the top-level instruction, `inner_index` the position among its inner ones.
    """

    index: int
    inner_index: int | None
    program_id: Pubkey
    accounts: tuple[Pubkey, ...]
    data: bytes


@dataclass(frozen=True, slots=True)
class TransactionRecord:
    """A transaction on chain. Its inner instructions follow their top-level instruction.

    `account_keys` include those from lookup tables. `logs` is None when the node kept none.
    """

    signature: str
    slot: Slot
    block_time: int | None
    err: Any
    logs: list[str] | None
    account_keys: list[Pubkey]
    instructions: list[RawInstruction]
    fee: Lamports

    @property
    def top_level_programs(self) -> list[Pubkey]:
        """The program of each top-level instruction."""
        return [each.program_id for each in self.instructions if each.inner_index is None]


@dataclass(frozen=True, slots=True)
class Simulation:
    """Outcome of a simulation. `err` is the node's JSON, None for success.

    `units_consumed` is None when the node does not say. `payer_before` and `payer_after` are the
    fee payer's lamports; the former is None when the node does not say, as those before Agave 3,
    the latter when it was not asked.
    """

    err: Any
    logs: list[str]
    units_consumed: int | None
    slot: Slot
    payer_before: Lamports | None = None
    payer_after: Lamports | None = None


class Context(msgspec.Struct, frozen=True):
    slot: Count


class InContext(msgspec.Struct, Generic[T], frozen=True):
    """`{"context": {"slot": …}, "value": …}`."""

    context: Context
    value: T


class AccountResponse(msgspec.Struct, frozen=True):
    lamports: Count
    owner: Pubkey
    data: tuple[str, str]
    executable: bool


class KeyedAccountResponse(msgspec.Struct, frozen=True):
    pubkey: Pubkey
    account: AccountResponse


class BlockhashResponse(msgspec.Struct, frozen=True, rename="camel"):
    blockhash: Hash
    last_valid_block_height: Count


class SignatureResponse(msgspec.Struct, frozen=True, rename="camel"):
    signature: str
    slot: Count
    err: Any
    block_time: int | None = None
    confirmation_status: Commitment | None = None


class StatusResponse(msgspec.Struct, frozen=True, rename="camel"):
    slot: Count
    err: Any
    confirmations: Count | None = None
    confirmation_status: Commitment | None = None


class SimulationResponse(msgspec.Struct, frozen=True, rename="camel"):
    err: Any
    logs: list[str] | None = None
    units_consumed: Any = None
    accounts: list[AccountResponse | None] | None = None
    pre_balances: list[Count] | None = None


class FeeResponse(msgspec.Struct, frozen=True, rename="camel"):
    prioritization_fee: Count


def signature_infos(answer: Any) -> list[SignatureInfo]:
    """Return the result of getSignaturesForAddress. Raises RpcError."""
    return [
        SignatureInfo(
            each.signature,
            Slot(each.slot),
            each.err,
            block_time(each.block_time),
            each.confirmation_status or Commitment.CONFIRMED,
        )
        for each in read(list[SignatureResponse], answer, "getSignaturesForAddress")
    ]


def block_time(seconds: int | None) -> int | None:
    """Return a block's time as Unix seconds; None for one that cannot be right.

    Some providers send milliseconds.
    """
    if seconds is None:
        return None
    candidates = (seconds, seconds // 1000)
    return next((t for t in candidates if FIRST_BLOCK_TIME <= t < LAST_BLOCK_TIME), None)


def read(kind: type[T], answer: Any, method: str) -> T:
    """Return `answer` as `kind`. Raises RpcError when it has another shape."""
    try:
        return msgspec.convert(answer, kind, dec_hook=_from_base58)
    except msgspec.ValidationError as error:
        raise unexpected(method, str(error)) from None


def reader(kind: Any, method: str) -> Callable[[Any], Any]:
    """Return the parser of a response of this kind."""
    return partial(read, kind, method=method)


def unexpected(method: str, why: str) -> RpcError:
    """Return the error for a response that breaks the interface."""
    return RpcError(UNEXPECTED_SHAPE, f"{method} answered something unexpected: {why}")


def account(answer: AccountResponse, method: str) -> Account:
    """Return the account. Raises RpcError when its data are not base64."""
    text, encoding = answer.data
    try:
        if encoding != "base64":
            raise ValueError(f"data in {encoding}")
        data = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError) as error:
        raise unexpected(method, str(error)) from None
    return Account(Lamports(answer.lamports), answer.owner, data, answer.executable)


def status(answer: StatusResponse) -> SignatureStatus:
    """Return the status.

    Old nodes omit the commitment. A missing count of confirmations then means `finalized`.
    """
    commitment = answer.confirmation_status
    if commitment is None:
        rooted = answer.confirmations is None
        commitment = Commitment.FINALIZED if rooted else Commitment.PROCESSED
    return SignatureStatus(Slot(answer.slot), answer.confirmations, answer.err, commitment)


def statuses(answer: Any, count: int) -> StatusesAt:
    """Return the result of getSignatureStatuses for `count` signatures. Raises RpcError."""
    method = "getSignatureStatuses"
    got = read(InContext[list[StatusResponse | None]], answer, method)
    if len(got.value) != count:
        raise unexpected(method, f"{len(got.value)} statuses for {count}")
    parsed = [None if each is None else status(each) for each in got.value]
    return StatusesAt(Slot(got.context.slot), parsed)


def _from_base58(kind: type, value: Any) -> Any:
    if not isinstance(value, str):
        raise TypeError("not a string")  # msgspec makes a ValidationError of it
    return (Hash if kind is Hash else Pubkey).from_string(value)


@dataclass(frozen=True, slots=True)
class LatestBlockhash:
    """A blockhash, the last block height at which it is valid, and the slot of the response."""

    blockhash: Hash
    last_valid_block_height: BlockHeight
    slot: Slot
