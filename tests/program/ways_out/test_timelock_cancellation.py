"""Timelocks that end early: a delegate's at once, the owner's own after the delay in force."""

import random
from typing import Any

import pytest
from solders.instruction import Instruction
from solders.keypair import Keypair

from tests.program.harness.effects import changes, refused
from tests.program.harness.instructions import build
from tests.program.harness.ledger import START, Event, Ledger, signer, vault_address, withdraw

I64 = 2**63 - 1
YEAR = 365 * 24 * 60 * 60


@pytest.fixture
def owner(governed: Ledger) -> Keypair:
    return governed.owner(deposited=1_000)


@pytest.fixture
def delegate(governed: Ledger, owner: Keypair) -> Keypair:
    delegate = governed.wallet()
    governed.must(build("add_delegate", owner.pubkey(), delegate=delegate.pubkey()), owner)
    return delegate


def schedule(
    owner: Keypair, amount: int, seconds: int, *, by: Keypair, also: tuple[Keypair, ...] = ()
) -> Instruction:
    return build(
        "schedule_timelock",
        owner.pubkey(),
        authority=by.pubkey(),
        remaining=[signer(each.pubkey()) for each in also],
        amount=amount,
        duration_seconds=seconds,
    )


def cancel(
    owner: Keypair, amount: int, unlock_time: int, also: tuple[Keypair, ...] = ()
) -> Instruction:
    remaining = [signer(each.pubkey()) for each in also]
    return build(
        "cancel_timelock",
        owner.pubkey(),
        remaining=remaining,
        amount=amount,
        unlock_time=unlock_time,
    )


def timelock(amount: int, unlock_time: int) -> dict[str, int]:
    return {"amount": amount, "unlock_time": unlock_time}


def cancelled(owner: Keypair, before: dict[str, int], new_time: int, **left: int) -> Event:
    fields: dict[str, Any] = {"vault": vault_address(owner.pubkey()), "owner": owner.pubkey()}
    fields |= {**before, "new_unlock_time": new_time}
    fields |= {"new_available_balance": left["available"], "remaining_timelocks": left["locks"]}
    return "TimelockCancelledEvent", fields


def set_delay(ledger: Ledger, owner: Keypair, seconds: int) -> None:
    ledger.change_vault(owner.pubkey(), min_withdraw_delay_seconds=seconds)


def join(ledger: Ledger, owner: Keypair, *signers: Keypair, threshold: int) -> None:
    keys = [each.pubkey() for each in signers]
    given = build("set_vault_multisig", owner.pubkey(), signers=keys, threshold=threshold)
    ledger.must(given, owner)


# How long a delegate may lock


def test_a_delegate_cannot_lock_everything_for_ever(
    governed: Ledger, owner: Keypair, delegate: Keypair
) -> None:
    for seconds in (I64 - START, I64, YEAR + 1):
        theirs = schedule(owner, 1_000, seconds, by=delegate)
        refused(governed, owner.pubkey(), theirs, delegate, error="DurationTooLong")
    governed.must(withdraw(owner.pubkey(), 1_000), owner)
    assert governed.tokens(owner.pubkey()) == 1_000


def test_a_year_is_the_longest_that_a_delegate_locks(
    governed: Ledger, owner: Keypair, delegate: Keypair
) -> None:
    key = owner.pubkey()
    locks = [timelock(100, START + 5), timelock(200, START + YEAR), timelock(300, START)]
    governed.must(schedule(owner, 100, 5, by=owner), owner)
    governed.must(schedule(owner, 200, YEAR, by=delegate), delegate)
    changes(
        governed,
        key,
        schedule(owner, 300, 0, by=delegate),
        delegate,
        available_balance=400,
        timelocks=locks,
        delegate_timelocks=0b110,
    )


def test_what_enough_signers_schedule_is_the_owners_own_and_has_no_maximum(
    governed: Ledger, owner: Keypair, delegate: Keypair
) -> None:
    other = governed.wallet()
    join(governed, owner, delegate, other, threshold=2)
    long = schedule(owner, 100, YEAR + 1, by=delegate, also=(other,))
    governed.must(long, delegate, other)
    state = governed.vault(owner.pubkey())
    assert state["timelocks"] == [timelock(100, START + YEAR + 1)]
    assert state["delegate_timelocks"] == 0


def test_an_owner_who_signs_for_the_multisig_schedules_the_owners_own(
    governed: Ledger, owner: Keypair
) -> None:
    join(governed, owner, owner, threshold=1)
    governed.must(schedule(owner, 100, I64 - START, by=owner), owner)
    assert governed.vault(owner.pubkey())["delegate_timelocks"] == 0


