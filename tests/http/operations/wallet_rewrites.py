"""What wallets make of a transaction before they sign it, and what an attacker would."""

from __future__ import annotations

import base64
from collections.abc import Callable, Sequence
from itertools import pairwise
from random import Random

from solders.compute_budget import ID as COMPUTE_BUDGET
from solders.compute_budget import set_compute_unit_limit, set_compute_unit_price
from solders.hash import Hash
from solders.instruction import AccountMeta, CompiledInstruction, Instruction
from solders.keypair import Keypair
from solders.message import Message, MessageHeader, MessageV0
from solders.pubkey import Pubkey

from cvms.chain.transactions.versioned import (
    AnyMessage,
    attach_signature,
    instructions_of,
    required_signers,
    unsigned,
)
from tests.harness.guard_program import GUARD
from tests.harness.service import Json

# What Phantom has added to transactions on mainnet: assertions about the state and the lamports of
# an account, before and after the others' instructions.
ASSERT_BEFORE = bytes.fromhex(
    "0604010202a8f6914e88a1b0e210153ef763ae2b00c2b93d16c124d2c0537a100480000000"
)
ASSERT_AFTER = bytes.fromhex("06040300605d4039000000000403000001000000000000000000")
ASSERT_TOKENS = bytes.fromhex("0a04010104000000000000000004")

Rewrite = Callable[[AnyMessage, Pubkey, Pubkey], AnyMessage]
"""Takes a message, the wallet and its token account."""


def compiled(
    message: AnyMessage,
    instructions: Sequence[Instruction],
    *,
    blockhash: Hash | None = None,
    legacy: bool = False,
    payer: Pubkey | None = None,
) -> AnyMessage:
    """Put a message together again, from the instructions."""
    payer = payer or required_signers(message)[0]
    blockhash = blockhash or message.recent_blockhash
    if legacy:
        return Message.new_with_blockhash(instructions, payer, blockhash)
    return MessageV0.try_compile(payer, instructions, [], blockhash)


def assertion(data: bytes, target: Pubkey, guard: Pubkey = GUARD) -> Instruction:
    return Instruction(guard, data, [AccountMeta(target, is_signer=False, is_writable=False)])


def phantom(message: AnyMessage, wallet: Pubkey, tokens: Pubkey) -> AnyMessage:
    """Append one assertion, as where another party pays the fee."""
    return compiled(message, [*instructions_of(message), assertion(ASSERT_AFTER, wallet)])


def phantom_around(message: AnyMessage, wallet: Pubkey, tokens: Pubkey) -> AnyMessage:
    """Assert before and after, with a price of its own choice."""
    budget, ours = budget_and_rest(message)
    return compiled(
        message,
        [
            budget[0],
            set_compute_unit_price(7_000),
            assertion(ASSERT_BEFORE, tokens),
            *ours,
            assertion(ASSERT_AFTER, wallet),
        ],
    )


def solflare(message: AnyMessage, wallet: Pubkey, tokens: Pubkey) -> AnyMessage:
    """Set a compute budget and append two assertions."""
    _, ours = budget_and_rest(message)
    return compiled(
        message,
        [
            set_compute_unit_price(50_000),
            set_compute_unit_limit(300_000),
            *ours,
            assertion(ASSERT_AFTER, wallet),
            assertion(ASSERT_TOKENS, tokens),
        ],
    )


def legacy(message: AnyMessage, wallet: Pubkey, tokens: Pubkey) -> AnyMessage:
    """Take it apart and put it together as a legacy message, as wallet adapters do."""
    return compiled(message, instructions_of(message), legacy=True)


def reordered(message: AnyMessage, wallet: Pubkey, tokens: Pubkey, *, seed: int = 1) -> AnyMessage:
    """List the accounts in another order, the fee payer and the privileges aside."""
    header, keys = message.header, list(message.account_keys)
    signers, total = header.num_required_signatures, len(keys)
    bounds = [
        1,
        signers - header.num_readonly_signed_accounts,
        signers,
        total - header.num_readonly_unsigned_accounts,
        total,
    ]
    random, order = Random(seed), [0]
    for start, end in pairwise(bounds):
        part = list(range(start, end))
        random.shuffle(part)
        order += part
    place = {old: new for new, old in enumerate(order)}
    instructions = [
        CompiledInstruction(
            place[each.program_id_index],
            bytes(each.data),
            bytes(place[at] for at in bytes(each.accounts)),
        )
        for each in message.instructions
    ]
    return MessageV0(
        MessageHeader(
            header.num_required_signatures,
            header.num_readonly_signed_accounts,
            header.num_readonly_unsigned_accounts,
        ),
        [keys[at] for at in order],
        message.recent_blockhash,
        instructions,
        [],
    )


def budget_and_rest(message: AnyMessage) -> tuple[list[Instruction], list[Instruction]]:
    instructions = instructions_of(message)
    return (
        [each for each in instructions if each.program_id == COMPUTE_BUDGET],
        [each for each in instructions if each.program_id != COMPUTE_BUDGET],
    )


def body_of(message: AnyMessage, *wallets: Keypair) -> Json:
    """Return the body for POST /api/transactions, signed by those wallets that it names."""
    transaction = unsigned(message)
    for wallet in wallets:
        if wallet.pubkey() in required_signers(message):
            transaction = attach_signature(transaction, wallet)
    return {"transaction": base64.b64encode(bytes(transaction)).decode()}
