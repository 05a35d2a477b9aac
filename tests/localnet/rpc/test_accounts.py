"""Reading accounts: encodings, slices, filters, limits."""

from __future__ import annotations

import base64

import pytest
import zstandard
from based58 import b58decode, b58encode
from solders.keypair import Keypair
from solders.pubkey import Pubkey

from cvms.errors import RpcError
from tests.localnet.local_node import CONFIRMED, Node


async def stored(node: Node, data: bytes, owner: Pubkey | None = None) -> str:
    key = str(Keypair().pubkey())
    account = {"lamports": 10**9, "data": data.hex(), "owner": str(owner or Keypair().pubkey())}
    await node.call("surfnet_setAccount", key, account)
    return key


async def test_each_encoding_gives_back_the_accounts_bytes(node: Node) -> None:
    data = bytes(range(120))
    key = await stored(node, data)
    shown = {}
    for encoding in ("base58", "base64", "base64+zstd", "jsonParsed"):
        answer = await node.call("getAccountInfo", key, {"encoding": encoding})
        shown[encoding] = answer["value"]["data"]
    assert b58decode(shown["base58"][0].encode()) == data
    assert shown["base64"] == [base64.b64encode(data).decode(), "base64"]
    zipped = base64.b64decode(shown["base64+zstd"][0])
    assert zstandard.ZstdDecompressor().decompressobj().decompress(zipped) == data
    assert shown["jsonParsed"] == shown["base64"]  # its layout is unknown
    plain = (await node.call("getAccountInfo", key))["value"]
    assert b58decode(plain["data"].encode()) == data
    assert (plain["space"], plain["executable"], plain["lamports"]) == (120, False, 10**9)


async def test_base58_is_refused_for_more_than_128_bytes_unless_sliced(node: Node) -> None:
    key = await stored(node, bytes(129))
    with pytest.raises(RpcError, match="less than 128 bytes") as refused:
        await node.call("getAccountInfo", key, {"encoding": "base58"})
    assert refused.value.code == -32600
    part = {"encoding": "base58", "dataSlice": {"offset": 1, "length": 128}}
    answer = await node.call("getAccountInfo", key, part)
    assert b58decode(answer["value"]["data"][0].encode()) == bytes(128)


async def test_a_slice_is_cut_from_the_data_and_may_lie_beyond_it(node: Node) -> None:
    key = await stored(node, b"0123456789")

    async def cut(offset: int, length: int) -> bytes:
        config = {"encoding": "base64", "dataSlice": {"offset": offset, "length": length}}
        answer = await node.call("getAccountInfo", key, config)
        return base64.b64decode(answer["value"]["data"][0])

    assert [await cut(2, 3), await cut(8, 10), await cut(20, 5)] == [b"234", b"89", b""]


async def test_a_missing_account_is_null(node: Node) -> None:
    key = str(Keypair().pubkey())
    assert (await node.call("getAccountInfo", key))["value"] is None
    assert (await node.call("getMultipleAccounts", [key, key]))["value"] == [None, None]


async def test_many_accounts_come_at_one_slot_in_order_and_at_most_a_hundred(node: Node) -> None:
    keys = [await stored(node, bytes([n])) for n in range(3)]
    answer = await node.call("getMultipleAccounts", keys[::-1])
    assert [base64.b64decode(a["data"][0]) for a in answer["value"]] == [b"\2", b"\1", b"\0"]
    with pytest.raises(RpcError, match="Too many inputs provided; max 100"):
        await node.call("getMultipleAccounts", [keys[0]] * 101)


