"""Checks of an entry and its reserves against any RPC node, without the service."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Iterable, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from datetime import timedelta
from itertools import islice
from typing import Any

import msgspec
from solders.pubkey import Pubkey
from solders.sysvar import CLOCK

from cvms.chain.program.accounts import read_token_account
from cvms.chain.program.events.events import Event
from cvms.chain.program.events.log_parser import parse_events
from cvms.chain.rpc.call_params import ACCOUNTS_PER_CALL
from cvms.chain.rpc.error_codes import NOT_KEPT
from cvms.chain.rpc.responses import read
from cvms.chain.rpc.rpc_client import RpcClient
from cvms.chain.transactions.chain_clock import time_in
from cvms.chain.transactions.vault_listing import ListedVault, list_vaults
from cvms.chain.types import Commitment, Programs, Slot
from cvms.errors import ChainUnavailable, DecodeError, ProofInvalid, ProofNotChecked, RpcError
from cvms.proofs.log_entry import Decimal, LogEntry, u64
from cvms.proofs.past_totals import may_end_a_mint, total_before
from cvms.proofs.reserve_lines import Line, PoolLine

PAGE = 1000
MAX_PAGES = 20
"""Of an account's transactions since the entry: an archive node and time are needed for more."""

TRANSACTIONS_PER_CALL = 100

Report = Callable[[int], None]
"""Called with the number of accounts that have been checked."""


class _Block(msgspec.Struct, rename="camel"):
    blockhash: str


class _UiAmount(msgspec.Struct):
    amount: Decimal


class _TokenBalance(msgspec.Struct, rename="camel"):
    account_index: int
    ui_token_amount: _UiAmount


class _Loaded(msgspec.Struct):
    writable: list[str] = []
    readonly: list[str] = []


class _Meta(msgspec.Struct, rename="camel"):
    pre_token_balances: list[_TokenBalance] | None = None
    post_token_balances: list[_TokenBalance] | None = None
    loaded_addresses: _Loaded | None = None


class _Message(msgspec.Struct, rename="camel"):
    account_keys: list[str]


class _Signed(msgspec.Struct):
    message: _Message


class _Transaction(msgspec.Struct):
    transaction: _Signed
    meta: _Meta


