"""Depositing a vault's tokens in a yield program, withdrawing them, and compounding interest."""

import pytest
from solders.keypair import Keypair
from solders.pubkey import Pubkey

from tests.program.harness.instructions import build
from tests.program.harness.ledger import PROGRAM, START, Ledger, vault_address, withdraw
from tests.program.harness.venues import YEAR, Venue, assert_balances_match_tokens

NOBODY = Pubkey.default()


@pytest.fixture
def owner(governed: Ledger, venue: Venue) -> Keypair:
    """The owner of a vault with 1000 units, none of them in yield."""
    return venue.enter(governed.owner(deposited=1_000))


def record(
    owner: Keypair, kind: str, amount: int, at: int = START
) -> tuple[str, dict[str, object]]:
    """Return the event that records a movement in the vault's history."""
    return "TransactionEvent", {
        "vault": vault_address(owner.pubkey()),
        "owner": owner.pubkey(),
        "transaction_type": kind,
        "amount": amount,
        "timestamp": at,
    }


def pool_event(
    name: str, venue: Venue, owner: Keypair, amount: int, **fields: int
) -> tuple[str, dict[str, object]]:
    vault = vault_address(owner.pubkey())
    return name, {"pool": venue.pool, "owner": vault, "amount": amount} | fields


def test_a_deposit_moves_tokens_from_the_vault_into_the_pool(
    governed: Ledger, venue: Venue, owner: Keypair
) -> None:
    before = governed.vault(owner.pubkey())
    outcome = governed.must(venue.move("yield_deposit", owner.pubkey(), 400), owner)
    assert governed.vault(owner.pubkey()) == before | {
        "available_balance": 600,
        "yield_deposited_balance": 400,
        "active_yield_program": venue.program,
    }
    assert governed.tokens(vault_address(owner.pubkey())) == 600
    assert governed.tokens(venue.pool) == 400
    assert venue.pool_state()["total_principal"] == 400
    assert venue.position_state(owner.pubkey())["principal"] == 400
    assert outcome.events == (
        pool_event("Deposited", venue, owner, 400, new_principal=400, new_total_principal=400),
        (
            "YieldDepositEvent",
            {
                "vault": vault_address(owner.pubkey()),
                "owner": owner.pubkey(),
                "program": venue.program,
                "amount": 400,
                "new_yield_balance": 400,
                "new_available_balance": 600,
            },
        ),
        record(owner, "YieldDeposit", 400),
    )
    assert outcome.logs[:2] == (
        f"Program {PROGRAM} invoke [1]",
        "Program log: Instruction: YieldDeposit",
    )
    assert f"Program {venue.program} invoke [2]" in outcome.logs


def test_a_withdrawal_returns_tokens_from_the_pool_to_available(
    governed: Ledger, venue: Venue, owner: Keypair
) -> None:
    governed.must(venue.move("yield_deposit", owner.pubkey(), 400), owner)
    before = governed.vault(owner.pubkey())
    outcome = governed.must(venue.move("yield_withdraw", owner.pubkey(), 150), owner)
    assert governed.vault(owner.pubkey()) == before | {
        "available_balance": 750,
        "yield_deposited_balance": 250,
    }
    assert governed.tokens(vault_address(owner.pubkey())) == 750
    assert governed.tokens(venue.pool) == 250
    assert venue.position_state(owner.pubkey())["principal"] == 250
    assert outcome.events == (
        pool_event("Withdrawn", venue, owner, 150, new_principal=250, new_total_principal=250),
        (
            "YieldWithdrawEvent",
            {
                "vault": vault_address(owner.pubkey()),
                "owner": owner.pubkey(),
                "program": venue.program,
                "amount": 150,
                "new_yield_balance": 250,
                "new_available_balance": 750,
            },
        ),
        record(owner, "YieldWithdraw", 150),
    )
    assert outcome.logs[1] == "Program log: Instruction: YieldWithdraw"


def test_the_last_withdrawal_leaves_no_active_program(
    governed: Ledger, venue: Venue, owner: Keypair
) -> None:
    untouched = governed.vault(owner.pubkey())
    assert untouched["active_yield_program"] == NOBODY
    governed.must(venue.move("yield_deposit", owner.pubkey(), 1_000), owner)
    governed.must(venue.move("yield_withdraw", owner.pubkey(), 999), owner)
    assert governed.vault(owner.pubkey())["active_yield_program"] == venue.program
    governed.must(venue.move("yield_withdraw", owner.pubkey(), 1), owner)
    assert governed.vault(owner.pubkey()) == untouched


