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
from cvms.localnet.vm.message import LoadedKeys
from cvms.localnet.vm.token_layouts import TokenBalance, token_account, token_mint

ReadAccount = Callable[[Pubkey], Account | None]


@dataclass(frozen=True, slots=True)
class Balances:
    """Lamports of every key of a transaction, and token balances of its token accounts."""

    lamports: list[int]
    tokens: list[TokenBalance]


def read_balances(keys: Sequence[Pubkey], account: ReadAccount) -> Balances:
    accounts = [account(key) for key in keys]
    tokens = [
        balance
        for index, read in enumerate(accounts)
        if (balance := _token_balance(index, read, account)) is not None
    ]
    return Balances([read.lamports if read else 0 for read in accounts], tokens)


def _token_balance(index: int, account: Account | None, read: ReadAccount) -> TokenBalance | None:
    token = token_account(account)
    if account is None or token is None:
        return None
    mint = token_mint(read(token.mint))
    if mint is None:
        return None
    return TokenBalance(index, token.mint, token.owner, account.owner, token.amount, mint.decimals)


def transaction_meta(
    outcome: ExecutionResult, *, keys: LoadedKeys, before: Balances, after: Balances
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
        "preTokenBalances": [balance.as_json() for balance in before.tokens],
        "postTokenBalances": [balance.as_json() for balance in after.tokens],
        "rewards": [],
        "loadedAddresses": {
            "writable": [str(key) for key in keys.writable],
            "readonly": [str(key) for key in keys.readonly],
        },
        "computeUnitsConsumed": outcome.meta.compute_units_consumed(),
    }
    if (returned := return_data(outcome.meta)) is not None:
        meta["returnData"] = returned
    return meta


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
