"""Position summaries: their creation, and the refusal of malformed input."""

from collections.abc import Callable
from typing import Any

import pytest
from solders.instruction import Instruction
from solders.keypair import Keypair
from solders.pubkey import Pubkey

from tests.program.harness import ledger as chain
from tests.program.harness import positions
from tests.program.harness.ledger import (
    POSITION_IDL,
    POSITION_MANAGER,
    PROGRAM,
    SOL,
    SYSTEM,
    TOKEN,
    VAULT_IDL,
    Ledger,
    summary_address,
    vault_address,
    withdraw,
)
from tests.program.harness.positions import init_position_summary, summary_of
from tests.program.harness.refusals import assert_refused

ARGUMENTS: dict[str, dict[str, Any]] = {
    "init_position_summary": {},
    "open_position": {"amount": 1},
    "close_position": {"amount": 1},
    "rebalance_collateral": {"amount": 1},
    "settle_position_summary": {},
}


@pytest.fixture
def traded(governed: Ledger) -> Ledger:
    """A chain whose only authorized program is the position manager."""
    return positions.with_position_manager(governed)


def bare(ledger: Ledger, data: bytes) -> chain.Outcome:
    payer = ledger.wallet()
    return ledger.send(Instruction(POSITION_MANAGER, data, []), payer)


def test_every_instruction_of_the_interface_exists() -> None:
    assert ARGUMENTS.keys() == POSITION_IDL.instructions.keys()


@pytest.mark.parametrize("name", ARGUMENTS)
def test_an_instruction_logs_its_name_first(traded: Ledger, name: str) -> None:
    outcome = bare(traded, POSITION_IDL.instruction_data(name, ARGUMENTS[name]))
    title = "".join(word.capitalize() for word in name.split("_"))
    assert outcome.logs[1] == f"Program log: Instruction: {title}"
    assert_refused(outcome, "AccountNotEnoughKeys")


@pytest.mark.parametrize("name", ARGUMENTS)
def test_arguments_that_end_early_or_late_are_refused(traded: Ledger, name: str) -> None:
    data = POSITION_IDL.instruction_data(name, ARGUMENTS[name])
    for length in range(8, len(data)):
        assert_refused(bare(traded, data[:length]), "InstructionDidNotDeserialize")
    assert_refused(bare(traded, data + b"\0"), "InstructionDidNotDeserialize")


@pytest.mark.parametrize(
    "data", [b"", bytes(7), bytes(8), VAULT_IDL.instruction_data("initialize", {})]
)
def test_unknown_instructions_are_refused(traded: Ledger, data: bytes) -> None:
    assert_refused(bare(traded, data), "InstructionFallbackNotFound")


def test_anyone_may_pay_for_the_summary_of_a_vault(traded: Ledger) -> None:
    owner, stranger = traded.owner(), traded.wallet()
    clock = traded.svm.get_clock()
    clock.slot = 7_000
    traded.svm.set_clock(clock)
    outcome = traded.must(init_position_summary(owner.pubkey(), payer=stranger.pubkey()), stranger)
    assert outcome.events == ()
    assert summary_of(traded, owner.pubkey()) == {
        "vault": vault_address(owner.pubkey()),
        "owner": owner.pubkey(),
        "open_positions": 0,
        "locked_amount": 0,
        "last_updated_slot": 7_000,
    }


@pytest.mark.parametrize("dust", [0, 1, SOL])
def test_lamports_sent_to_the_address_before_do_not_block_a_summary(
    traded: Ledger, dust: int
) -> None:
    owner = traded.owner()
    address = summary_address(vault_address(owner.pubkey()))
    if dust:
        traded.put(address, SYSTEM, b"", dust)
    traded.must(init_position_summary(owner.pubkey(), payer=owner.pubkey()), owner)
    account = traded.svm.get_account(address)
    rent = traded.svm.minimum_balance_for_rent_exemption(positions.SUMMARY_LENGTH)
    assert account is not None
    assert (account.owner, account.lamports) == (POSITION_MANAGER, max(dust, rent))


def test_a_new_summary_permits_withdrawals(traded: Ledger) -> None:
    owner = positions.trader(traded, deposited=100)
    summary = chain.readonly(summary_address(vault_address(owner.pubkey())))
    traded.must(withdraw(owner.pubkey(), 40, remaining=[summary]), owner)
    assert traded.tokens(owner.pubkey()) == 40


@pytest.mark.parametrize("open_positions", [0, 3])
def test_a_summary_cannot_be_created_twice(traded: Ledger, open_positions: int) -> None:
    owner = positions.trader(traded)
    traded.put_summary(owner.pubkey(), open_positions=open_positions, locked_amount=9)
    before = summary_of(traded, owner.pubkey())
    again = init_position_summary(owner.pubkey(), payer=owner.pubkey())
    assert_refused(traded.send(again, owner), "AlreadyInitialized")
    assert summary_of(traded, owner.pubkey()) == before