def test_compounding_turns_interest_into_principal_and_stamps_the_time(
    governed: Ledger, venue: Venue, owner: Keypair
) -> None:
    governed.must(venue.move("yield_deposit", owner.pubkey(), 400), owner)
    before = governed.vault(owner.pubkey())
    governed.set_time(START + YEAR)
    outcome = governed.must(venue.move("compound_yield", owner.pubkey(), 20), owner)
    assert governed.vault(owner.pubkey()) == before | {
        "total_balance": 1_020,
        "yield_deposited_balance": 420,
        "last_compounded_at": START + YEAR,
    }
    assert governed.tokens(vault_address(owner.pubkey())) == 600
    assert governed.tokens(venue.pool) == 420
    assert governed.tokens_at(venue.reserve) == 10**12 - 20
    assert venue.position_state(owner.pubkey())["principal"] == 420
    assert outcome.events == (
        pool_event("Claimed", venue, owner, 20, new_reserve=10**12 - 20),
        pool_event("Deposited", venue, owner, 20, new_principal=420, new_total_principal=420),
        (
            "YieldCompoundEvent",
            {
                "vault": vault_address(owner.pubkey()),
                "owner": owner.pubkey(),
                "program": venue.program,
                "compounded_amount": 20,
                "new_yield_balance": 420,
                "last_compounded_at": START + YEAR,
            },
        ),
        record(owner, "YieldCompound", 20, START + YEAR),
    )
    assert outcome.logs[1] == "Program log: Instruction: CompoundYield"


def test_part_of_the_interest_may_be_compounded_and_the_rest_later(
    governed: Ledger, venue: Venue, owner: Keypair
) -> None:
    governed.must(venue.move("yield_deposit", owner.pubkey(), 400), owner)
    governed.set_time(START + YEAR)
    for amount in (7, 13):
        governed.must(venue.move("compound_yield", owner.pubkey(), amount), owner)
    assert governed.vault(owner.pubkey())["yield_deposited_balance"] == 420
    assert_balances_match_tokens(governed, owner.pubkey())


def test_a_year_in_yield_ends_in_the_owners_wallet(
    governed: Ledger, venue: Venue, owner: Keypair
) -> None:
    """Recorded balances and tokens agree at each step, and the interest goes to the owner."""
    key, vault = owner.pubkey(), vault_address(owner.pubkey())
    steps = (
        (0, venue.move("yield_deposit", key, 1_000), (0, 1_000, 1_000)),
        (YEAR, venue.move("compound_yield", key, 50), (0, 1_050, 1_050)),
        (0, venue.move("yield_withdraw", key, 1_050), (1_050, 0, 1_050)),
        (0, withdraw(key, 1_050), (0, 0, 0)),
    )
    now = START
    for seconds, instruction, (available, working, total) in steps:
        now += seconds
        governed.set_time(now)
        governed.must(instruction, owner)
        state = governed.vault(key)
        assert state["available_balance"] == governed.tokens(vault) == available
        assert state["yield_deposited_balance"] == governed.tokens(venue.pool) == working
        assert state["total_balance"] == total
    assert governed.tokens(key) == 1_050
    state = governed.vault(key)
    assert (state["total_deposited"], state["total_withdrawn"]) == (1_000, 1_050)
    governed.must(build("close_vault", key), owner)


def test_locked_and_timelocked_collateral_is_never_deposited_for_yield(
    governed: Ledger, venue: Venue, owner: Keypair
) -> None:
    schedule = build("schedule_timelock", owner.pubkey(), amount=300, duration_seconds=60)
    governed.must(schedule, owner)
    governed.change_vault(owner.pubkey(), available_balance=500, locked_balance=200)
    before = governed.vault(owner.pubkey())
    governed.must(venue.move("yield_deposit", owner.pubkey(), 500), owner)
    governed.set_time(START + YEAR)  # yield does not release the matured timelock
    governed.must(venue.move("compound_yield", owner.pubkey(), 25), owner)
    governed.must(venue.move("yield_withdraw", owner.pubkey(), 525), owner)
    assert governed.vault(owner.pubkey()) == before | {
        "total_balance": 1_025,
        "available_balance": 525,
        "last_compounded_at": START + YEAR,
    }
    assert_balances_match_tokens(governed, owner.pubkey())


def test_the_freeze_flag_does_not_block_yield_withdrawals(
    governed: Ledger, venue: Venue, owner: Keypair
) -> None:
    governed.must(venue.move("yield_deposit", owner.pubkey(), 10), owner)
    governed.change_authority(freeze=True)
    governed.must(venue.move("yield_withdraw", owner.pubkey(), 10), owner)


def test_interest_of_other_depositors_is_unaffected(
    governed: Ledger, venue: Venue, owner: Keypair
) -> None:
    other = venue.enter(governed.owner(deposited=500))
    governed.must(venue.move("yield_deposit", owner.pubkey(), 400), owner)
    governed.must(venue.move("yield_deposit", other.pubkey(), 500), other)
    before = governed.data(vault_address(other.pubkey()))
    governed.set_time(START + YEAR)
    governed.must(venue.move("compound_yield", owner.pubkey(), 20), owner)
    governed.must(venue.move("yield_withdraw", owner.pubkey(), 420), owner)
    assert governed.data(vault_address(other.pubkey())) == before
    assert venue.position_state(other.pubkey())["principal"] == governed.tokens(venue.pool) == 500
    governed.must(venue.move("compound_yield", other.pubkey(), 25), other)
