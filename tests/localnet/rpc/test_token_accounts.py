"""Token accounts: the token methods, and the token balances in transactions."""

from __future__ import annotations

import pytest
from solders.address_lookup_table_account import (
    AddressLookupTableAccount,
    derive_lookup_table_address,
)
from solders.instruction import AccountMeta, Instruction
from solders.keypair import Keypair
from solders.message import MessageV0
from solders.pubkey import Pubkey
from solders.system_program import ID as SYSTEM
from solders.system_program import TransferParams, transfer
from solders.token.associated import get_associated_token_address
from solders.transaction import VersionedTransaction

from cvms.errors import RpcError
from tests.localnet.local_node import CONFIRMED, SOL, TOKEN_PROGRAM, Node

ASSOCIATED = Pubkey.from_string("ATokenGPvbdGVxr1b2hvZbsiqW5xWH25efTNsLJA8knL")
TOKENS = Pubkey.from_string(TOKEN_PROGRAM)
TABLES = Pubkey.from_string("AddressLookupTab1e1111111111111111111111111")
PARSED = {"encoding": "jsonParsed"}
V0 = {"commitment": "confirmed", "maxSupportedTransactionVersion": 0}


def move(source: Pubkey, destination: Pubkey, owner: Pubkey, amount: int) -> Instruction:
    metas = [
        AccountMeta(source, is_signer=False, is_writable=True),
        AccountMeta(destination, is_signer=False, is_writable=True),
        AccountMeta(owner, is_signer=True, is_writable=False),
    ]
    return Instruction(TOKENS, b"\3" + amount.to_bytes(8, "little"), metas)


def open_account(payer: Pubkey, owner: Pubkey, mint: Pubkey) -> Instruction:
    """Return an instruction of the associated token program, which uses CPIs."""
    metas = [
        AccountMeta(payer, is_signer=True, is_writable=True),
        AccountMeta(get_associated_token_address(owner, mint), is_signer=False, is_writable=True),
        AccountMeta(owner, is_signer=False, is_writable=False),
        AccountMeta(mint, is_signer=False, is_writable=False),
        AccountMeta(SYSTEM, is_signer=False, is_writable=False),
        AccountMeta(TOKENS, is_signer=False, is_writable=False),
    ]
    return Instruction(ASSOCIATED, b"\1", metas)


async def test_a_transaction_has_its_token_balances_before_and_after(node: Node) -> None:
    payer, mint, other = await node.wallet(), await node.mint(6), Keypair().pubkey()
    await node.call("surfnet_setTokenAccount", str(payer.pubkey()), str(mint), {"amount": 900})
    mine = get_associated_token_address(payer.pubkey(), mint)
    theirs = get_associated_token_address(other, mint)
    steps = [
        open_account(payer.pubkey(), other, mint),
        move(mine, theirs, payer.pubkey(), 250),
    ]
    signature = await node.send(await node.signed(payer, steps))
    node.advance()
    found = await node.call("getTransaction", signature, V0 | PARSED)
    keys = [key["pubkey"] for key in found["transaction"]["message"]["accountKeys"]]

    def amounts(name: str) -> dict[str, str]:
        return {
            keys[balance["accountIndex"]]: balance["uiTokenAmount"]["amount"]
            for balance in found["meta"][name]
        }

    assert amounts("preTokenBalances") == {str(mine): "900"}
    assert amounts("postTokenBalances") == {str(mine): "650", str(theirs): "250"}
    (shown,) = [b for b in found["meta"]["postTokenBalances"] if b["owner"] == str(other)]
    assert (shown["mint"], shown["programId"]) == (str(mint), TOKEN_PROGRAM)
    (group,) = found["meta"]["innerInstructions"]
    assert group["index"] == 0
    created = [i["parsed"]["type"] for i in group["instructions"] if "parsed" in i]
    assert "createAccount" in created
    assert {i["stackHeight"] for i in group["instructions"]} == {2}
    moved = found["transaction"]["message"]["instructions"][1]["parsed"]
    assert moved == {
        "type": "transfer",
        "info": {
            "source": str(mine),
            "destination": str(theirs),
            "authority": str(payer.pubkey()),
            "amount": "250",
        },
    }