# Cancelling


def test_the_owner_cancels_a_delegates_timelock_at_once_whatever_the_delay(
    governed: Ledger, owner: Keypair, delegate: Keypair
) -> None:
    set_delay(governed, owner, 60)
    governed.must(schedule(owner, 900, YEAR, by=delegate), delegate)
    events = changes(
        governed,
        owner.pubkey(),
        cancel(owner, 900, START + YEAR),
        owner,
        available_balance=1_000,
        timelocks=[],
        delegate_timelocks=0,
    )
    locked = timelock(900, START + YEAR)
    assert events == (cancelled(owner, locked, START, available=1_000, locks=0),)


def test_the_owner_cancels_the_own_timelock_at_once_without_a_delay(
    governed: Ledger, owner: Keypair
) -> None:
    governed.must(schedule(owner, 900, I64 - START, by=owner), owner)
    events = changes(
        governed,
        owner.pubkey(),
        cancel(owner, 900, I64),
        owner,
        available_balance=1_000,
        timelocks=[],
    )
    locked = timelock(900, I64)
    assert events == (cancelled(owner, locked, START, available=1_000, locks=0),)


def test_with_a_delay_the_own_timelock_ends_after_it(governed: Ledger, owner: Keypair) -> None:
    key = owner.pubkey()
    governed.must(schedule(owner, 900, YEAR, by=owner), owner)
    set_delay(governed, owner, 60)
    governed.set_time(START + 10)
    events = changes(
        governed,
        key,
        cancel(owner, 900, START + YEAR),
        owner,
        timelocks=[timelock(900, START + 70)],
    )
    locked = timelock(900, START + YEAR)
    assert events == (cancelled(owner, locked, START + 70, available=100, locks=1),)
    governed.set_time(START + 69)
    again = cancel(owner, 900, START + 70)
    refused(governed, key, again, owner, error="GuardInForce")
    governed.set_time(START + 70)
    governed.must(build("release_timelocks", key), owner)
    assert governed.vault(key)["available_balance"] == 1_000


@pytest.mark.parametrize("delay", [0, 60])
def test_a_matured_timelock_is_released_by_its_cancellation(
    governed: Ledger, owner: Keypair, delay: int
) -> None:
    governed.must(schedule(owner, 900, 5, by=owner), owner)
    set_delay(governed, owner, delay)
    governed.set_time(START + 6)
    events = changes(
        governed,
        owner.pubkey(),
        cancel(owner, 900, START + 5),
        owner,
        available_balance=1_000,
        timelocks=[],
    )
    locked = timelock(900, START + 5)
    assert events == (cancelled(owner, locked, START + 5, available=1_000, locks=0),)


def test_of_equal_timelocks_the_owners_goes_first(
    governed: Ledger, owner: Keypair, delegate: Keypair
) -> None:
    key = owner.pubkey()
    for one in (delegate, owner, delegate):
        governed.must(schedule(owner, 100, 50, by=one), one)
    governed.must(schedule(owner, 7, 50, by=owner), owner)
    assert governed.vault(key)["delegate_timelocks"] == 0b0101
    for marks, left in ((0b011, 3), (0b01, 2), (0b0, 1)):
        governed.must(cancel(owner, 100, START + 50), owner)
        state = governed.vault(key)
        assert (state["delegate_timelocks"], len(state["timelocks"])) == (marks, left)
    assert state["timelocks"] == [timelock(7, START + 50)]


def test_an_own_timelock_that_the_delay_holds_does_not_hide_a_delegates(
    governed: Ledger, owner: Keypair, delegate: Keypair
) -> None:
    """Otherwise the delegate's equal timelock could not be reached before both mature."""
    key = owner.pubkey()
    set_delay(governed, owner, 60)
    for one in (owner, delegate):
        governed.must(schedule(owner, 100, 60, by=one), one)
    changes(
        governed,
        key,
        cancel(owner, 100, START + 60),
        owner,
        available_balance=900,
        timelocks=[timelock(100, START + 60)],
        delegate_timelocks=0,
    )
    again = cancel(owner, 100, START + 60)
    refused(governed, key, again, owner, error="GuardInForce")


