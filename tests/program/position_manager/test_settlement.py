"""Summaries of collateral that governance took: they are settled, and the owner is free again."""

from collections.abc import Callable
from typing import Any

import pytest
from solders.instruction import AccountMeta, Instruction
from solders.keypair import Keypair
from solders.pubkey import Pubkey

from tests.program.harness import ledger as chain
from tests.program.harness import positions
from tests.program.harness.instructions import build
from tests.program.harness.ledger import (
    POSITION_IDL,
    Ledger,
    readonly,
    summary_address,
    vault_address,
    withdraw,
)
from tests.program.harness.positions import (
    close_position,
    extended,
    open_position,
    rebalance_collateral,
    settle_position_summary,
    summary_of,
)
from tests.program.harness.refusals import assert_refused
from tests.program.position_manager.test_position_manager import NO_VAULTS
from tests.program.position_manager.test_position_refusals import (
    a_copy_elsewhere,
    cut_short,
    for_another_owner,
    for_another_vault,
    never_created,
    of_another_kind,
    written_by_another_program,
)


@pytest.fixture
def traded(governed: Ledger) -> Ledger:
    """A chain whose only authorized program is the position manager."""
    return positions.with_position_manager(governed)


@pytest.fixture
def owner(traded: Ledger) -> Keypair:
    """The owner of a vault of 100, 60 of it locked for two positions."""
    owner = positions.trader(traded, deposited=100)
    for amount in (20, 40):
        traded.must(open_position(owner.pubkey(), amount), owner)
    return owner


def own_summary(owner: Keypair) -> Pubkey:
    return summary_address(vault_address(owner.pubkey()))


def seize(ledger: Ledger, owner: Keypair, governance: Keypair, amount: int) -> None:
    """Have governance pay out to the owner, locked collateral last."""
    key = governance.pubkey()
    given = build("emergency_withdraw", owner.pubkey(), authority=key, amount=amount)
    ledger.must(given, governance)


def claims(ledger: Ledger, owner: Keypair) -> tuple[int, int]:
    state = summary_of(ledger, owner.pubkey())
    return state["open_positions"], state["locked_amount"]


def test_an_owner_whose_collateral_was_seized_trades_and_withdraws_again(
    traded: Ledger, owner: Keypair, governance: Keypair
) -> None:
    seize(traded, owner, governance, 100)
    key, stranger = owner.pubkey(), traded.wallet()
    traded.must(chain.deposit(key, 50), owner)
    leave = withdraw(key, 50, remaining=[readonly(own_summary(owner))])
    assert_refused(traded.send(leave, owner), "OpenPositionsExist")
    assert_refused(traded.send(close_position(key, 60), owner), "InsufficientFunds")

    traded.must(settle_position_summary(key), stranger)
    assert claims(traded, owner) == (0, 0)
    traded.must(open_position(key, 10), owner)
    traded.must(close_position(key, 10), owner)
    traded.must(leave, owner)
    assert (traded.tokens(key), traded.tokens(vault_address(key))) == (100, 0)
    traded.must(build("close_vault", key), owner)


def test_an_owner_whose_collateral_was_moved_withdraws_the_rest(
    traded: Ledger, owner: Keypair, governance: Keypair
) -> None:
    keys = owner.pubkey(), positions.trader(traded).pubkey()
    traded.must(rebalance_collateral(governance.pubkey(), *keys, 60), governance)
    leave = withdraw(keys[0], 40, remaining=[readonly(own_summary(owner))])
    assert_refused(traded.send(leave, owner), "OpenPositionsExist")
    assert_refused(traded.send(close_position(keys[0], 60), owner), "InsufficientFunds")
    traded.must(settle_position_summary(keys[0]), traded.wallet())
    assert claims(traded, owner) == (0, 0)
    traded.must(leave, owner)


def test_what_is_still_locked_stays_claimed(
    traded: Ledger, owner: Keypair, governance: Keypair
) -> None:
    seize(traded, owner, governance, 75)
    clock = traded.svm.get_clock()
    clock.slot = 9_000
    traded.svm.set_clock(clock)
    outcome = traded.must(settle_position_summary(owner.pubkey()), traded.wallet())
    assert outcome.events == ()
    assert claims(traded, owner) == (2, 25)
    assert summary_of(traded, owner.pubkey())["last_updated_slot"] == 9_000
    assert_refused(traded.send(close_position(owner.pubkey(), 26), owner), "InsufficientFunds")
    traded.must(close_position(owner.pubkey(), 25), owner)
    assert claims(traded, owner) == (0, 0)


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"open_positions": 0, "locked_amount": 0},
        {"locked_amount": 59},
    ],
    ids=["all is locked", "nothing is open", "another program has locked too"],
)
def test_a_summary_that_the_vault_covers_is_left_alone(
    traded: Ledger, owner: Keypair, fields: dict[str, Any]
) -> None:
    traded.put_summary(owner.pubkey(), **{"open_positions": 2, "locked_amount": 60} | fields)
    before = traded.data(own_summary(owner))
    outcome = traded.send(settle_position_summary(owner.pubkey()), traded.wallet())
    assert_refused(outcome, "NotFound", idl=POSITION_IDL)
    assert traded.data(own_summary(owner)) == before


