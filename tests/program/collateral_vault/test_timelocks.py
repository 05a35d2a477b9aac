"""Timelocks: tokens that nobody can move for a time, exact to the second."""

from typing import Any

import pytest
from solders.instruction import Instruction
from solders.keypair import Keypair

from tests.program.harness.effects import changes, refused
from tests.program.harness.instructions import build
from tests.program.harness.ledger import (
    START,
    Event,
    Ledger,
    deposit,
    vault_address,
    withdraw,
    without,
)
from tests.program.harness.refusals import assert_refused

MAX = 2**63 - 1


@pytest.fixture
def owner(governed: Ledger) -> Keypair:
    return governed.owner(deposited=1_000)


def schedule(owner: Keypair, amount: int, seconds: int) -> Instruction:
    return build("schedule_timelock", owner.pubkey(), amount=amount, duration_seconds=seconds)


def release(owner: Keypair, by: Keypair) -> Instruction:
    return build("release_timelocks", owner.pubkey(), authority=by.pubkey())


def timelock(amount: int, unlock_time: int) -> dict[str, int]:
    return {"amount": amount, "unlock_time": unlock_time}


def released(owner: Keypair, total: int, left: int) -> Event:
    key = owner.pubkey()
    fields: dict[str, Any] = {"vault": vault_address(key), "owner": key}
    return "TimelocksReleasedEvent", fields | {"released_total": total, "remaining_timelocks": left}


# Scheduling


def test_a_timelock_takes_from_available_only(governed: Ledger, owner: Keypair) -> None:
    key, locks = owner.pubkey(), []
    for amount, seconds, left in ((200, 60, 800), (300, 0, 500), (500, 7, 0)):
        locks.append(timelock(amount, START + seconds))
        events = changes(
            governed,
            key,
            schedule(owner, amount, seconds),
            owner,
            available_balance=left,
            timelocks=list(locks),
        )
        fields: dict[str, Any] = {"vault": vault_address(key), "owner": key, "amount": amount}
        fields |= {"unlock_time": START + seconds, "remaining_timelocks": len(locks)}
        assert events == (("TimelockScheduledEvent", fields),)
    assert governed.tokens(vault_address(key)) == 1_000


@pytest.mark.parametrize(
    ("amount", "seconds", "error"),
    [
        (0, 60, "InvalidAmount"),
        (10, -1, "InvalidAmount"),
        (10, -MAX - 1, "InvalidAmount"),
        (1_001, 60, "InsufficientFunds"),
        (2**64 - 1, 60, "InsufficientFunds"),
        (10, MAX, "Overflow"),
        (10, MAX - START + 1, "Overflow"),
    ],
)
def test_an_invalid_timelock_is_refused(
    governed: Ledger, owner: Keypair, amount: int, seconds: int, error: str
) -> None:
    refused(governed, owner.pubkey(), schedule(owner, amount, seconds), owner, error=error)


def test_a_timelock_may_last_until_the_highest_timestamp(governed: Ledger, owner: Keypair) -> None:
    governed.must(schedule(owner, 10, MAX - START), owner)
    assert governed.vault(owner.pubkey())["timelocks"] == [timelock(10, MAX)]


def test_matured_timelocks_do_not_count_as_available_until_released(
    governed: Ledger, owner: Keypair
) -> None:
    governed.must(schedule(owner, 1_000, 0), owner)
    refused(governed, owner.pubkey(), schedule(owner, 1, 0), owner, error="InsufficientFunds")
    governed.must(release(owner, owner), owner)
    governed.must(schedule(owner, 1, 0), owner)


# Releasing


def test_anyone_releases_matured_timelocks_and_no_others(governed: Ledger, owner: Keypair) -> None:
    for amount, seconds in ((100, 10), (200, 30), (400, 20)):
        governed.must(schedule(owner, amount, seconds), owner)
    stranger = governed.wallet()
    governed.set_time(START + 20)
    events = changes(
        governed,
        owner.pubkey(),
        release(owner, stranger),
        stranger,
        available_balance=800,
        timelocks=[timelock(200, START + 30)],
    )
    assert events == (released(owner, 500, 1),)


