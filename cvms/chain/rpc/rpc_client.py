"""Typed JSON-RPC client. Every method has a deadline and fails over to another endpoint.

Every method raises RpcError for an error that a node returns, and ChainTimeout or ChainUnavailable
when no node responds. Source of the shapes: https://solana.com/docs/rpc/http.
"""

from __future__ import annotations

import base64
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

from based58 import b58encode
from solders.pubkey import Pubkey

from cvms.chain.rpc import call_params, responses
from cvms.chain.rpc.call_params import ACCOUNTS_PER_CALL, at, slice_of
from cvms.chain.rpc.endpoint_probe import EndpointProbe
from cvms.chain.rpc.evidence.status_quorum import in_chunks, merge_statuses, statuses_from
from cvms.chain.rpc.responses import (
    AccountsAt,
    Count,
    InContext,
    LatestBlockhash,
    SignatureInfo,
    SignatureStatus,
    Simulation,
    StatusesAt,
    TransactionRecord,
    read,
    reader,
)
from cvms.chain.rpc.transaction_responses import transaction_call
from cvms.chain.rpc.transport.call_state import Call, unchecked
from cvms.chain.rpc.transport.endpoint_pool import Endpoint
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

GRACE_SECONDS = 0.5  # for the other endpoints, once one has accepted a transaction


@asynccontextmanager
async def open_rpc(
    urls: Sequence[str], *, timeout: float = 5.0, metrics: Metrics | None = None
) -> AsyncIterator[RpcClient]:
    """Open a client. `timeout` bounds a request and its retries. Raises ConfigurationError."""
    async with open_transport(urls, timeout=timeout, metrics=metrics) as transport:
        yield RpcClient(transport)