def test_a_delay_at_the_end_of_time_does_not_overflow(governed: Ledger, owner: Keypair) -> None:
    governed.must(schedule(owner, 100, I64 - START, by=owner), owner)
    set_delay(governed, owner, I64)
    held = cancel(owner, 100, I64)
    refused(governed, owner.pubkey(), held, owner, error="GuardInForce")
    set_delay(governed, owner, I64 - START - 1)
    changes(governed, owner.pubkey(), held, owner, timelocks=[timelock(100, I64 - 1)])


def test_timelocks_of_an_old_account_are_the_owners_own(
    governed: Ledger, owner: Keypair, delegate: Keypair
) -> None:
    """Before the marks existed a delegate could lock for ever; no mark tells who did."""
    key = owner.pubkey()
    governed.change_vault(key, timelocks=[timelock(1_000, I64)], available_balance=0)
    set_delay(governed, owner, 60)
    held = cancel(owner, 1_000, I64)
    changes(governed, key, held, owner, timelocks=[timelock(1_000, START + 60)])
    set_delay(governed, owner, 0)
    governed.must(cancel(owner, 1_000, START + 60), owner)
    governed.must(withdraw(key, 1_000), owner)


def test_only_an_existing_timelock_is_cancelled(
    governed: Ledger, owner: Keypair, delegate: Keypair
) -> None:
    governed.must(schedule(owner, 100, 50, by=delegate), delegate)
    for amount, seconds in ((99, 50), (101, 50), (100, 49), (100, 51)):
        wrong = cancel(owner, amount, START + seconds)
        refused(governed, owner.pubkey(), wrong, owner, error="NotFound")


def test_nobody_else_cancels_a_timelock(
    governed: Ledger, owner: Keypair, delegate: Keypair
) -> None:
    governed.must(schedule(owner, 100, 50, by=delegate), delegate)
    for other in (delegate, governed.wallet()):
        theirs = build(
            "cancel_timelock",
            owner.pubkey(),
            accounts={"owner": other.pubkey()},
            amount=100,
            unlock_time=START + 50,
        )
        refused(governed, owner.pubkey(), theirs, other, error="ConstraintSeeds")


def test_under_multisig_the_threshold_cancels_with_the_owner(
    governed: Ledger, owner: Keypair, delegate: Keypair
) -> None:
    """What a delegate scheduled before the multisig is still a delegate's."""
    one, other = governed.wallet(), governed.wallet()
    governed.must(schedule(owner, 100, 50, by=delegate), delegate)
    governed.must(schedule(owner, 200, 50, by=owner), owner)
    join(governed, owner, owner, one, other, threshold=2)
    for amount in (100, 200):
        alone = cancel(owner, amount, START + 50)
        refused(governed, owner.pubkey(), alone, owner, error="Unauthorized")
        governed.must(cancel(owner, amount, START + 50, (other,)), owner, other)
    assert governed.vault(owner.pubkey())["available_balance"] == 1_000


# The marks stay with their timelocks


def test_marks_follow_their_timelocks_in_a_full_list(
    governed: Ledger, owner: Keypair, delegate: Keypair
) -> None:
    """Timelocks with distinct amounts, and their marks by amount, while entries come and go."""
    key, chance, now = owner.pubkey(), random.Random(5), START
    governed.put_tokens(key, 10_000)
    governed.must(build("deposit", key, amount=10_000), owner)
    of_delegate: dict[int, bool] = {}
    amounts = iter(range(1, 200))

    def check() -> list[dict[str, int]]:
        state = governed.vault(key)
        entries: list[dict[str, int]] = state["timelocks"]
        marks = sum(of_delegate[entry["amount"]] << at for at, entry in enumerate(entries))
        assert state["delegate_timelocks"] == marks
        return entries

    def fill() -> None:
        for _ in range(64 - len(governed.vault(key)["timelocks"])):
            one, amount = chance.choice([owner, delegate]), next(amounts)
            of_delegate[amount] = one is delegate
            governed.must(schedule(owner, amount, chance.randint(1, 99), by=one), one)

    fill()
    assert len(check()) == 64
    full = schedule(owner, 1, 9, by=delegate)
    refused(governed, key, full, delegate, error="Overflow")
    for at in (63, 0, 31, 32, 58, 0):
        entry = check()[at]
        governed.must(cancel(owner, entry["amount"], entry["unlock_time"]), owner)
    fill()
    for seconds in (20, 30, 30):
        check()
        now += seconds
        governed.set_time(now)
        governed.must(build("release_timelocks", key), owner)
    fill()
    assert len(check()) == 64
    governed.set_time(now + 100)
    governed.must(withdraw(key, 11_000), owner)
    assert check() == []