def test_nothing_is_settled_twice(traded: Ledger, owner: Keypair, governance: Keypair) -> None:
    seize(traded, owner, governance, 100)
    traded.must(settle_position_summary(owner.pubkey()), governance)
    again = traded.send(settle_position_summary(owner.pubkey()), governance)
    assert_refused(again, "NotFound", idl=POSITION_IDL)


def test_the_summary_must_be_writable(traded: Ledger, owner: Keypair, governance: Keypair) -> None:
    seize(traded, owner, governance, 100)
    given = chain.without(settle_position_summary(owner.pubkey()), writable=1)
    assert_refused(traded.send(given, governance), "ConstraintMut")


def of_another_trader(ledger: Ledger, _: Keypair) -> Pubkey:
    return own_summary(positions.trader(ledger))


Forge = Callable[[Ledger, Keypair], Pubkey]
NO_SUMMARIES: list[tuple[Forge, str]] = [
    (never_created, "AccountNotInitialized"),
    (written_by_another_program, "AccountOwnedByWrongProgram"),
    (of_another_kind, "AccountDiscriminatorMismatch"),
    (cut_short, "AccountDidNotDeserialize"),
    (a_copy_elsewhere, "ConstraintSeeds"),
    (for_another_vault, "ConstraintSeeds"),
    (for_another_owner, "ConstraintSeeds"),
    (of_another_trader, "ConstraintSeeds"),
]


@pytest.mark.parametrize(("forge", "refusal"), NO_SUMMARIES)
def test_only_the_vaults_own_summary_is_settled(
    traded: Ledger, owner: Keypair, governance: Keypair, forge: Forge, refusal: str
) -> None:
    seize(traded, owner, governance, 100)
    given = settle_position_summary(owner.pubkey(), position_summary=forge(traded, owner))
    assert_refused(traded.send(given, governance), refusal)


@pytest.mark.parametrize(("forge", "refusal"), NO_VAULTS)
def test_no_account_replaces_the_vault(
    traded: Ledger, owner: Keypair, forge: Forge, refusal: str
) -> None:
    """Else an owner could settle with a vault on which nothing is locked, and withdraw."""
    fake = forge(traded, owner)
    given = settle_position_summary(owner.pubkey(), vault=fake)
    assert_refused(traded.send(given, traded.wallet()), refusal)
    assert claims(traded, owner) == (2, 60)


def test_the_vault_of_another_owner_settles_nothing(traded: Ledger, owner: Keypair) -> None:
    empty = vault_address(traded.owner().pubkey())
    given = settle_position_summary(owner.pubkey(), vault=empty)
    assert_refused(traded.send(given, traded.wallet()), "ConstraintSeeds")
    assert claims(traded, owner) == (2, 60)


# Rebalancing settles too


def rebalance(
    owner: Keypair, taker: Keypair, governance: Keypair, summary: AccountMeta
) -> Instruction:
    keys = owner.pubkey(), taker.pubkey()
    return extended(rebalance_collateral(governance.pubkey(), *keys, 30), summary)


def writable(address: Pubkey) -> AccountMeta:
    return AccountMeta(address, is_signer=False, is_writable=True)


def test_a_rebalance_settles_the_summary_of_the_vault_that_gave(
    traded: Ledger, owner: Keypair, governance: Keypair
) -> None:
    taker = positions.trader(traded)
    given = rebalance(owner, taker, governance, writable(own_summary(owner)))
    traded.must(given, governance)
    assert claims(traded, owner) == (2, 30)
    traded.must(given, governance)
    assert claims(traded, owner) == (0, 0)
    leave = withdraw(owner.pubkey(), 40, remaining=[readonly(own_summary(owner))])
    traded.must(leave, owner)


def test_a_rebalance_that_leaves_all_locked_changes_no_summary(
    traded: Ledger, owner: Keypair, governance: Keypair
) -> None:
    traded.put_summary(owner.pubkey(), open_positions=1, locked_amount=1)
    given = rebalance(owner, positions.trader(traded), governance, writable(own_summary(owner)))
    before = traded.data(own_summary(owner))
    traded.must(given, governance)
    assert traded.data(own_summary(owner)) == before


def test_a_rebalance_refuses_any_other_summary(
    traded: Ledger, owner: Keypair, governance: Keypair
) -> None:
    taker = positions.trader(traded)
    for summary, refusal in (
        (readonly(own_summary(owner)), "ConstraintMut"),
        (writable(own_summary(taker)), "ConstraintSeeds"),
        (writable(own_summary(positions.trader(traded))), "ConstraintSeeds"),
    ):
        given = rebalance(owner, taker, governance, summary)
        before = traded.data(vault_address(owner.pubkey()))
        assert_refused(traded.send(given, governance), refusal)
        assert traded.data(vault_address(owner.pubkey())) == before
