"""Every reply parses as the solders type for it, which follows Agave's source."""

from __future__ import annotations

import base64
import json
from dataclasses import dataclass
from typing import Any

import pytest
from solders.keypair import Keypair
from solders.message import to_bytes_versioned
from solders.pubkey import Pubkey
from solders.rpc import errors, responses
from solders.token.associated import get_associated_token_address

from tests.localnet.local_node import BASE64, CONFIRMED, PROCESSED, SOL, TOKEN_PROGRAM, Node, wire

V0 = {"commitment": "confirmed", "maxSupportedTransactionVersion": 0}
PARSED = {"encoding": "jsonParsed"}


@dataclass
class Scene:
    """A chain with a payment, and a token account with a delegate."""

    node: Node
    payer: Keypair
    signature: str
    slot: int
    mint: str
    owner: str
    delegate: str
    tokens: str
    unsent: str
    message: str


@pytest.fixture
async def scene(node: Node) -> Scene:
    payer = await node.wallet()
    mint, owner, delegate = await node.mint(), Keypair().pubkey(), Keypair().pubkey()
    update = {"amount": 7, "delegate": str(delegate), "delegatedAmount": 3}
    await node.call("surfnet_setTokenAccount", str(owner), str(mint), update)
    signature = await node.pay(payer, owner, SOL)
    slot = node.running.chain.tip.slot
    node.finalize()
    unsent = await node.transfer(payer, owner, 2 * SOL)
    return Scene(
        node,
        payer,
        signature,
        slot,
        str(mint),
        str(owner),
        str(delegate),
        str(get_associated_token_address(owner, mint)),
        wire(unsent),
        base64.b64encode(to_bytes_versioned(unsent.message)).decode(),
    )


def calls(s: Scene) -> list[tuple[type[Any], str, list[Any]]]:
    payer = str(s.payer.pubkey())
    of_mint, of_program = {"mint": s.mint}, {"programId": TOKEN_PROGRAM}
    blockhash = str(s.node.running.chain.tip.blockhash)
    inner = BASE64 | {"innerInstructions": True, "replaceRecentBlockhash": True}
    return [
        (responses.GetHealthResp, "getHealth", []),
        (responses.GetVersionResp, "getVersion", []),
        (responses.GetIdentityResp, "getIdentity", []),
        (responses.GetGenesisHashResp, "getGenesisHash", []),
        (responses.GetSlotResp, "getSlot", []),
        (responses.GetSlotLeaderResp, "getSlotLeader", []),
        (responses.GetBlockHeightResp, "getBlockHeight", [CONFIRMED]),
        (responses.GetTransactionCountResp, "getTransactionCount", []),
        (responses.GetEpochInfoResp, "getEpochInfo", []),
        (responses.GetEpochScheduleResp, "getEpochSchedule", []),
        (responses.GetFirstAvailableBlockResp, "getFirstAvailableBlock", []),
        (responses.MinimumLedgerSlotResp, "minimumLedgerSlot", []),
        (responses.GetLatestBlockhashResp, "getLatestBlockhash", []),
        (responses.IsBlockhashValidResp, "isBlockhashValid", [blockhash, PROCESSED]),
        (responses.GetFeeForMessageResp, "getFeeForMessage", [s.message]),
        (
            responses.GetMinimumBalanceForRentExemptionResp,
            "getMinimumBalanceForRentExemption",
            [50],
        ),
        (responses.GetBalanceResp, "getBalance", [payer]),
        (responses.GetAccountInfoResp, "getAccountInfo", [s.tokens, BASE64]),
        (responses.GetAccountInfoResp, "getAccountInfo", [s.tokens, {"encoding": "base64+zstd"}]),
        (responses.GetAccountInfoJsonParsedResp, "getAccountInfo", [s.tokens, PARSED]),
        (responses.GetAccountInfoJsonParsedResp, "getAccountInfo", [s.mint, PARSED]),
        (responses.GetAccountInfoMaybeJsonParsedResp, "getAccountInfo", [payer, PARSED]),
        (responses.GetMultipleAccountsResp, "getMultipleAccounts", [[payer, s.mint], BASE64]),
        (
            responses.GetMultipleAccountsMaybeJsonParsedResp,
            "getMultipleAccounts",
            [[payer, s.mint, str(Keypair().pubkey())], PARSED],
        ),
        (responses.GetProgramAccountsResp, "getProgramAccounts", [TOKEN_PROGRAM, BASE64]),
        (
            responses.GetProgramAccountsWithContextMaybeJsonParsedResp,
            "getProgramAccounts",
            [TOKEN_PROGRAM, PARSED | {"withContext": True}],
        ),
        (responses.GetTokenAccountBalanceResp, "getTokenAccountBalance", [s.tokens]),
        (responses.GetTokenSupplyResp, "getTokenSupply", [s.mint]),
        (responses.GetTokenLargestAccountsResp, "getTokenLargestAccounts", [s.mint]),
        (
            responses.GetTokenAccountsByOwnerResp,
            "getTokenAccountsByOwner",
            [s.owner, of_mint, BASE64],
        ),
        (
            responses.GetTokenAccountsByOwnerJsonParsedResp,
            "getTokenAccountsByOwner",
            [s.owner, of_program, PARSED],
        ),
        (
            responses.GetTokenAccountsByDelegateJsonParsedResp,
            "getTokenAccountsByDelegate",
            [s.delegate, of_mint, PARSED],
        ),
        (responses.GetSignatureStatusesResp, "getSignatureStatuses", [[s.signature]]),
        (responses.GetSignaturesForAddressResp, "getSignaturesForAddress", [payer]),
        (responses.GetTransactionResp, "getTransaction", [s.signature, V0]),
        (responses.GetTransactionResp, "getTransaction", [s.signature, V0 | PARSED]),
        (responses.GetTransactionResp, "getTransaction", [s.signature, V0 | BASE64]),
        (
            responses.GetTransactionResp,
            "getTransaction",
            [s.signature, V0 | {"encoding": "base58"}],
        ),
        (responses.GetTransactionResp, "getTransaction", [str(s.payer.sign_message(b""))]),
        (responses.GetBlockResp, "getBlock", [s.slot, V0]),
        (responses.GetBlockResp, "getBlock", [s.slot, V0 | PARSED]),
        (responses.GetBlockResp, "getBlock", [s.slot, V0 | {"transactionDetails": "accounts"}]),
        (responses.GetBlockResp, "getBlock", [s.slot, {"transactionDetails": "signatures"}]),
        (responses.GetBlocksResp, "getBlocks", [0, s.slot]),
        (responses.GetBlocksWithLimitResp, "getBlocksWithLimit", [0, 2]),
        (responses.GetBlockTimeResp, "getBlockTime", [s.slot]),
        (
            responses.GetRecentPrioritizationFeesResp,
            "getRecentPrioritizationFees",
            [[payer]],
        ),
        (responses.SimulateTransactionResp, "simulateTransaction", [s.unsent, BASE64 | CONFIRMED]),
        (responses.SimulateTransactionResp, "simulateTransaction", [s.unsent, inner]),
        (responses.RequestAirdropResp, "requestAirdrop", [payer, SOL]),
        (
            responses.SendTransactionResp,
            "sendTransaction",
            [s.unsent, BASE64 | {"preflightCommitment": "confirmed"}],
        ),
    ]


