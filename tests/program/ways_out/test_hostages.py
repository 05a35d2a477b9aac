"""Whatever governance does, tokens that no position claims reach their owner's wallet.

Each path takes the owner's signature and no other, and its delay is the one in docs/programs.md.
"""

from typing import Any

import pytest
from solders.compute_budget import set_compute_unit_limit
from solders.instruction import AccountMeta, Instruction
from solders.keypair import Keypair
from solders.message import MessageV0
from solders.pubkey import Pubkey
from solders.transaction import VersionedTransaction
from solders.transaction_metadata import FailedTransactionMetadata

from tests.program.harness.effects import refused
from tests.program.harness.full_vault import PROGRAMS, made_up
from tests.program.harness.instructions import build
from tests.program.harness.ledger import (
    POSITION_MANAGER,
    PROGRAM,
    START,
    SYSTEM,
    TOKEN,
    Ledger,
    govern,
    initialize_vault_authority,
    readonly,
    summary_address,
    vault_address,
)
from tests.program.harness.many_programs import put_table
from tests.program.harness.positions import (
    close_position,
    open_position,
    trader,
    with_position_manager,
)
from tests.program.harness.refusals import assert_refused

DAY = 24 * 60 * 60
WEEK, PAUSE = 7 * DAY, 3 * DAY
IMPOSSIBLE = [SYSTEM, PROGRAM, TOKEN]


@pytest.fixture
def traded(governed: Ledger) -> Ledger:
    return with_position_manager(governed)


@pytest.fixture
def owner(traded: Ledger) -> Keypair:
    """The owner of 1,000 in a vault, 600 of it locked for a position."""
    owner = trader(traded, deposited=1_000)
    traded.must(open_position(owner.pubkey(), 600), owner)
    return owner


def with_summaries(ledger: Ledger, name: str, owner: Keypair, **arguments: Any) -> Instruction:
    """Return the owner's instruction with the summary of each authorized program."""
    return build(name, owner.pubkey(), remaining=summaries(ledger, owner), **arguments)


def summaries(ledger: Ledger, owner: Keypair) -> list[AccountMeta]:
    vault = vault_address(owner.pubkey())
    programs = ledger.authority()["authorized_programs"]
    return [readonly(summary_address(vault, program)) for program in programs]


def release(ledger: Ledger, owner: Keypair) -> Instruction:
    return with_summaries(ledger, "release_unclaimed", owner)


def withdraw(ledger: Ledger, owner: Keypair, amount: int) -> Instruction:
    return with_summaries(ledger, "withdraw", owner, amount=amount)


def rescue(owner: Keypair, amount: int) -> Instruction:
    return build("emergency_withdraw", owner.pubkey(), amount=amount)


def assert_stuck(ledger: Ledger, owner: Keypair) -> None:
    """Assert that today no way leads out, not even for one unit."""
    for given in (withdraw(ledger, owner, 1), rescue(owner, 1)):
        refused(ledger, owner.pubkey(), given, owner, error="OpenPositionsExist")


def leave(ledger: Ledger, owner: Keypair) -> None:
    """Request an exit and wait until just before and until it is valid."""
    ledger.must(build("request_exit", owner.pubkey()), owner)
    ledger.set_time(START + WEEK - 1)
    refused(ledger, owner.pubkey(), rescue(owner, 1), owner, error="OpenPositionsExist")
    ledger.set_time(START + WEEK)


def test_a_freeze_for_ever_keeps_only_what_a_position_claims(
    traded: Ledger, governance: Keypair, owner: Keypair
) -> None:
    traded.must(govern("set_freeze_flag", governance.pubkey(), value=True), governance)
    refused(traded, owner.pubkey(), close_position(owner.pubkey(), 600), owner, error="Frozen")
    assert_stuck(traded, owner)
    leave(traded, owner)
    refused(traded, owner.pubkey(), release(traded, owner), owner, error="NotFound")
    traded.must(rescue(owner, 400), owner)
    assert traded.tokens(owner.pubkey()) == 400


