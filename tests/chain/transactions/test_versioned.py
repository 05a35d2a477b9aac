"""Building, encoding and signing of transactions."""

from __future__ import annotations

import base64
import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st
from solders.compute_budget import ID as COMPUTE_BUDGET_PROGRAM
from solders.compute_budget import set_compute_unit_limit, set_compute_unit_price
from solders.hash import Hash
from solders.instruction import Instruction
from solders.keypair import Keypair
from solders.message import Message, to_bytes_versioned
from solders.pubkey import Pubkey
from solders.signature import Signature
from solders.transaction import VersionedTransaction
from spl.token.instructions import create_idempotent_associated_token_account

from cvms.chain.program import instructions
from cvms.chain.rpc.responses import LatestBlockhash
from cvms.chain.transactions.versioned import (
    MAX_COMPUTE_UNITS,
    MAX_WIRE_BYTES,
    BuiltTransaction,
    attach_signature,
    build_transaction,
    instructions_of,
    message_hash,
    message_of,
    missing_signers,
    parse_base64,
    parse_wire,
    sign_as,
    signature_of,
    stored_message,
    unsigned,
    verify_signatures,
    with_budget,
)
from cvms.chain.types import (
    POSITION_MANAGER_PROGRAM,
    USDT_MINT,
    VAULT_PROGRAM,
    BlockHeight,
    Programs,
    Slot,
)
from cvms.errors import InvalidRequest
from tests.chain.made_up import unhurried

OPERATOR, OWNER, STRANGER = Keypair(), Keypair(), Keypair()
BLOCKHASH = LatestBlockhash(Hash.new_unique(), BlockHeight(1150), Slot(1000))
PROGRAMS = Programs(
    Pubkey.from_string(VAULT_PROGRAM),
    Pubkey.from_string(POSITION_MANAGER_PROGRAM),
    Pubkey.from_string(USDT_MINT),
)


def deposit(limit: int | None = None) -> BuiltTransaction:
    instruction = instructions.deposit(
        PROGRAMS, authority=OWNER.pubkey(), owner=OWNER.pubkey(), amount=5
    )
    return build_transaction(
        instruction,
        fee_payer=OPERATOR.pubkey(),
        blockhash=BLOCKHASH,
        compute_unit_limit=limit,
    )


def budget_of(built: BuiltTransaction) -> list[bytes]:
    """Return the data of the compute budget instructions."""
    keys = built.message.account_keys
    return [
        each.data
        for each in built.message.instructions
        if keys[each.program_id_index] == COMPUTE_BUDGET_PROGRAM
    ]


def test_the_operator_pays_and_both_must_sign() -> None:
    built = deposit()
    assert built.signers == (OPERATOR.pubkey(), OWNER.pubkey())
    assert built.last_valid_block_height == 1150
    assert built.message.recent_blockhash == BLOCKHASH.blockhash


def test_a_wallet_is_given_zeroed_signatures_and_the_message_is_known_by_its_hash() -> None:
    built = deposit()
    transaction = parse_wire(built.unsigned_wire)
    assert transaction.signatures == [Signature.default()] * 2
    assert missing_signers(transaction) == built.signers
    assert message_hash(message_of(transaction)) == built.message_hash
    assert built.message_hash == hashlib.sha256(to_bytes_versioned(built.message)).digest()


def test_wallet_then_operator_makes_it_complete() -> None:
    built = deposit()
    from_wallet = sign_as(built.message, OWNER)
    wire = base64.b64encode(bytes(from_wallet)).decode()
    received = parse_base64(wire)
    assert verify_signatures(received) == {OWNER.pubkey()}
    assert missing_signers(received) == (OPERATOR.pubkey(),)
    complete = attach_signature(received, OPERATOR)
    assert missing_signers(complete) == ()
    assert complete.signatures[1] == from_wallet.signatures[1]
    assert signature_of(complete) == str(OPERATOR.sign_message(to_bytes_versioned(built.message)))


def test_a_signature_over_another_message_does_not_count() -> None:
    other = sign_as(deposit(limit=77_777).message, OWNER)
    forged = VersionedTransaction.populate(deposit().message, other.signatures)
    assert missing_signers(parse_wire(bytes(forged))) == deposit().signers