async def test_solders_parses_the_reply_of_every_method(scene: Scene) -> None:
    for kind, method, params in calls(scene):
        reply = await scene.node.reply(method, *params)
        assert "error" not in reply, (method, reply)
        parsed = kind.from_json(json.dumps(reply))
        assert isinstance(parsed, kind), (method, params, parsed, reply)


async def test_solders_parses_errors(scene: Scene) -> None:
    node = scene.node
    poor = await node.transfer(scene.payer, Keypair().pubkey(), 500 * SOL)
    tip = node.running.chain.tip.slot
    cases: list[tuple[type[Any], str, list[Any]]] = [
        (
            errors.SendTransactionPreflightFailureMessage,
            "sendTransaction",
            [wire(poor), BASE64 | {"preflightCommitment": "confirmed"}],
        ),
        (errors.BlockNotAvailableMessage, "getBlock", [tip + 5]),
        (errors.MinContextSlotNotReachedMessage, "getSlot", [{"minContextSlot": tip + 1}]),
        (
            errors.UnsupportedTransactionVersionMessage,
            "getTransaction",
            [scene.signature],
        ),
        (errors.MethodNotFoundMessage, "getNothing", []),
        (errors.InvalidParamsMessage, "getBalance", ["x"]),
    ]
    for kind, method, params in cases:
        reply = await node.reply(method, *params)
        parsed = responses.GetSlotResp.from_json(json.dumps(reply))
        assert isinstance(parsed, kind), (method, parsed, reply)


@pytest.mark.parametrize(
    ("kind", "method", "by"),
    [
        (responses.SlotNotification, "slotSubscribe", []),
        (responses.RootNotification, "rootSubscribe", []),
        (responses.LogsNotification, "logsSubscribe", ["all", PROCESSED]),
        (responses.SignatureNotification, "signatureSubscribe", ["<signature>", CONFIRMED]),
        (responses.AccountNotification, "accountSubscribe", ["<owner>", BASE64 | PROCESSED]),
        (
            responses.ProgramNotification,
            "programSubscribe",
            ["11111111111111111111111111111111", BASE64 | PROCESSED],
        ),
        (
            responses.ProgramNotificationJsonParsed,
            "programSubscribe",
            [TOKEN_PROGRAM, PARSED | PROCESSED],
        ),
    ],
)
async def test_solders_parses_every_notification(
    scene: Scene, kind: type[Any], method: str, by: list[Any]
) -> None:
    names = {"<signature>": scene.signature, "<owner>": scene.owner}
    params = [names.get(item, item) if isinstance(item, str) else item for item in by]
    async with scene.node.pubsub() as pubsub:
        await pubsub.call(method, *params)
        await scene.node.pay(scene.payer, Keypair().pubkey(), SOL)
        await scene.node.pay(scene.payer, Pubkey.from_string(scene.owner), SOL)
        give = {"amount": 99}
        await scene.node.call("surfnet_setTokenAccount", scene.owner, scene.mint, give)
        scene.node.finalize()
        frame = await pubsub.next()
        (parsed,) = responses.parse_websocket_message(json.dumps(frame))
        assert isinstance(parsed, kind), (parsed, frame)
