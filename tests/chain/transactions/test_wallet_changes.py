"""What wallets make of a plan, as their libraries have written it, and what is no plan any more."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from solders.instruction import AccountMeta, Instruction
from solders.keypair import Keypair
from solders.message import Message, MessageV0
from solders.pubkey import Pubkey

from cvms.chain.program.addresses import token_account, vault_address, vault_authority_address
from cvms.chain.transactions.sponsorship_policy import FeeCaps, check_sponsored, fee_within
from cvms.chain.transactions.versioned import (
    AnyMessage,
    instructions_of,
    message_of,
    parse_base64,
    verify_signatures,
)
from cvms.chain.transactions.wallet_changes import find_difference
from cvms.config.loader import load_programs
from cvms.config.operator_settings import LIGHTHOUSE
from cvms.errors import NotSponsored

OPERATOR, WALLET = (Keypair.from_seed(bytes([seed] * 32)) for seed in (1, 2))
PROGRAMS = load_programs({})
GUARD = Pubkey.from_string(LIGHTHOUSE)
RECORDED = json.loads((Path(__file__).parent / "wallet_recordings.json").read_text())
PLAN = message_of(parse_base64(RECORDED["plan"]))

OUTCOMES = {
    "Phantom, another party pays: one assertion at the end": None,
    "Phantom, assertions around and a price of its own": None,
    "Solflare: a compute budget and two assertions": None,
    "A refreshed block hash": None,
    "wallet-adapter, a legacy transaction": None,
    "wallet-adapter, a legacy transaction with a refreshed block hash": None,
    "@solana/kit, taken apart and put together": None,
    "Signed as it is": None,
    "An assertion about the fee payer": f"takes {OPERATOR.pubkey()}",
    "The wallet pays the fee itself": "another fee payer",
    "A tip to a block builder": "not the planned ones",
    "A price beyond the caps": "at a price of 5000000",
}


def difference(given: AnyMessage, plan: AnyMessage = PLAN) -> str | None:
    """Return in what it is not the plan, or why the operator does not sign it."""
    found = find_difference(
        plan,
        given,
        operator=OPERATOR.pubkey(),
        owner=WALLET.pubkey(),
        programs=PROGRAMS,
        guards=frozenset({GUARD}),
    )
    if found is not None:
        return found
    try:
        check_sponsored(
            given,
            operator=OPERATOR.pubkey(),
            programs=PROGRAMS,
            caps=FeeCaps(),
            acts=False,
            guards=frozenset({GUARD}),
        )
    except NotSponsored as refused:
        return str(refused)
    return None


def test_every_recording_has_an_outcome() -> None:
    assert set(RECORDED["transactions"]) == set(OUTCOMES)


@pytest.mark.parametrize("made", OUTCOMES)
def test_what_a_wallet_has_made_of_the_plan(made: str) -> None:
    transaction = parse_base64(RECORDED["transactions"][made])
    assert WALLET.pubkey() in verify_signatures(transaction)
    found, expected = difference(message_of(transaction)), OUTCOMES[made]
    assert found == expected if expected is None else expected in str(found)


def test_the_recordings_are_of_both_versions() -> None:
    messages = [message_of(parse_base64(each)) for each in RECORDED["transactions"].values()]
    assert {type(each) for each in messages} == {Message, MessageV0}


def with_guard(*accounts: AccountMeta) -> AnyMessage:
    added = [*instructions_of(PLAN), Instruction(GUARD, b"\6", accounts)]
    return MessageV0.try_compile(OPERATOR.pubkey(), added, [], PLAN.recent_blockhash)


VAULT = vault_address(PROGRAMS, WALLET.pubkey())


@pytest.mark.parametrize(
    "taken",
    [
        OPERATOR.pubkey(),
        VAULT,
        token_account(VAULT, PROGRAMS.mint),
    ],
)
def test_a_guard_takes_nothing_of_the_service_even_read_only(taken: Pubkey) -> None:
    # It is writable all the same, since the plan writes it.
    found = difference(with_guard(AccountMeta(taken, is_signer=False, is_writable=False)))
    assert found is not None
    assert str(taken) in found


def test_a_guard_does_not_even_read_the_operator_if_the_wallet_pays() -> None:
    steps, payer = instructions_of(PLAN), WALLET.pubkey()
    guard = Instruction(GUARD, b"\6", [AccountMeta(OPERATOR.pubkey(), False, False)])
    plan = MessageV0.try_compile(payer, steps, [], PLAN.recent_blockhash)
    given = MessageV0.try_compile(payer, [*steps, guard], [], PLAN.recent_blockhash)
    found = find_difference(
        plan,
        given,
        operator=OPERATOR.pubkey(),
        owner=payer,
        programs=PROGRAMS,
        guards=frozenset({GUARD}),
    )
    assert found is not None
    assert str(OPERATOR.pubkey()) in found


def test_a_guard_takes_the_vault_authority_read_only() -> None:
    authority = vault_authority_address(PROGRAMS)
    assert difference(with_guard(AccountMeta(authority, False, False))) is None
    assert difference(with_guard(AccountMeta(authority, False, True))) is not None


def test_a_guard_may_write_the_wallet_its_tokens_and_accounts_of_its_own() -> None:
    tokens, memory = token_account(WALLET.pubkey(), PROGRAMS.mint), Pubkey.new_unique()
    signer = next(each for each in instructions_of(PLAN)[-1].accounts if each.is_signer)
    taken = [signer, AccountMeta(tokens, False, True), AccountMeta(memory, False, True)]
    assert difference(with_guard(*taken)) is None


def test_an_account_that_is_listed_twice_is_refused() -> None:
    keys = list(PLAN.account_keys)
    assert isinstance(PLAN, MessageV0)
    doubled = MessageV0(
        PLAN.header, [*keys, OPERATOR.pubkey()], PLAN.recent_blockhash, PLAN.instructions, []
    )
    assert difference(doubled) == "an account is in the message twice"


def test_the_policy_alone_keeps_the_operator_from_guards() -> None:
    """It is the last check before the key signs, whatever was compared before."""
    message = with_guard(AccountMeta(OPERATOR.pubkey(), False, False))
    with pytest.raises(NotSponsored, match="guard program"):
        check_sponsored(
            message,
            operator=OPERATOR.pubkey(),
            programs=PROGRAMS,
            caps=FeeCaps(),
            acts=False,
            guards=frozenset({GUARD}),
        )


def test_what_the_service_decides_itself_has_no_guards() -> None:
    with pytest.raises(NotSponsored, match=LIGHTHOUSE):
        check_sponsored(
            with_guard(),
            operator=OPERATOR.pubkey(),
            programs=PROGRAMS,
            caps=FeeCaps(),
            acts=True,
            guards=frozenset({GUARD}),
        )


def test_the_fee_is_that_of_the_changed_message() -> None:
    made = "Solflare: a compute budget and two assertions"
    message = message_of(parse_base64(RECORDED["transactions"][made]))
    assert fee_within(PLAN, FeeCaps()) == 10_000 + 60
    assert fee_within(message, FeeCaps()) == 10_000 + 300_000 * 50_000 // 10**6