@dataclass(frozen=True, slots=True)
class ChainEvidence:
    """What one chain says about an entry. Each method raises ProofInvalid for a contradiction, and
    ProofNotChecked if the node cannot say.
    """

    rpc: RpcClient
    programs: Programs
    entry: LogEntry

    async def verify_block(self) -> str:
        """Check that the entry's slot is final on its chain, with its blockhash."""
        genesis = await self._ask("getGenesisHash", [], str)
        if genesis != self.entry.genesis:
            raise ProofInvalid(
                "chain", f"the node is of chain {genesis}, the entry of {self.entry.genesis}"
            )
        options = {"transactionDetails": "none", "rewards": False, "commitment": "finalized"}
        block = await self._ask("getBlock", [self.entry.slot, options], _Block | None)
        if block is None:
            raise ProofNotChecked(f"the node does not have the block of slot {self.entry.slot}")
        found = block.blockhash
        if found != self.entry.blockhash:
            raise ProofInvalid(
                "chain",
                f"slot {self.entry.slot} has the blockhash {found}, not {self.entry.blockhash}",
            )
        return f"slot {self.entry.slot} is final, with the entry's blockhash"

    async def verify_age(self, max_age: timedelta) -> str:
        """Check that the entry's block is not older than `max_age`, by the chain's clock."""
        written = await self._ask("getBlockTime", [self.entry.slot], int | None)
        if written is None:
            raise ProofNotChecked(f"the node does not know the time of slot {self.entry.slot}")
        try:
            found = await self.rpc.get_accounts([CLOCK], commitment=Commitment.FINALIZED)
            age = time_in(found.accounts[0]) - written  # a node may say what is no timedelta
        except (ChainUnavailable, RpcError, DecodeError) as error:
            raise ProofNotChecked(str(error)) from None
        seen = f"the block of slot {self.entry.slot} is {age // 60} minutes old"
        if age > max_age.total_seconds():
            raise ProofInvalid("stale", seen)
        return seen

    async def verify_lines(self, lines: Iterable[Line], report: Report) -> str:
        """Check what each account held at its line's slot."""
        rest, checked = iter(lines), 0
        while batch := list(islice(rest, ACCOUNTS_PER_CALL)):
            await self._verify_batch(batch)
            checked += len(batch)
            report(checked)
        return f"{checked} accounts held what the file says"

    async def verify_all_listed(self, owners: set[str]) -> str:
        """Check that every vault of the chain that held something by then is listed.

        `owners` are those with a line.
        """
        try:
            found = await list_vaults(self.rpc, self.programs, commitment=Commitment.FINALIZED)
        except (ChainUnavailable, RpcError, DecodeError) as error:
            raise ProofNotChecked(f"the node does not list the vaults: {error}") from None
        left_out = [each for each in found if each.total and str(each.owner) not in owners]
        unknown = None
        for each in left_out:
            try:
                held = await self._held(each)
            except ProofNotChecked as error:
                unknown = error  # another one may be known to be left out
                continue
            if held:
                raise ProofInvalid(
                    "left_out",
                    f"the vault of {each.owner} held something at slot "
                    f"{self.entry.slot}, and has no line",
                )
        if unknown is not None:
            raise unknown
        return f"each of the {len(found)} vaults on the chain is listed, or got its tokens later"

    async def _verify_batch(self, lines: Sequence[Line]) -> None:
        keys = [Pubkey.from_string(line.account) for line in lines]
        try:
            found = await self.rpc.get_accounts(
                keys, commitment=Commitment.FINALIZED, min_context_slot=Slot(self.entry.slot)
            )
        except (ChainUnavailable, RpcError) as error:
            raise ProofNotChecked(str(error)) from None
        for line, account in zip(lines, found.accounts, strict=True):
            try:
                tokens = read_token_account(account)
            except DecodeError:
                tokens = None
            if tokens is not None and tokens.mint != self.programs.mint:
                reason = f"{line.account} holds tokens of {tokens.mint}"
                raise ProofInvalid("reserves", reason)
            await self._verify_line(line, 0 if tokens is None else tokens.amount)

    async def _verify_line(self, line: Line, now: int) -> None:
        held = await self._amount_at(line.account, line.slot, now)
        if held != u64(line.amount):
            reason = f"{line.account} held {held} tokens at slot {line.slot}, not {line.amount}"
            raise ProofInvalid("reserves", reason)
        if isinstance(line, PoolLine) or u64(line.total) >= u64(line.books):
            return
        # Less since the entry's slot: a movement, or a line that hides what is missing.
        before = await self._amount_at(line.account, self.entry.slot, now)
        if before < u64(line.books) - u64(line.books_lent):
            slot = self.entry.slot
            reason = (
                f"{line.account} held {before} tokens at slot {slot}, and its vault {line.books}"
            )
            raise ProofInvalid("not_covered", reason)

    async def _amount_at(self, address: str, slot: int, now: int) -> int:
        """Return what a token account held at the end of a slot.

        It is what it holds now if no transaction has named it since.
        """
        before = None
        for _ in range(MAX_PAGES):
            page = await self._signatures(address, before)
            if before is None and (not page or page[0].slot <= slot):
                return now
            for each in page:
                if each.slot <= slot and each.err is None:
                    amount = await self._amount_after(address, each.signature)
                    if amount is not None:
                        return amount
            if len(page) < PAGE:
                await self._reaches_back_to(slot)
                return 0  # it did not exist
            before = page[-1].signature
        raise ProofNotChecked(f"{address} has more than {PAGE * MAX_PAGES} later transactions")

    async def _reaches_back_to(self, slot: int) -> None:
        """Raise ProofNotChecked if the node would not know of a transaction up to a slot."""
        first = await self._ask("getFirstAvailableBlock", [], int)
        if first > slot:
            reason = f"the node has no blocks before {first}: use one that keeps more history"
            raise ProofNotChecked(reason)

    async def _amount_after(self, address: str, signature: str) -> int | None:
        """Return what a token account held after a transaction; None if it was not in it."""
        options = {
            "encoding": "json",
            "commitment": "finalized",
            "maxSupportedTransactionVersion": 0,
        }
        record = await self._ask("getTransaction", [signature, options], _Transaction | None)
        if record is None:
            raise ProofNotChecked(f"the node does not have transaction {signature}")
        loaded = record.meta.loaded_addresses or _Loaded()
        keys = [*record.transaction.message.account_keys, *loaded.writable, *loaded.readonly]
        before = _amount_in(record.meta.pre_token_balances, keys, address)
        after = _amount_in(record.meta.post_token_balances, keys, address)
        closed = before is not None and after is None
        return 0 if closed else after

    async def _held(self, vault: ListedVault) -> bool:
        """Return whether a vault held something at the entry's slot, by its later events.

        Its token account does not tell: what it holds may be lent, or sent by anybody. Raises
        ProofNotChecked if what it held may have been of another mint.
        """
        later = await self._later_transactions(vault.address)
        if later is None:
            return False  # it was not open yet
        held: int | None = None
        async with aclosing(self._events(later)) as events:
            async for event in events:
                if held is None:
                    held = total_before(event, vault.address)
                if held == 0:
                    return False
                if may_end_a_mint(event, vault.address):
                    raise ProofNotChecked(
                        f"the vault of {vault.owner} was opened anew since slot {self.entry.slot}: "
                        "the node does not show of which mint it was"
                    )
        return (vault.total if held is None else held) > 0

    async def _later_transactions(self, vault: Pubkey) -> list[str] | None:
        """Return the transactions on a vault after the entry's slot, oldest first.

        None if there are none before: it was opened later.
        """
        later, before = list[str](), None
        for _ in range(MAX_PAGES):
            page = await self._signatures(str(vault), before)
            for each in page:
                if each.slot <= self.entry.slot:
                    return later[::-1]
                if each.err is None:
                    later.append(each.signature)
            if len(page) < PAGE:
                await self._reaches_back_to(self.entry.slot)
                return None
            before = page[-1].signature
        raise ProofNotChecked(f"{vault} has more than {PAGE * MAX_PAGES} later transactions")

    async def _events(self, signatures: Sequence[str]) -> AsyncGenerator[Event, None]:
        for start in range(0, len(signatures), TRANSACTIONS_PER_CALL):
            part = signatures[start : start + TRANSACTIONS_PER_CALL]
            try:
                records = await self.rpc.get_transactions(part, commitment=Commitment.FINALIZED)
            except (ChainUnavailable, RpcError) as error:
                raise ProofNotChecked(str(error)) from None
            for signature, record in zip(part, records, strict=True):
                if record is None or record.logs is None:
                    raise ProofNotChecked(f"the node does not have the logs of {signature}")
                parsed = parse_events(
                    record.logs, self.programs.vault, top_level_programs=record.top_level_programs
                )
                if parsed.truncated:
                    raise ProofNotChecked(f"the logs of transaction {signature} are cut off")
                for logged in parsed.events:
                    yield logged.event

    async def _signatures(self, address: str, before: str | None) -> Sequence[Any]:
        try:
            return await self.rpc.get_signatures_for_address(
                Pubkey.from_string(address),
                commitment=Commitment.FINALIZED,
                limit=PAGE,
                before=before,
            )
        except (ChainUnavailable, RpcError) as error:
            raise ProofNotChecked(str(error)) from None

    async def _ask(self, method: str, params: Sequence[Any], kind: Any) -> Any:
        try:
            return read(kind, await self.rpc.call(method, params), method)
        except RpcError as error:
            kept = "" if error.code not in NOT_KEPT else ": use a node that keeps more history"
            raise ProofNotChecked(f"{error}{kept}") from None
        except ChainUnavailable as error:
            raise ProofNotChecked(str(error)) from None


def _amount_in(
    balances: Sequence[_TokenBalance] | None, keys: Sequence[str], address: str
) -> int | None:
    named = {index for index, key in enumerate(keys) if key == address}
    amounts = (
        each.ui_token_amount.amount for each in balances or [] if each.account_index in named
    )
    return next(map(int, amounts), None)
