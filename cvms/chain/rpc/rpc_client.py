"""A node's JSON-RPC, typed. Every method has a deadline and fails over to another endpoint.

All raise RpcError for a node's own answer, ChainTimeout and ChainUnavailable when none answers.
(Source of the shapes: https://solana.com/docs/rpc/http.)
"""

from __future__ import annotations

import base64
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

from based58 import b58encode
from solders.pubkey import Pubkey

from cvms.chain.rpc import responses
from cvms.chain.rpc.endpoint_probe import EndpointProbe
from cvms.chain.rpc.responses import (
    AccountsAt,
    InContext,
    LatestBlockhash,
    SignatureInfo,
    SignatureStatus,
    Simulation,
    StatusesAt,
    TransactionRecord,
    read,
)
from cvms.chain.rpc.status_quorum import merge_statuses
from cvms.chain.rpc.transport.endpoint_state import EndpointState, states
from cvms.chain.rpc.transport.failover import (
    EndpointReply,
    FailoverTransport,
    failure_of,
    open_transport,
)
from cvms.chain.types import Account, BlockHeight, Commitment, Lamports, Slot
from cvms.errors import RpcError
from cvms.metrics import Metrics

__all__ = [
    "AccountsAt",
    "EndpointReply",
    "EndpointState",
    "LatestBlockhash",
    "RpcClient",
    "SignatureInfo",
    "SignatureStatus",
    "Simulation",
    "StatusesAt",
    "TransactionRecord",
    "open_rpc",
]

ACCOUNTS_PER_CALL = 100
STATUSES_PER_CALL = 256
GRACE_SECONDS = 0.5  # for the other endpoints, once one has taken a transaction
HIGHEST_TRANSACTION_VERSION = 1  # a node refuses to show a later version than one asks for

Options = dict[str, Any]


@asynccontextmanager
async def open_rpc(
    urls: Sequence[str], *, timeout: float = 5.0, metrics: Metrics | None = None
) -> AsyncIterator[RpcClient]:
    """An Rpc over these endpoints; `timeout` (seconds) bounds each request, retry included."""
    async with open_transport(urls, timeout=timeout, metrics=metrics) as transport:
        yield RpcClient(transport)