@pytest.mark.parametrize("frozen", [False, True])
def test_the_removal_of_the_position_manager_keeps_nothing(
    traded: Ledger, governance: Keypair, owner: Keypair, frozen: bool
) -> None:
    key = governance.pubkey()
    gone = govern("remove_authorized_program", key, value=POSITION_MANAGER)
    traded.must(gone, governance)
    traded.must(govern("set_freeze_flag", key, value=frozen), governance)
    closing = close_position(owner.pubkey(), 600)
    refused(traded, owner.pubkey(), closing, owner, error="UnauthorizedProgram")
    assert_stuck(traded, owner)
    leave(traded, owner)
    traded.must(release(traded, owner), owner)
    traded.must(withdraw(traded, owner, 1_000), owner)
    assert traded.tokens(owner.pubkey()) == 1_000


def test_a_position_manager_that_comes_back_cannot_undo_a_release(
    traded: Ledger, governance: Keypair, owner: Keypair
) -> None:
    """Its summary then claims more than is locked, which blocks the ordinary withdrawal only."""
    key = governance.pubkey()
    gone = govern("remove_authorized_program", key, value=POSITION_MANAGER)
    back = govern("add_authorized_program", key, value=POSITION_MANAGER)
    traded.must(gone, governance)
    leave(traded, owner)
    traded.must(release(traded, owner), owner)
    traded.must(back, governance)
    ordinary = withdraw(traded, owner, 1)
    refused(traded, owner.pubkey(), ordinary, owner, error="OpenPositionsExist")
    traded.must(rescue(owner, 1_000), owner)
    assert traded.tokens(owner.pubkey()) == 1_000


def test_a_pause_ends_before_the_exit_does(
    traded: Ledger, governance: Keypair, owner: Keypair
) -> None:
    """No pause follows another within a week: four days of each exit are free."""
    leave(traded, owner)
    pause = govern("pause_withdrawals", governance.pubkey(), value=PAUSE)
    traded.must(pause, governance)
    refused(traded, owner.pubkey(), rescue(owner, 1), owner, error="WithdrawalsPaused")
    traded.set_time(START + WEEK + PAUSE)
    assert_refused(traded.send(pause, governance), "NotExecutableNow")
    traded.must(rescue(owner, 400), owner)
    assert traded.tokens(owner.pubkey()) == 400


def test_a_minimum_delay_that_is_longer_than_an_exit_does_not_outlast_it(
    traded: Ledger, governance: Keypair, owner: Keypair
) -> None:
    """The owner requests the withdrawal first, and the exit a week before it matures."""
    key = owner.pubkey()
    traded.must(govern("set_freeze_flag", governance.pubkey(), value=True), governance)
    traded.must(build("set_withdraw_min_delay", key, seconds=30 * DAY), owner)
    traded.must(build("request_withdraw", key, amount=400), owner)
    traded.set_time(START + 23 * DAY)
    traded.must(build("request_exit", key), owner)
    traded.set_time(START + 30 * DAY)
    traded.must(rescue(owner, 400), owner)
    assert traded.tokens(key) == 400


@pytest.mark.parametrize("entry", IMPOSSIBLE)
def test_an_impossible_entry_of_an_old_list_does_not_block_a_withdrawal(
    governed: Ledger, entry: Pubkey
) -> None:
    """Such as `11111…`, whose summary of a vault is an account of the system program."""
    governed.change_authority(authorized_programs=[entry])
    owner = governed.owner(deposited=1_000)
    other = build("withdraw", owner.pubkey(), remaining=[readonly(owner.pubkey())], amount=1)
    refused(governed, owner.pubkey(), other, owner, error="PositionSummaryInvalid")
    governed.must(withdraw(governed, owner, 1_000), owner)
    assert governed.tokens(owner.pubkey()) == 1_000


@pytest.mark.parametrize("entry", IMPOSSIBLE)
def test_an_impossible_entry_does_not_block_an_exit(
    traded: Ledger, owner: Keypair, entry: Pubkey
) -> None:
    traded.change_authority(authorized_programs=[entry])
    assert_stuck(traded, owner)
    leave(traded, owner)
    traded.must(release(traded, owner), owner)
    traded.must(withdraw(traded, owner, 1_000), owner)
    assert traded.tokens(owner.pubkey()) == 1_000


