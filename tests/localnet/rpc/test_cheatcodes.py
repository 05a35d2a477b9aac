"""Surfpool's cheat codes."""

from __future__ import annotations

import base64
from importlib.resources import files

import pytest
from solders.instruction import Instruction
from solders.keypair import Keypair
from solders.token.associated import get_associated_token_address

from cvms.errors import RpcError
from tests.localnet.local_node import BASE64, CONFIRMED, SYSTEM_PROGRAM, Node, wire

LEVELS = ("processed", "confirmed", "finalized")


def elf() -> bytes:
    return files("cvms").joinpath("programs", "collateral_vault.so").read_bytes()


async def test_an_account_is_set_at_every_commitment_at_once(node: Node) -> None:
    key, owner = Keypair().pubkey(), str(Keypair().pubkey())
    update = {"lamports": 5, "owner": owner, "data": "c0ffee", "executable": False}
    answer = await node.call("surfnet_setAccount", str(key), update)
    assert set(answer) == {"context", "value"}
    for level in LEVELS:
        config = BASE64 | {"commitment": level}
        value = (await node.call("getAccountInfo", str(key), config))["value"]
        assert base64.b64decode(value["data"][0]) == bytes.fromhex("c0ffee")
        assert (value["lamports"], value["owner"]) == (5, owner)


async def test_fields_that_an_update_omits_are_kept(node: Node) -> None:
    key = str(Keypair().pubkey())
    await node.call("surfnet_setAccount", key, {"lamports": 7, "data": "aa"})
    await node.call("surfnet_setAccount", key, {"data": "bb"})
    value = (await node.call("getAccountInfo", key, BASE64))["value"]
    assert (value["lamports"], value["owner"]) == (7, SYSTEM_PROGRAM)
    await node.call("surfnet_setAccount", key, {"lamports": 0})
    assert (await node.call("getAccountInfo", key, BASE64))["value"] is None


async def test_a_token_account_is_made_at_its_associated_address(node: Node) -> None:
    owner, mint = Keypair().pubkey(), await node.mint(decimals=6)
    update = {"amount": 1_500_000}
    await node.call("surfnet_setTokenAccount", str(owner), str(mint), update)
    key = str(get_associated_token_address(owner, mint))
    for level in LEVELS:
        config = {"commitment": level}
        answer = await node.call("getTokenAccountBalance", key, config)
        assert answer["value"] == {
            "amount": "1500000",
            "decimals": 6,
            "uiAmount": 1.5,
            "uiAmountString": "1.5",
        }


async def test_a_token_accounts_fields_are_set_and_removed(node: Node) -> None:
    owner, mint = Keypair().pubkey(), await node.mint()
    delegate, closer = str(Keypair().pubkey()), str(Keypair().pubkey())
    update = {
        "amount": 9,
        "delegate": delegate,
        "delegatedAmount": 4,
        "closeAuthority": closer,
        "state": "frozen",
    }
    await node.call("surfnet_setTokenAccount", str(owner), str(mint), update)
    key = str(get_associated_token_address(owner, mint))

    async def info() -> dict[str, object]:
        answer = await node.call("getAccountInfo", key, {"encoding": "jsonParsed"})
        parsed: dict[str, object] = answer["value"]["data"]["parsed"]["info"]
        return parsed

    shown = await info()
    assert (shown["delegate"], shown["closeAuthority"]) == (delegate, closer)
    assert shown["state"] == "frozen"
    assert shown["delegatedAmount"]["amount"] == "4"  # type: ignore[index]
    removed = {"delegate": "null", "closeAuthority": "null", "state": "initialized"}
    await node.call("surfnet_setTokenAccount", str(owner), str(mint), removed)
    shown = await info()
    assert "delegate" not in shown
    assert "closeAuthority" not in shown
    assert shown["tokenAmount"]["amount"] == "9"  # type: ignore[index]


async def test_tokens_need_an_existing_mint(node: Node) -> None:
    wrong = str(Keypair().pubkey())
    with pytest.raises(RpcError, match="is not a mint"):
        await node.call("surfnet_setTokenAccount", str(Keypair().pubkey()), wrong, {"amount": 1})
    mint = str(await node.mint())
    with pytest.raises(RpcError, match="Invalid token account state"):
        await node.call("surfnet_setTokenAccount", wrong, mint, {"state": "melted"})


async def test_a_program_written_in_parts_runs_once_it_is_complete(node: Node) -> None:
    program, payer, code = Keypair().pubkey(), await node.wallet(), elf()
    half = len(code) // 2

    async def run() -> object:
        transaction = await node.signed(payer, [Instruction(program, b"12345678", [])])
        config = BASE64 | CONFIRMED
        answer = await node.call("simulateTransaction", wire(transaction), config)
        return answer["value"]["err"]

    await node.call("surfnet_writeProgram", str(program), code[:half].hex(), 0)
    assert (await node.call("getAccountInfo", str(program), BASE64))["value"] is None
    assert await run() == "ProgramAccountNotFound"
    await node.call("surfnet_writeProgram", str(program), code[half:].hex(), half)
    assert (await node.call("getAccountInfo", str(program), BASE64))["value"]["executable"]
    no_such_instruction = {"InstructionError": [0, {"Custom": 101}]}
    assert await run() == no_such_instruction
    # Replaced by invalid code, it no longer runs.
    await node.call("surfnet_writeProgram", str(program), b"junk".hex(), 0)
    assert await run() == "ProgramAccountNotFound"


async def test_an_executable_account_without_code_is_refused(node: Node) -> None:
    loader = "BPFLoaderUpgradeab1e11111111111111111111111"
    update = {"lamports": 10**9, "owner": loader, "executable": True, "data": "02000000"}
    key = str(Keypair().pubkey())
    with pytest.raises(RpcError, match="not a program that can run"):
        await node.call("surfnet_setAccount", key, update)
    assert (await node.call("getAccountInfo", key, BASE64))["value"] is None


@pytest.mark.parametrize("update", [{"data": "xyz"}, {"lamports": -1}, {"owner": "me"}])
async def test_an_invalid_update_is_refused(node: Node, update: dict[str, object]) -> None:
    with pytest.raises(RpcError) as refused:
        await node.call("surfnet_setAccount", str(Keypair().pubkey()), update)
    assert refused.value.code == -32602