class RpcClient:
    """Typed calls over a Transport."""

    def __init__(self, transport: FailoverTransport) -> None:
        self._transport = transport
        self._probe = EndpointProbe(transport)

    @property
    def available(self) -> bool:
        """False while every endpoint is marked down: calls then fail at once."""
        return self._transport.available

    @property
    def endpoints(self) -> list[EndpointState]:
        """How each endpoint does, by its host, in the order of configuration."""
        return states(self._transport.pool)

    @property
    def newest_slot(self) -> Slot:
        """The newest slot that an endpoint was seen at; 0 before the first answer."""
        return Slot(self._transport.pool.newest_slot)

    async def probe(self) -> Slot:
        """Ask every endpoint at once, also those marked down; success clears the mark.

        Now and then it is compared whether all tell of the same chain. Takes at most 1.5 s.
        Returns the newest confirmed slot.
        """
        return await self._probe.run_once()

    async def call(self, method: str, params: Sequence[Any]) -> Any:
        """Any read that has no method here."""
        return await self._transport.call(method, params)

    async def batch(self, calls: Sequence[tuple[str, Sequence[Any]]]) -> list[Any | RpcError]:
        """Reads in as few requests as possible; a node's error is a value in its place."""
        return await self._transport.batch(calls)

    async def everywhere(self, method: str, params: Sequence[Any]) -> list[EndpointReply]:
        """Ask every healthy endpoint at once, and return what each said, best first.

        Raises ChainUnavailable when there is none to ask.
        """
        return await self._transport.everywhere(method, params)

    async def get_slot(
        self, commitment: Commitment, *, min_context_slot: Slot | None = None
    ) -> Slot:
        options = _at(commitment, minContextSlot=min_context_slot)
        return Slot(read(int, await self.call("getSlot", [options]), "getSlot"))

    async def get_block_height(
        self, commitment: Commitment, *, min_context_slot: Slot | None = None
    ) -> BlockHeight:
        options = _at(commitment, minContextSlot=min_context_slot)
        answer = await self.call("getBlockHeight", [options])
        return BlockHeight(read(int, answer, "getBlockHeight"))

    async def get_latest_blockhash(
        self,
        commitment: Commitment = Commitment.CONFIRMED,
        *,
        min_context_slot: Slot | None = None,
    ) -> LatestBlockhash:
        method = "getLatestBlockhash"
        answer = await self.call(method, [_at(commitment, minContextSlot=min_context_slot)])
        got = read(InContext[responses.BlockhashAnswer], answer, method)
        height = BlockHeight(got.value.last_valid_block_height)
        return LatestBlockhash(got.value.blockhash, height, Slot(got.context.slot))

    async def get_balance(
        self, address: Pubkey, *, commitment: Commitment = Commitment.CONFIRMED
    ) -> Lamports:
        answer = await self.call("getBalance", [str(address), _at(commitment)])
        return Lamports(read(InContext[responses.Count], answer, "getBalance").value)

    async def get_accounts(
        self,
        addresses: Sequence[Pubkey],
        *,
        commitment: Commitment,
        min_context_slot: Slot | None = None,
        data_slice: tuple[int, int] | None = None,
    ) -> AccountsAt:
        """The accounts at these addresses; see AccountsAt for what more than 100 mean.

        `data_slice` is (offset, length).
        """
        accounts: list[Account | None] = []
        slots: list[Slot] = []
        for start in range(0, max(len(addresses), 1), ACCOUNTS_PER_CALL):
            chunk = addresses[start : start + ACCOUNTS_PER_CALL]
            slot, some = await self._get_accounts(chunk, commitment, min_context_slot, data_slice)
            accounts += some
            slots += [slot] * max(len(some), 1)
        return AccountsAt(min(slots), tuple(accounts), tuple(slots[: len(accounts)]))

    async def _get_accounts(
        self,
        addresses: Sequence[Pubkey],
        commitment: Commitment,
        min_context_slot: Slot | None,
        data_slice: tuple[int, int] | None,
    ) -> tuple[Slot, list[Account | None]]:
        method = "getMultipleAccounts"
        options = _at(
            commitment,
            encoding="base64",
            minContextSlot=min_context_slot,
            dataSlice=_slice(data_slice),
        )
        answer = await self.call(method, [[str(each) for each in addresses], options])
        got = read(InContext[list[responses.AccountAnswer | None]], answer, method)
        if len(got.value) != len(addresses):
            raise responses.unexpected(method, f"{len(got.value)} accounts for {len(addresses)}")
        accounts = [None if each is None else responses.account(each, method) for each in got.value]
        return Slot(got.context.slot), accounts

    async def get_program_accounts(
        self,
        program: Pubkey,
        *,
        discriminator: bytes,
        commitment: Commitment,
        data_slice: tuple[int, int] | None = None,
    ) -> tuple[Slot, list[tuple[Pubkey, Account]]]:
        """Every account of `program` that begins with `discriminator`.

        `data_slice` is (offset, length); (0, 0) fetches addresses only, for large sets.
        """
        method = "getProgramAccounts"
        memcmp = {"offset": 0, "bytes": b58encode(discriminator).decode()}
        options = _at(
            commitment,
            encoding="base64",
            withContext=True,
            filters=[{"memcmp": memcmp}],
            dataSlice=_slice(data_slice),
        )
        answer = await self.call(method, [str(program), options])
        got = read(InContext[list[responses.KeyedAccountAnswer]], answer, method)
        accounts = [(each.pubkey, responses.account(each.account, method)) for each in got.value]
        return Slot(got.context.slot), accounts

    async def get_signatures_for_address(
        self,
        address: Pubkey,
        *,
        commitment: Commitment,
        limit: int = 1000,
        before: str | None = None,
        until: str | None = None,
        min_context_slot: Slot | None = None,
    ) -> list[SignatureInfo]:
        """Newest first. A node that does not know `until` answers as if it were not given."""
        method = "getSignaturesForAddress"
        options = _at(
            commitment, limit=limit, before=before, until=until, minContextSlot=min_context_slot
        )
        answer = await self.call(method, [str(address), options])
        return [
            SignatureInfo(
                each.signature,
                Slot(each.slot),
                each.err,
                each.block_time,
                each.confirmation_status or Commitment.CONFIRMED,
            )
            for each in read(list[responses.SignatureAnswer], answer, method)
        ]

    async def get_transactions(
        self, signatures: Sequence[str], *, commitment: Commitment, at_slot: Slot | None = None
    ) -> list[TransactionRecord | None]:
        """In the order of `signatures`; None where the node does not know one at `commitment`.

        An endpoint known to have reached `at_slot` is asked first. The RPC cannot be held to it, so
        a None is no evidence that there is nothing.
        """
        method = "getTransaction"
        version = HIGHEST_TRANSACTION_VERSION
        options = _at(commitment, encoding="json", maxSupportedTransactionVersion=version)
        calls = [(method, [each, options]) for each in signatures]
        batch = await self._transport.batch(calls, at_slot=at_slot or 0)
        return [_record(*pair) for pair in zip(signatures, batch, strict=True)]

    async def get_signature_statuses(
        self, signatures: Sequence[str]
    ) -> list[SignatureStatus | None]:
        """In the order of `signatures`, old ones included; None where the node knows nothing."""
        return (await self.statuses_at(signatures)).statuses

    async def statuses_at(
        self, signatures: Sequence[str], *, at_slot: Slot | None = None
    ) -> StatusesAt:
        """The same, with the lowest slot that the answers hold for.

        An endpoint known to have reached `at_slot` is asked first, but one that has not may answer:
        compare the slot before a None counts.
        """
        slots: list[Slot] = []
        statuses: list[SignatureStatus | None] = []
        for chunk in _chunks(signatures, STATUSES_PER_CALL):
            params = _statuses_params(chunk)
            answer = await self._transport.call(
                "getSignatureStatuses", params, at_slot=at_slot or 0
            )
            some = responses.statuses(answer, len(chunk))
            slots.append(some.slot)
            statuses += some.statuses
        return StatusesAt(min(slots, default=Slot(0)), statuses)

    async def statuses_everywhere(
        self, signatures: Sequence[str], *, min_context_slot: Slot
    ) -> StatusesAt:
        """Ask every healthy endpoint; found by any is found.

        That there is nothing is certain only if the answer's `slot` is `min_context_slot` or more:
        then every endpoint that has reached it has answered, and none knows the signature.
        Raises RpcError or a ChainUnavailable when none answers.
        """
        slots: list[Slot] = []
        statuses: list[SignatureStatus | None] = []
        for chunk in _chunks(signatures, STATUSES_PER_CALL):
            heard = await self.everywhere("getSignatureStatuses", _statuses_params(chunk))
            some = merge_statuses(heard, count=len(chunk), min_context_slot=min_context_slot)
            slots.append(some.slot)
            statuses += some.statuses
        return StatusesAt(min(slots, default=Slot(0)), statuses)

    async def send_transaction(
        self, wire: bytes, *, skip_preflight: bool = True, max_retries: int = 0
    ) -> str:
        """Hand the signed bytes to one node; returns the signature.

        Another endpoint is tried only when the first does not accept the connection. A timeout
        leaves open whether it was sent: send the same bytes again, never others.
        """
        params = _send_params(wire, skip_preflight=skip_preflight, max_retries=max_retries)
        answer = await self._transport.call("sendTransaction", params, repeatable=False)
        return read(str, answer, "sendTransaction")

    async def send_everywhere(
        self, wire: bytes, *, skip_preflight: bool = True, max_retries: int = 0
    ) -> str:
        """Hand the signed bytes to every healthy endpoint at once; returns the signature.

        To the chain the same bytes are one transaction, however often they come. It is sent when
        any node takes it; the others are then waited for `GRACE_SECONDS` more. When none does, the
        RpcError holds every node's words.
        """
        params = _send_params(wire, skip_preflight=skip_preflight, max_retries=max_retries)
        heard = await self._transport.everywhere(
            "sendTransaction", params, grace=GRACE_SECONDS, doubtful=True
        )
        for each in heard:
            if each.ok:
                return read(str, each.answer, "sendTransaction")
        raise failure_of(heard)

    async def simulate(
        self,
        wire: bytes,
        *,
        sig_verify: bool = False,
        replace_recent_blockhash: bool = False,
        commitment: Commitment = Commitment.CONFIRMED,
    ) -> Simulation:
        """Run the transaction against the node's state, changing nothing."""
        method = "simulateTransaction"
        options = _at(
            commitment,
            encoding="base64",
            sigVerify=sig_verify,
            replaceRecentBlockhash=replace_recent_blockhash,
        )
        answer = await self.call(method, [base64.b64encode(wire).decode(), options])
        got = read(InContext[responses.SimulationAnswer], answer, method)
        value, slot = got.value, Slot(got.context.slot)
        return Simulation(value.err, value.logs or [], value.units_consumed or 0, slot)

    async def get_recent_prioritization_fees(self, addresses: Sequence[Pubkey]) -> list[int]:
        """Micro-lamports per compute unit, one for each recent slot; at most 128 addresses."""
        method = "getRecentPrioritizationFees"
        answer = await self.call(method, [[str(each) for each in addresses]])
        got = read(list[responses.FeeAnswer], answer, method)
        return [each.prioritization_fee for each in got]


