"""Transactions built from unusual states of the chain, against scripted nodes."""

from __future__ import annotations

import base64
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

import pytest
import trio
from solana.constants import SYSTEM_PROGRAM_ID
from solders.hash import Hash
from solders.pubkey import Pubkey
from spl.token.constants import TOKEN_PROGRAM_ID
from spl.token.instructions import create_idempotent_associated_token_account

from cvms.chain import borsh
from cvms.chain.program.accounts import (
    VAULT_AUTHORITY_DISCRIMINATOR,
    VAULT_DISCRIMINATOR,
    Vault,
    decode_vault,
    decode_vault_authority,
)
from cvms.chain.program.addresses import (
    position_summary_address,
    token_account,
    vault_address,
    vault_authority_address,
)
from cvms.chain.rpc.rpc_client import RpcClient, open_rpc
from cvms.chain.transactions.vault_builders import prepare_deposit, prepare_withdraw
from cvms.chain.transactions.versioned import BuiltTransaction
from cvms.chain.types import Programs
from cvms.errors import Conflict, DecodeError, InvalidRequest, NotFound, VaultNotFound
from tests.chain.rpc.scripted_node import Reply, ScriptedNode, result

OWNER, OPERATOR, RECIPIENT, COSIGNER = (Pubkey.new_unique() for _ in range(4))
Accounts = Mapping[Pubkey, tuple[Pubkey, bytes]]  # address → owning program and data


def vault_of(programs: Programs) -> Vault:
    empty = decode_vault(VAULT_DISCRIMINATOR + bytes(600))
    return replace(empty, owner=OWNER, usdt_mint=programs.mint)


def state(programs: Programs, vault: Vault, authorized: list[Pubkey]) -> dict[Pubkey, Any]:
    empty = decode_vault_authority(VAULT_AUTHORITY_DISCRIMINATOR + bytes(200))
    authority = replace(empty, governance=OPERATOR, authorized_programs=tuple(authorized), bump=255)
    return {
        vault_address(programs, OWNER): (
            programs.vault,
            VAULT_DISCRIMINATOR + borsh.encode(vault),
        ),
        vault_authority_address(programs): (
            programs.vault,
            VAULT_AUTHORITY_DISCRIMINATOR + borsh.encode(authority),
        ),
    }


@asynccontextmanager
async def chain_with(accounts: Accounts) -> AsyncIterator[RpcClient]:
    """Return a client of a node that has only these accounts."""

    def shown(address: str) -> dict[str, Any] | None:
        account = accounts.get(Pubkey.from_string(address))
        if account is None:
            return None
        data = [base64.b64encode(account[1]).decode(), "base64"]
        return {"lamports": 1, "owner": str(account[0]), "data": data, "executable": False}

    async def script(request: Any) -> Reply:
        if request["method"] == "getMultipleAccounts":
            value: Any = [shown(address) for address in request["params"][0]]
        else:
            value = {"blockhash": str(Hash.new_unique()), "lastValidBlockHeight": 150}
        return result(request, {"context": {"slot": 7}, "value": value})

    node = ScriptedNode(script)
    async with trio.open_nursery() as nursery:
        await nursery.start(node.serve)
        with trio.fail_after(10):
            async with open_rpc([node.url]) as rpc:
                yield rpc
        nursery.cancel_scope.cancel()


async def withdrawal(rpc: RpcClient, programs: Programs, **options: Any) -> BuiltTransaction:
    return await prepare_withdraw(
        rpc,
        programs,
        owner=OWNER,
        recipient=RECIPIENT,
        amount=1,
        authority=OWNER,
        fee_payer=OPERATOR,
        **options,
    )


async def test_a_withdrawal_brings_a_position_summary_for_each_authorized_program(
    programs: Programs,
) -> None:
    authorized = [programs.position_manager, Pubkey.new_unique()]
    vault = vault_address(programs, OWNER)
    async with chain_with(state(programs, vault_of(programs), authorized)) as rpc:
        built = await withdrawal(rpc, programs, extra_signers=[COSIGNER])
    summaries = [position_summary_address(program, vault) for program in authorized]
    remaining = [meta.pubkey for meta in built.instruction.accounts[7:]]
    assert remaining == [*summaries, COSIGNER]
    assert set(built.signers) == {OPERATOR, OWNER, COSIGNER}


async def test_who_pays_for_the_recipients_token_account_is_chosen_by_the_caller(
    programs: Programs,
) -> None:
    async with chain_with(state(programs, vault_of(programs), [])) as rpc:
        by_operator = await withdrawal(rpc, programs)
        by_owner = await withdrawal(rpc, programs, rent_payer=OWNER)
    for built, payer in ((by_operator, OPERATOR), (by_owner, OWNER)):
        assert built.setup == (
            create_idempotent_associated_token_account(
                payer=payer, owner=RECIPIENT, mint=programs.mint
            ),
        )


async def test_an_existing_token_account_is_used_as_it_is(programs: Programs) -> None:
    account = bytes(programs.mint) + bytes(RECIPIENT) + bytes(44) + b"\1" + bytes(56)
    address = token_account(RECIPIENT, programs.mint)
    accounts = state(programs, vault_of(programs), [])
    async with chain_with({**accounts, address: (TOKEN_PROGRAM_ID, account)}) as rpc:
        assert (await withdrawal(rpc, programs)).setup == ()


async def test_missing_and_foreign_accounts_are_distinguished(programs: Programs) -> None:
    whole = state(programs, vault_of(programs), [])
    vault, authority = vault_address(programs, OWNER), vault_authority_address(programs)
    funded_only = {**whole, vault: (SYSTEM_PROGRAM_ID, b"")}
    foreign = {**whole, vault: (Pubkey.new_unique(), whole[vault][1])}
    other_mint = replace(vault_of(programs), usdt_mint=Pubkey.new_unique())
    cases: list[tuple[Accounts, type[Exception]]] = [
        ({authority: whole[authority]}, VaultNotFound),
        (funded_only, VaultNotFound),
        ({vault: whole[vault]}, NotFound),
        (foreign, DecodeError),
        (state(programs, other_mint, []), Conflict),
    ]
    for accounts, outcome in cases:
        async with chain_with(accounts) as rpc:
            with pytest.raises(outcome):
                await withdrawal(rpc, programs)


async def test_more_authorized_programs_than_fit_are_refused_when_it_is_built(
    programs: Programs,
) -> None:
    many = [Pubkey.new_unique() for _ in range(64)]
    async with chain_with(state(programs, vault_of(programs), many)) as rpc:
        with pytest.raises(InvalidRequest, match="1232"):
            await withdrawal(rpc, programs)


async def test_a_deposit_into_no_vault_is_refused_by_name(programs: Programs) -> None:
    async with chain_with({}) as rpc:
        with pytest.raises(VaultNotFound, match=str(OWNER)):
            await prepare_deposit(
                rpc, programs, owner=OWNER, amount=1, authority=OWNER, fee_payer=OPERATOR
            )