def test_a_timelock_matures_at_its_exact_second(governed: Ledger, owner: Keypair) -> None:
    governed.must(schedule(owner, 100, 60), owner)
    for seconds in (0, 59):
        governed.set_time(START + seconds)
        assert changes(governed, owner.pubkey(), release(owner, owner), owner) == ()
    governed.set_time(START + 60)
    events = changes(
        governed,
        owner.pubkey(),
        release(owner, owner),
        owner,
        available_balance=1_000,
        timelocks=[],
    )
    assert events == (released(owner, 100, 0),)
    assert changes(governed, owner.pubkey(), release(owner, owner), owner) == ()


def test_a_release_names_a_signer_and_the_vaults_owner(governed: Ledger, owner: Keypair) -> None:
    key, stranger = owner.pubkey(), governed.wallet()
    unsigned = without(release(owner, owner), signer=0)
    refused(governed, key, unsigned, stranger, error="AccountNotSigner")
    other = build("release_timelocks", key, accounts={"owner": stranger.pubkey()})
    refused(governed, key, other, owner, error="ConstraintSeeds")
    for at in (0, 2):
        fixed = without(release(owner, owner), writable=at)
        refused(governed, key, fixed, stranger, owner, error="ConstraintMut")


# Withdrawals and deposits beside timelocks


def test_a_withdrawal_releases_matured_timelocks_first_and_reports_it(
    governed: Ledger, owner: Keypair
) -> None:
    for amount, seconds in ((200, 10), (300, 11), (400, 0)):
        governed.must(schedule(owner, amount, seconds), owner)
    governed.set_time(START + 10)
    first, *others = changes(
        governed,
        owner.pubkey(),
        withdraw(owner.pubkey(), 650),
        owner,
        total_balance=350,
        available_balance=50,
        total_withdrawn=650,
        timelocks=[timelock(300, START + 11)],
    )
    assert first == released(owner, 600, 1)
    assert [name for name, _ in others] == ["WithdrawEvent", "TransactionEvent"]
    assert others[0][1]["new_available_balance"] == 50


def test_a_withdrawal_cannot_use_a_timelock_before_its_second(
    governed: Ledger, owner: Keypair
) -> None:
    key = owner.pubkey()
    governed.must(schedule(owner, 600, 100), owner)
    for seconds in (0, 99):
        governed.set_time(START + seconds)
        refused(governed, key, withdraw(key, 401), owner, error="InsufficientFunds")
    governed.must(withdraw(key, 400), owner)
    governed.set_time(START + 100)
    governed.must(withdraw(key, 600), owner)
    assert governed.vault(key)["timelocks"] == []


def test_a_refused_withdrawal_releases_nothing(governed: Ledger, owner: Keypair) -> None:
    governed.must(schedule(owner, 600, 0), owner)
    before = governed.vault(owner.pubkey())
    outcome = governed.send(withdraw(owner.pubkey(), 1_001), owner)
    assert_refused(outcome, "InsufficientFunds")
    # It was logged before the refusal; events of a failed transaction are void.
    assert outcome.events == (released(owner, 600, 0),)
    assert governed.vault(owner.pubkey()) == before


def test_without_a_matured_timelock_nothing_is_reported(governed: Ledger, owner: Keypair) -> None:
    governed.must(schedule(owner, 600, 1), owner)
    outcome = governed.must(withdraw(owner.pubkey(), 1), owner)
    assert [name for name, _ in outcome.events] == ["WithdrawEvent", "TransactionEvent"]


def test_a_deposit_leaves_timelocks_alone(governed: Ledger, owner: Keypair) -> None:
    governed.must(schedule(owner, 600, 0), owner)
    governed.put_tokens(owner.pubkey(), 5)
    changes(
        governed,
        owner.pubkey(),
        deposit(owner.pubkey(), 5),
        owner,
        total_balance=1_005,
        available_balance=405,
        total_deposited=1_005,
    )