def _at(commitment: Commitment, **options: Any) -> Options:
    """The options object of a call; those that are None are left out."""
    given = {name: value for name, value in options.items() if value is not None}
    return {"commitment": commitment, **given}


def _slice(piece: tuple[int, int] | None) -> Options | None:
    return None if piece is None else {"offset": piece[0], "length": piece[1]}


def _chunks(signatures: Sequence[str], size: int) -> Iterator[list[str]]:
    for start in range(0, len(signatures), size):
        yield list(signatures[start : start + size])


def _statuses_params(signatures: Sequence[str]) -> list[Any]:
    return [signatures, {"searchTransactionHistory": True}]


def _send_params(wire: bytes, *, skip_preflight: bool, max_retries: int) -> list[Any]:
    options = {
        "encoding": "base64",
        "skipPreflight": skip_preflight,
        "preflightCommitment": Commitment.CONFIRMED,
        "maxRetries": max_retries,
    }
    return [base64.b64encode(wire).decode(), options]


def _record(signature: str, answer: Any | RpcError) -> TransactionRecord | None:
    if answer is None:
        return None
    if isinstance(answer, RpcError):
        raise answer
    got = read(responses.TransactionAnswer, answer, "getTransaction")
    record = responses.transaction(got, "getTransaction")
    if record.signature != signature:
        raise responses.unexpected("getTransaction", "another transaction")
    return record