def test_a_signature_of_a_stranger_is_refused() -> None:
    with pytest.raises(ValueError, match="not in"):
        sign_as(deposit().message, STRANGER)


def test_the_limit_defaults_to_200000_an_instruction_and_can_be_set() -> None:
    limit = set_compute_unit_limit
    assert budget_of(deposit()) == [limit(200_000).data]
    tuned = with_budget(deposit(), compute_unit_limit=31_000, compute_unit_price=7)
    assert budget_of(tuned) == [limit(31_000).data, set_compute_unit_price(7).data]
    assert tuned.message.recent_blockhash == BLOCKHASH.blockhash
    assert tuned.last_valid_block_height == 1150
    assert deposit(limit=10**9).compute_unit_limit == MAX_COMPUTE_UNITS


def test_setup_goes_before_the_instruction_and_counts_for_the_limit() -> None:
    main = instructions.add_delegate(PROGRAMS, owner=OWNER.pubkey(), delegate=STRANGER.pubkey())
    setup = create_idempotent_associated_token_account(
        payer=OPERATOR.pubkey(), owner=OWNER.pubkey(), mint=PROGRAMS.mint
    )
    built = build_transaction(main, setup=[setup], fee_payer=OPERATOR.pubkey(), blockhash=BLOCKHASH)
    assert [each.data for each in built.message.instructions][1:] == [setup.data, main.data]
    assert built.compute_unit_limit == 400_000


def test_what_does_not_fit_is_refused_when_it_is_built() -> None:
    huge = Instruction(PROGRAMS.vault, bytes(1300), [])
    with pytest.raises(InvalidRequest, match="1232"):
        build_transaction(huge, fee_payer=OPERATOR.pubkey(), blockhash=BLOCKHASH)


def test_a_wire_that_is_long_or_trailed_or_newer_is_refused() -> None:
    wire = deposit().unsigned_wire
    for bad in (
        b"",
        wire[:-1],
        wire + b"\0",
        bytes(MAX_WIRE_BYTES + 1),
        wire[:129] + b"\x81" + wire[130:],
        bytes(VersionedTransaction.populate(deposit().message, [])),
        bytes(VersionedTransaction.populate(deposit().message, [Signature.default()] * 3)),
    ):
        with pytest.raises(InvalidRequest):
            parse_wire(bad)


def test_a_legacy_transaction_is_parsed_and_says_what_version_0_says() -> None:
    built = deposit()
    message = Message.new_with_blockhash(
        instructions_of(built.message), OPERATOR.pubkey(), built.message.recent_blockhash
    )
    wire = bytes(unsigned(message))
    assert bytes(parse_wire(wire)) == wire
    assert message_of(parse_wire(wire)) == message
    assert instructions_of(message) == instructions_of(built.message)
    for each in (message, built.message):
        assert stored_message(bytes(each), message_hash(each)) == each


@pytest.mark.parametrize("text", ["", "!", "AAAA", "é" * 10, "A" * 5000])
def test_what_is_no_base64_of_a_transaction_is_refused(text: str) -> None:
    with pytest.raises(InvalidRequest):
        parse_base64(text)


@unhurried
@given(
    flips=st.lists(st.tuples(st.integers(0, 10**6), st.integers(0, 255)), min_size=1, max_size=4)
)
def test_damaged_bytes_are_refused_or_accepted_and_never_crash_the_parser(
    flips: list[tuple[int, int]],
) -> None:
    wire = bytearray(bytes(sign_as(deposit().message, OPERATOR, OWNER)))
    original = bytes(wire)
    for place, value in flips:
        wire[place % len(wire)] = value
    try:
        transaction = parse_wire(bytes(wire))
    except InvalidRequest:
        return
    complete = not missing_signers(transaction)
    assert complete == (bytes(wire) == original)


@unhurried
@given(st.binary(max_size=MAX_WIRE_BYTES + 10))
def test_random_bytes_are_no_transaction(wire: bytes) -> None:
    with pytest.raises(InvalidRequest):
        parse_wire(wire)