async def test_token_accounts_are_found_by_owner_and_by_delegate(node: Node) -> None:
    first, second = await node.mint(), await node.mint()
    owner, delegate = Keypair().pubkey(), Keypair().pubkey()
    delegated = {"amount": 5, "delegate": str(delegate), "delegatedAmount": 5}
    await node.call("surfnet_setTokenAccount", str(owner), str(first), {"amount": 3})
    await node.call("surfnet_setTokenAccount", str(owner), str(second), delegated)

    async def found(method: str, key: Pubkey, scope: dict[str, str]) -> set[str]:
        answer = await node.call(method, str(key), scope, PARSED)
        return {item["account"]["data"]["parsed"]["info"]["mint"] for item in answer["value"]}

    everything = {"programId": TOKEN_PROGRAM}
    by_owner, by_delegate = "getTokenAccountsByOwner", "getTokenAccountsByDelegate"
    assert await found(by_owner, owner, everything) == {str(first), str(second)}
    assert await found(by_owner, owner, {"mint": str(first)}) == {str(first)}
    assert await found(by_delegate, delegate, everything) == {str(second)}
    assert await found(by_delegate, owner, everything) == set()


async def test_the_largest_holders_come_first(node: Node) -> None:
    mint = await node.mint(2)
    for amount in (5, 700, 60):
        holder = str(Keypair().pubkey())
        await node.call("surfnet_setTokenAccount", holder, str(mint), {"amount": amount})
    answer = await node.call("getTokenLargestAccounts", str(mint))
    assert [item["uiAmountString"] for item in answer["value"]] == ["7", "0.6", "0.05"]


@pytest.mark.parametrize(
    ("method", "words"),
    [
        ("getTokenAccountBalance", "could not find account"),
        ("getTokenSupply", "could not find account"),
        ("getTokenLargestAccounts", "could not find mint"),
    ],
)
async def test_token_methods_refuse_missing_accounts(node: Node, method: str, words: str) -> None:
    with pytest.raises(RpcError, match=words):
        await node.call(method, str(Keypair().pubkey()))


async def test_token_methods_refuse_other_accounts(node: Node) -> None:
    mint, wallet = str(await node.mint()), await node.wallet()
    with pytest.raises(RpcError, match="not a Token account"):
        await node.call("getTokenAccountBalance", mint)
    with pytest.raises(RpcError, match="not a Token mint"):
        await node.call("getTokenSupply", str(wallet.pubkey()))
    scope = {"programId": str(SYSTEM)}
    with pytest.raises(RpcError, match="unrecognized Token program id"):
        await node.call("getTokenAccountsByOwner", mint, scope)
    with pytest.raises(RpcError, match="expected map with a single key"):
        await node.call("getTokenAccountsByOwner", mint, {})


async def test_bytes_that_only_look_like_tokens_are_shown_as_bytes(node: Node) -> None:
    for data in (b"\xff" * 165, b"\2" * 82, bytes(165), bytes(82)):
        key = str(Keypair().pubkey())
        account = {"lamports": SOL, "owner": TOKEN_PROGRAM, "data": data.hex()}
        await node.call("surfnet_setAccount", key, account)
        answer = await node.call("getAccountInfo", key, PARSED)
        assert answer["value"]["data"][1] == "base64"


async def test_keys_from_lookup_tables_are_loaded_and_shown(node: Node) -> None:
    payer, payee = await node.wallet(), Keypair().pubkey()
    recent = node.advance() - 1
    table, _ = derive_lookup_table_address(payer.pubkey(), recent)
    data = bytes([1, 0, 0, 0]) + (2**64 - 1).to_bytes(8, "little") + bytes(44) + bytes(payee)
    account = {"lamports": SOL, "owner": str(TABLES), "data": data.hex()}
    await node.call("surfnet_setAccount", str(table), account)
    pay = TransferParams(from_pubkey=payer.pubkey(), to_pubkey=payee, lamports=SOL)
    lookup = AddressLookupTableAccount(table, [payee])
    message = MessageV0.try_compile(
        payer.pubkey(), [transfer(pay)], [lookup], await node.blockhash()
    )
    assert payee not in message.account_keys
    signature = await node.send(VersionedTransaction(message, [payer]))
    assert await node.balance(payee) == SOL
    node.advance()
    found = await node.call("getTransaction", signature, V0)
    assert found["meta"]["loadedAddresses"] == {"writable": [str(payee)], "readonly": []}
    assert found["meta"]["postBalances"][-1] == SOL
    parsed = await node.call("getTransaction", signature, V0 | PARSED)
    assert parsed["transaction"]["message"]["accountKeys"][-1] == {
        "pubkey": str(payee),
        "signer": False,
        "writable": True,
        "source": "lookupTable",
    }
    listed = await node.call("getSignaturesForAddress", str(payee), CONFIRMED)
    assert [info["signature"] for info in listed] == [signature]