class RpcClient:
    """Typed calls over a FailoverTransport."""

    def __init__(self, transport: FailoverTransport) -> None:
        self._transport = transport
        self._probe = EndpointProbe(transport)

    @property
    def available(self) -> bool:
        """False while every endpoint is marked down, so that calls fail at once."""
        return self._transport.available

    @property
    def endpoints(self) -> list[EndpointState]:
        """State of each endpoint, in the order of configuration."""
        return states(self._transport.pool)

    @property
    def newest_slot(self) -> Slot:
        """The newest slot of any trusted endpoint; 0 before the first response."""
        return Slot(self._transport.pool.newest_slot)

    @property
    def only_host(self) -> str | None:
        """Host of the only endpoint that it asks; None if it may ask any."""
        return self._transport.only_host

    def each_endpoint(self) -> list[RpcClient]:
        """Return a client for each healthy endpoint, which asks no other, best endpoint first."""
        return [RpcClient(each) for each in self._transport.each_endpoint()]

    def expect_genesis(self, genesis: str, seen: Mapping[Endpoint, str]) -> None:
        """Use only endpoints of the chain with this genesis, given what some have shown."""
        self._probe.expect_genesis(genesis, seen)

    async def probe(self) -> Slot:
        """Query every endpoint at once and return the newest confirmed slot, within 1.5 s.

        An endpoint that was marked down and responds is used again. Periodically the probe also
        checks that all endpoints serve the same chain.
        """
        return await self._probe.run_once()

    async def call(
        self,
        method: str,
        params: Sequence[Any],
        *,
        parse: Callable[[Any], Any] = unchecked,
        may_lack: bool = False,
    ) -> Any:
        """Make a read that has no method of its own here. `parse` and `may_lack`: see Call."""
        return await self._transport.call(method, params, parse=parse, may_lack=may_lack)

    async def batch(self, calls: Sequence[Call]) -> list[Any | RpcError]:
        """Make reads in as few requests as possible.

        Return the results in the order of `calls`; a node's error is a value in its place.
        """
        return await self._transport.batch(calls)

    async def everywhere(self, method: str, params: Sequence[Any]) -> list[EndpointReply]:
        """Query every healthy endpoint at once and return their replies, best endpoint first.

        Raises ChainUnavailable when no endpoint is healthy.
        """
        return await self._transport.everywhere(method, params)

    async def get_slot(
        self, commitment: Commitment, *, min_context_slot: Slot | None = None
    ) -> Slot:
        options = at(commitment, minContextSlot=min_context_slot)
        return Slot(await self.call("getSlot", [options], parse=reader(Count, "getSlot")))

    async def get_block_height(
        self, commitment: Commitment, *, min_context_slot: Slot | None = None
    ) -> BlockHeight:
        options = at(commitment, minContextSlot=min_context_slot)
        method = "getBlockHeight"
        return BlockHeight(await self.call(method, [options], parse=reader(Count, method)))

    async def get_latest_blockhash(
        self,
        commitment: Commitment = Commitment.CONFIRMED,
        *,
        min_context_slot: Slot | None = None,
    ) -> LatestBlockhash:
        method = "getLatestBlockhash"
        options = at(commitment, minContextSlot=min_context_slot)
        parse = reader(InContext[responses.BlockhashResponse], method)
        got = await self.call(method, [options], parse=parse)
        height = BlockHeight(got.value.last_valid_block_height)
        return LatestBlockhash(got.value.blockhash, height, Slot(got.context.slot))

    async def get_balance(
        self, address: Pubkey, *, commitment: Commitment = Commitment.CONFIRMED
    ) -> Lamports:
        parse = reader(InContext[Count], "getBalance")
        got = await self.call("getBalance", [str(address), at(commitment)], parse=parse)
        return Lamports(got.value)

    async def get_accounts(
        self,
        addresses: Sequence[Pubkey],
        *,
        commitment: Commitment,
        min_context_slot: Slot | None = None,
        data_slice: tuple[int, int] | None = None,
    ) -> AccountsAt:
        """Return the accounts at these addresses, of any number; see AccountsAt.

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
        options = at(
            commitment,
            encoding="base64",
            minContextSlot=min_context_slot,
            dataSlice=slice_of(data_slice),
        )

        def parse(answer: Any) -> tuple[Slot, list[Account | None]]:
            got = read(InContext[list[responses.AccountResponse | None]], answer, method)
            if len(got.value) != len(addresses):
                count = len(got.value)
                raise responses.unexpected(method, f"{count} accounts for {len(addresses)}")
            accounts = [
                None if each is None else responses.account(each, method) for each in got.value
            ]
            return Slot(got.context.slot), accounts

        params = [[str(each) for each in addresses], options]
        result: tuple[Slot, list[Account | None]] = await self.call(method, params, parse=parse)
        return result

    async def get_program_accounts(
        self,
        program: Pubkey,
        *,
        data_begins: bytes,
        commitment: Commitment,
        data_slice: tuple[int, int] | None = None,
    ) -> tuple[Slot, list[tuple[Pubkey, Account]]]:
        """Return every account of `program` whose data begin with `data_begins`.

        `data_slice` is (offset, length); (0, 0) fetches only the addresses of a large set.
        """
        method = "getProgramAccounts"
        memcmp = {"offset": 0, "bytes": b58encode(data_begins).decode()}
        options = at(
            commitment,
            encoding="base64",
            withContext=True,
            filters=[{"memcmp": memcmp}],
            dataSlice=slice_of(data_slice),
        )
        parse = reader(InContext[list[responses.KeyedAccountResponse]], method)
        got = await self.call(method, [str(program), options], parse=parse)
        accounts = [(each.pubkey, responses.account(each.account, method)) for each in got.value]
        return Slot(got.context.slot), accounts

    async def get_signatures_for_address(
        self,
        address: Pubkey,
        *,
        commitment: Commitment,
        limit: int,
        before: str | None = None,
        until: str | None = None,
        min_context_slot: Slot | None = None,
    ) -> list[SignatureInfo]:
        """List transactions that mention `address`, newest first.

        An empty list counts only if no endpoint has more. A node that does not know `until` or
        `before` raises RpcError with TRANSACTION_NOT_FOUND; an older one responds as if it were not
        given, or with an empty list.
        """
        options = at(
            commitment, limit=limit, before=before, until=until, minContextSlot=min_context_slot
        )
        listed: list[SignatureInfo] = await self.call(
            "getSignaturesForAddress",
            [str(address), options],
            parse=responses.signature_infos,
            may_lack=True,
        )
        return listed

    async def get_transactions(
        self, signatures: Sequence[str], *, commitment: Commitment, at_slot: Slot | None = None
    ) -> list[TransactionRecord | None]:
        """Return transactions in the order of `signatures`, None where no endpoint knows one.

        An endpoint known to have reached `at_slot` is preferred. The call has no minContextSlot, so
        a None is no evidence that the transaction does not exist.
        """
        calls = [transaction_call(each, commitment) for each in signatures]
        records: list[TransactionRecord | None] = []
        for each in await self._transport.batch(calls, at_slot=at_slot or 0):
            if isinstance(each, RpcError):
                raise each
            records.append(each)
        return records

    async def get_signature_statuses(
        self, signatures: Sequence[str]
    ) -> list[SignatureStatus | None]:
        """Return statuses in the order of `signatures`, None where the node knows none.

        The node searches its whole history.
        """
        return (await self.statuses_at(signatures)).statuses

    async def statuses_at(
        self, signatures: Sequence[str], *, at_slot: Slot | None = None
    ) -> StatusesAt:
        """Return statuses as `get_signature_statuses`, with the lowest slot that they hold for.

        An endpoint known to have reached `at_slot` is preferred, but another may respond: compare
        the slot before a None counts.
        """

        async def read_chunk(chunk: list[str]) -> StatusesAt:
            result: StatusesAt = await self._transport.call(
                "getSignatureStatuses",
                call_params.statuses(chunk),
                parse=partial(responses.statuses, count=len(chunk)),
                at_slot=at_slot or 0,
            )
            return result

        return await in_chunks(signatures, read_chunk)

    async def statuses_everywhere(
        self, signatures: Sequence[str], *, min_context_slot: Slot
    ) -> StatusesAt:
        """Query every healthy endpoint; a status that any of them reports counts.

        A None proves that the transaction does not exist only if the result's `slot` is
        `min_context_slot` or later: then every endpoint that has reached that slot has responded,
        and none knows the signature. Raises RpcError or ChainUnavailable when none responds.
        """

        async def read_chunk(chunk: list[str]) -> StatusesAt:
            replies = await self.everywhere("getSignatureStatuses", call_params.statuses(chunk))
            return merge_statuses(replies, count=len(chunk), min_context_slot=min_context_slot)

        return await in_chunks(signatures, read_chunk)

    async def statuses_by_endpoint(
        self, signatures: Sequence[str]
    ) -> list[tuple[Endpoint, StatusesAt]]:
        """Query every healthy endpoint for up to STATUSES_PER_CALL statuses.

        Return what each that responded said. Raises ChainUnavailable when none is healthy.
        """
        replies = await self.everywhere("getSignatureStatuses", call_params.statuses(signatures))
        found = [(each.endpoint, statuses_from(each, len(signatures))) for each in replies]
        return [(endpoint, each) for endpoint, each in found if each is not None]

    async def send_transaction(
        self, wire: bytes, *, skip_preflight: bool = True, max_retries: int = 0
    ) -> str:
        """Send the signed bytes to one node and return the signature.

        Another endpoint is tried only if the first cannot have received the bytes, or refuses them
        because of its rate limit. After a timeout it is unknown whether they were sent: send the
        same bytes again, never others.
        """
        params = call_params.send(wire, skip_preflight=skip_preflight, max_retries=max_retries)
        answer = await self._transport.call("sendTransaction", params, repeatable=False)
        return read(str, answer, "sendTransaction")

    async def send_everywhere(
        self, wire: bytes, *, skip_preflight: bool = True, max_retries: int = 0
    ) -> str:
        """Send the signed bytes to every healthy endpoint at once and return the signature.

        The same bytes are one transaction, however often they arrive. One node that accepts them is
        enough; the others then have GRACE_SECONDS. When none does, the RpcError has the messages of
        all.
        """
        params = call_params.send(wire, skip_preflight=skip_preflight, max_retries=max_retries)
        replies = await self._transport.everywhere(
            "sendTransaction", params, grace=GRACE_SECONDS, doubtful=True
        )
        for each in replies:
            if each.ok:
                return read(str, each.answer, "sendTransaction")
        raise failure_of(replies)

    async def simulate(
        self,
        wire: bytes,
        *,
        sig_verify: bool = False,
        replace_recent_blockhash: bool = False,
        commitment: Commitment = Commitment.CONFIRMED,
        payer: Pubkey | None = None,
    ) -> Simulation:
        """Simulate the transaction on the node's current state; `payer` asks for its balances."""
        method = "simulateTransaction"
        options = at(
            commitment,
            encoding="base64",
            sigVerify=sig_verify,
            replaceRecentBlockhash=replace_recent_blockhash,
            accounts=payer and {"encoding": "base64", "addresses": [str(payer)]},
        )
        parse = reader(InContext[responses.SimulationResponse], method)
        got = await self.call(method, [base64.b64encode(wire).decode(), options], parse=parse)
        value, slot = got.value, Slot(got.context.slot)
        units = value.units_consumed if type(value.units_consumed) is int else None
        before = Lamports(value.pre_balances[0]) if value.pre_balances else None
        account = value.accounts[0] if value.accounts else None
        after = Lamports(account.lamports) if account is not None else None
        return Simulation(value.err, value.logs or [], units, slot, before, after)

    async def get_recent_prioritization_fees(self, addresses: Sequence[Pubkey]) -> list[int]:
        """Return one fee for each recent slot, in micro-lamports per compute unit.

        Takes at most FEE_ADDRESSES_PER_CALL addresses.
        """
        method = "getRecentPrioritizationFees"
        parse = reader(list[responses.FeeResponse], method)
        got = await self.call(method, [[str(each) for each in addresses]], parse=parse)
        return [each.prioritization_fee for each in got]