async def test_program_accounts_match_all_filters(node: Node) -> None:
    program = Keypair().pubkey()
    short = await stored(node, b"AAAA1111", program)
    long = await stored(node, b"AAAA22223333", program)
    other = await stored(node, b"BBBB1111", program)
    await stored(node, b"AAAA1111", Keypair().pubkey())

    async def found(*filters: object) -> set[str]:
        config = {"encoding": "base64", "filters": list(filters)}
        answer = await node.call("getProgramAccounts", str(program), config)
        return {item["pubkey"] for item in answer}

    prefix = {"memcmp": {"offset": 0, "bytes": b58encode(b"AAAA").decode()}}
    tail = base64.b64encode(b"1111").decode()
    suffix = {"memcmp": {"offset": 4, "bytes": tail, "encoding": "base64"}}
    assert await found() == {short, long, other}
    assert await found(prefix) == {short, long}
    assert await found(prefix, {"dataSize": 8}) == {short}
    assert await found(suffix) == {short, other}
    assert await found({"memcmp": {"offset": 0, "bytes": [66, 66]}}) == {other}
    with pytest.raises(RpcError, match="Too many filters"):
        await found(*[{"dataSize": 8}] * 5)
    with pytest.raises(RpcError, match="Base58DecodeError"):
        await found({"memcmp": {"offset": 0, "bytes": "0OIl"}})
    with_context = await node.call(
        "getProgramAccounts", str(program), {"withContext": True, "encoding": "base64"}
    )
    assert len(with_context["value"]) == 3


async def test_a_reassigned_account_belongs_to_its_new_owner_only(node: Node) -> None:
    first, second = Keypair().pubkey(), Keypair().pubkey()
    key = await stored(node, b"x", first)
    await node.call("surfnet_setAccount", key, {"owner": str(second)})
    assert await node.call("getProgramAccounts", str(first)) == []
    (found,) = await node.call("getProgramAccounts", str(second))
    assert found["pubkey"] == key


@pytest.mark.parametrize(
    ("method", "params", "words"),
    [
        ("getBalance", ["tooshort"], "Invalid param: WrongSize"),
        ("getBalance", ["0" * 44], "Invalid param: Invalid"),
        ("getBalance", [], "`params` should have at least 1 argument"),
        ("getBalance", ["x", {}, {}], "Expected from 1 to 2 parameters"),
        ("getBalance", [7], "expected a string"),
        ("getTokenSupply", [str(Pubkey.default()), {"commitment": "soon"}], "unknown variant"),
        ("getTokenSupply", [str(Pubkey.default()), {}], "missing field `commitment`"),
        ("getSlot", ["confirmed"], "expected struct RpcContextConfig"),
        ("getHealth", [1], "No parameters were expected"),
        ("getSlotLeaders", [1], "expected a tuple of size 2"),
        ("getSignatureStatuses", [[], {}], "missing field `searchTransactionHistory`"),
        ("sendTransaction", ["", {"maxRetries": -1}], "integer `-1`, expected usize"),
        ("getAccountInfo", [str(Pubkey.default()), {"encoding": "hex"}], "unknown variant"),
        ("getAccountInfo", [str(Pubkey.default()), {"minContextSlot": -1}], "expected u64"),
        ("getAccountInfo", [str(Pubkey.default()), 5], "expected struct RpcAccountInfoConfig"),
        ("getAccountInfo", [str(Pubkey.default()), {"dataSlice": {}}], "missing field `offset`"),
        ("getMultipleAccounts", ["x"], "expected a sequence"),
        ("getMinimumBalanceForRentExemption", [-1], "expected usize"),
        ("getMinimumBalanceForRentExemption", [True], "boolean `true`, expected usize"),
        ("getTransaction", ["x"], "WrongSize"),
        ("isBlockhashValid", ["x"], "WrongSize"),
        ("getBlock", ["1"], "expected u64"),
        ("getRecentPrioritizationFees", [5], "expected a sequence"),
    ],
)
async def test_odd_parameters_are_refused_as_invalid(
    node: Node, method: str, params: list[object], words: str
) -> None:
    with pytest.raises(RpcError, match=words) as refused:
        await node.call(method, *params)
    assert refused.value.code == -32602


async def test_an_unknown_commitment_is_taken_as_finalized(node: Node) -> None:
    """As by a validator, which flattens an optional commitment into the other options."""
    node.advance()
    for odd in ("soon", 5, None, ["confirmed"]):
        assert await node.call("getSlot", {"commitment": odd}) == await node.call("getSlot")


async def test_rent_is_that_of_the_virtual_machine(node: Node) -> None:
    assert await node.call("getMinimumBalanceForRentExemption", 0) == 890_880
    assert await node.call("getMinimumBalanceForRentExemption", 165) == 2_039_280
    assert await node.call("getBalance", str(Keypair().pubkey()), CONFIRMED) is not None
