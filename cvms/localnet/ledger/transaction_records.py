"""The record of an executed transaction that a block keeps."""

from __future__ import annotations

import base64
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from based58 import b58encode
from solders.account import Account
from solders.pubkey import Pubkey
from solders.transaction_metadata import InnerInstruction, TransactionMetadata

from cvms.localnet.types import Json
from cvms.localnet.vm.machine import ExecutionResult
from cvms.localnet.vm.message import AnyMessage, LoadedKeys, writable_keys
from cvms.localnet.vm.token_layouts import TokenBalance, token_account, token_mint

ReadAccount = Callable[[Pubkey], Account | None]

SIGNATURE_COST, WRITE_LOCK_COST, DATA_BYTES_PER_UNIT = 720, 300, 4
PAGE_COST, PAGE_BYTES = 8, 32 * 1024
ACCOUNT_BYTES = 64
"""Constants of Agave's cost model, and of what it counts for each loaded account."""


@dataclass(frozen=True, slots=True)
class Balances:
    """Lamports of every key of a transaction, and token balances of its token accounts."""

    lamports: list[int]
    tokens: list[TokenBalance]
    loaded_bytes: int
    """Size of the accounts, with what Agave counts for each of them."""

    def tokens_json(self) -> Json:
        return [balance.as_json() for balance in self.tokens]


def read_balances(keys: Sequence[Pubkey], account: ReadAccount) -> Balances:
    accounts = [account(key) for key in keys]
    tokens = [
        balance
        for index, read in enumerate(accounts)
        if (balance := _token_balance(index, read, account)) is not None
    ]
    loaded = sum(ACCOUNT_BYTES + len(read.data) for read in accounts if read is not None)
    return Balances([read.lamports if read else 0 for read in accounts], tokens, loaded)


def _token_balance(index: int, account: Account | None, read: ReadAccount) -> TokenBalance | None:
    token = token_account(account)
    if account is None or token is None:
        return None
    mint = token_mint(read(token.mint))
    if mint is None:
        return None
    return TokenBalance(index, token.mint, token.owner, account.owner, token.amount, mint.decimals)


def transaction_meta(
    outcome: ExecutionResult,
    message: AnyMessage,
    *,
    keys: LoadedKeys,
    before: Balances,
    after: Balances,
) -> dict[str, Json]:
    """Return `getTransaction`'s `meta` in the `json` encoding."""
    meta: dict[str, Json] = {
        "err": outcome.err,
        "status": {"Ok": None} if outcome.err is None else {"Err": outcome.err},
        "fee": outcome.meta.fee(),
        "preBalances": before.lamports,
        "postBalances": after.lamports,
        "innerInstructions": inner_instructions(outcome.inner_instructions),
        "logMessages": outcome.meta.logs(),
        "preTokenBalances": before.tokens_json(),
        "postTokenBalances": after.tokens_json(),
        "rewards": [],
        "loadedAddresses": keys.loaded_json(),
        "computeUnitsConsumed": outcome.meta.compute_units_consumed(),
        "costUnits": _cost_units(outcome, message, keys, before.loaded_bytes),
    }
    if (returned := return_data(outcome.meta)) is not None:
        meta["returnData"] = returned
    return meta


def _cost_units(
    outcome: ExecutionResult, message: AnyMessage, keys: LoadedKeys, loaded_bytes: int
) -> int:
    """Return the cost of a transaction in its block, by the cost model of Agave."""
    data = sum(len(instruction.data) for instruction in message.instructions)
    return (
        SIGNATURE_COST * message.header.num_required_signatures
        + WRITE_LOCK_COST * len(writable_keys(message, keys))
        + data // DATA_BYTES_PER_UNIT
        + outcome.meta.compute_units_consumed()
        + PAGE_COST * -(-loaded_bytes // PAGE_BYTES)
    )


def inner_instructions(groups: Sequence[Sequence[InnerInstruction]]) -> Json:
    return [
        {"index": index, "instructions": [_inner_instruction(inner) for inner in group]}
        for index, group in enumerate(groups)
        if group
    ]


def _inner_instruction(inner: InnerInstruction) -> Json:
    instruction = inner.instruction()
    return {
        "programIdIndex": instruction.program_id_index,
        "accounts": list(instruction.accounts),
        "data": b58encode(bytes(instruction.data)).decode(),
        "stackHeight": inner.stack_height(),
    }


def return_data(meta: TransactionMetadata) -> Json:
    """Return the data that a program returned last, or None."""
    returned = meta.return_data()
    data = bytes(returned.data)
    if not data:
        return None
    program = str(returned.program_id)
    return {"programId": program, "data": [base64.b64encode(data).decode(), "base64"]}