def test_the_payer_signs_and_what_changes_is_writable(traded: Ledger) -> None:
    owner, payer = traded.owner(), traded.wallet()
    given = init_position_summary(owner.pubkey(), payer=payer.pubkey())
    assert_refused(traded.send(chain.without(given, signer=0), owner), "AccountNotSigner")
    assert_refused(traded.send(chain.without(given, writable=0), owner, payer), "ConstraintMut")
    assert_refused(traded.send(chain.without(given, writable=2), owner, payer), "ConstraintMut")
    fake = init_position_summary(owner.pubkey(), payer=payer.pubkey(), system_program=PROGRAM)
    assert_refused(traded.send(fake, payer), "InvalidProgramId")
    assert traded.data(summary_address(vault_address(owner.pubkey()))) == b""


def test_a_summary_exists_only_at_its_vaults_address(traded: Ledger) -> None:
    owner, other = traded.owner(), traded.owner()
    of_another = summary_address(vault_address(other.pubkey()))
    by_owner = summary_address(owner.pubkey())
    of_vault_program = summary_address(vault_address(owner.pubkey()), PROGRAM)
    for address in (of_another, by_owner, of_vault_program, Keypair().pubkey()):
        given = init_position_summary(
            owner.pubkey(), payer=owner.pubkey(), position_summary=address
        )
        assert_refused(traded.send(given, owner), "ConstraintSeeds")
        assert traded.data(address) == b""


# Accounts that are not a vault, with the refusal of each


def never_created(_: Ledger, __: Keypair) -> Pubkey:
    return vault_address(Keypair().pubkey())


def a_wallet(_: Ledger, owner: Keypair) -> Pubkey:
    return owner.pubkey()


def a_durable_nonce(ledger: Ledger, owner: Keypair) -> Pubkey:
    """Such an account belongs to the system program, and has data."""
    address = vault_address(owner.pubkey())
    ledger.put(address, SYSTEM, bytes(80))
    return address


def of_another_program_without_data(ledger: Ledger, owner: Keypair) -> Pubkey:
    address = vault_address(owner.pubkey())
    ledger.put(address, TOKEN, b"")
    return address


def the_vaults_tokens(_: Ledger, owner: Keypair) -> Pubkey:
    return chain.token_address(vault_address(owner.pubkey()))


def the_vault_authority(_: Ledger, __: Keypair) -> Pubkey:
    return chain.authority_address()


def written_by_another_program(ledger: Ledger, owner: Keypair) -> Pubkey:
    address = vault_address(owner.pubkey())
    ledger.put(address, POSITION_MANAGER, ledger.data(address))
    return address


def of_another_kind(ledger: Ledger, owner: Keypair) -> Pubkey:
    address = vault_address(owner.pubkey())
    ledger.put(address, PROGRAM, bytes(8) + ledger.data(address)[8:])
    return address


def shorter_than_a_discriminator(ledger: Ledger, owner: Keypair) -> Pubkey:
    address = vault_address(owner.pubkey())
    ledger.put(address, PROGRAM, ledger.data(address)[:7])
    return address


def cut_short(ledger: Ledger, owner: Keypair) -> Pubkey:
    address = vault_address(owner.pubkey())
    ledger.put(address, PROGRAM, ledger.data(address)[:208])
    return address


def a_copy_elsewhere(ledger: Ledger, owner: Keypair) -> Pubkey:
    address = Keypair().pubkey()
    ledger.put(address, PROGRAM, ledger.data(vault_address(owner.pubkey())))
    return address


def with_another_owner_written_in(ledger: Ledger, owner: Keypair) -> Pubkey:
    address = vault_address(owner.pubkey())
    data = ledger.data(address)
    ledger.put(address, PROGRAM, data[:8] + bytes(ledger.wallet().pubkey()) + data[40:])
    return address


NO_VAULTS = [
    (never_created, "AccountNotInitialized"),
    (a_wallet, "AccountNotInitialized"),
    (a_durable_nonce, "AccountDiscriminatorMismatch"),
    (of_another_program_without_data, "AccountDiscriminatorMismatch"),
    (the_vaults_tokens, "AccountDiscriminatorMismatch"),
    (the_vault_authority, "AccountDiscriminatorMismatch"),
    (written_by_another_program, "ConstraintSeeds"),
    (of_another_kind, "AccountDiscriminatorMismatch"),
    (shorter_than_a_discriminator, "AccountDiscriminatorMismatch"),
    (cut_short, "AccountDidNotDeserialize"),
    (a_copy_elsewhere, "ConstraintSeeds"),
    (with_another_owner_written_in, "ConstraintSeeds"),
]


@pytest.mark.parametrize(("forge", "refusal"), NO_VAULTS)
def test_only_a_vault_gets_a_summary(
    traded: Ledger, forge: Callable[[Ledger, Keypair], Pubkey], refusal: str
) -> None:
    payer = traded.owner()
    fake = forge(traded, payer)
    given = init_position_summary(
        payer.pubkey(), payer=payer.pubkey(), vault=fake, position_summary=summary_address(fake)
    )
    assert_refused(traded.send(given, payer), refusal)
    assert traded.data(summary_address(fake)) == b""