def test_lamports_at_the_address_of_a_missing_summary_do_not_block_anything(
    governed: Ledger,
) -> None:
    programs = [SYSTEM, *made_up(1, 7)]
    governed.change_authority(authorized_programs=programs)
    owner = governed.owner(deposited=1_000)
    for each in summaries(governed, owner):
        governed.put(each.pubkey, SYSTEM, b"", 1_000_000)
    governed.must(withdraw(governed, owner, 1_000), owner)
    assert governed.tokens(owner.pubkey()) == 1_000


# Many programs


@pytest.mark.parametrize(("programs", "created"), [(60, True), (59, False)])
def test_a_release_names_60_programs_with_a_lookup_table(
    traded: Ledger, owner: Keypair, programs: int, created: bool
) -> None:
    """Addresses of summaries that were never created cost more units than a default allows."""
    assert send(traded, owner, programs, created=created) is None
    assert traded.vault(owner.pubkey())["available_balance"] == 1_000
    traded.must(rescue(owner, 1_000), owner)
    assert traded.tokens(owner.pubkey()) == 1_000


def test_with_64_programs_what_is_available_still_leaves(traded: Ledger, owner: Keypair) -> None:
    """A release would lock too many accounts: governance must not list so many programs."""
    error = send(traded, owner, PROGRAMS, created=True)
    assert error == "TransactionErrorFieldless.TooManyAccountLocks"
    traded.must(rescue(owner, 400), owner)
    assert traded.tokens(owner.pubkey()) == 400


def send(ledger: Ledger, owner: Keypair, programs: int, *, created: bool) -> str | None:
    """Release during an exit while so many programs are authorized; return the error."""
    listed = made_up(programs, 8)
    ledger.change_authority(authorized_programs=listed)
    leave(ledger, owner)
    if created:
        for program in listed:
            ledger.put_summary(owner.pubkey(), program=program)
    table = put_table(ledger, [each.pubkey for each in summaries(ledger, owner)])
    blockhash = ledger.svm.latest_blockhash()
    given = [release(ledger, owner)]
    if not created:
        given.insert(0, set_compute_unit_limit(1_400_000))
    message = MessageV0.try_compile(owner.pubkey(), given, [table], blockhash)
    transaction = VersionedTransaction(message, [owner])
    result = ledger.svm.send_transaction(transaction)
    return str(result.err()) if isinstance(result, FailedTransactionMetadata) else None


# Entries that governance cannot add


@pytest.mark.parametrize("entry", IMPOSSIBLE)
def test_an_impossible_entry_is_refused(
    governed: Ledger, governance: Keypair, entry: Pubkey
) -> None:
    before, stranger = governed.authority(), governed.wallet()
    add = govern("add_authorized_program", governance.pubkey(), value=entry)
    assert_refused(governed.send(add, governance), "InvalidProgramId")
    theirs = govern("add_authorized_program", stranger.pubkey(), value=entry)
    assert_refused(governed.send(theirs, stranger), "Unauthorized")
    assert governed.authority() == before


@pytest.mark.parametrize("entry", IMPOSSIBLE)
def test_an_impossible_entry_of_the_first_list_is_refused(ledger: Ledger, entry: Pubkey) -> None:
    governance = ledger.wallet()
    ledger.set_upgrade_authority(governance.pubkey())
    programs = [POSITION_MANAGER, entry]
    given = initialize_vault_authority(governance.pubkey(), programs)
    assert_refused(ledger.send(given, governance), "InvalidProgramId")


def test_an_impossible_entry_of_an_old_list_can_be_removed(
    governed: Ledger, governance: Keypair
) -> None:
    governed.change_authority(authorized_programs=IMPOSSIBLE)
    for entry in IMPOSSIBLE:
        gone = govern("remove_authorized_program", governance.pubkey(), value=entry)
        governed.must(gone, governance)
    assert governed.authority()["authorized_programs"] == []
