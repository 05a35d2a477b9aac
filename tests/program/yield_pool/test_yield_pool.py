"""The yield pool program: pools, rates, reserves, positions, events, logs and its own errors."""

from typing import Any

import pytest
from solders.instruction import Instruction
from solders.keypair import Keypair

from tests.program.harness import ledger as chain
from tests.program.harness import pools as pools_of
from tests.program.harness.ledger import (
    MINT,
    SOL,
    START,
    SYSTEM,
    TOKEN,
    YIELD_IDL,
    Ledger,
    token_address,
)
from tests.program.harness.pools import (
    PER_TOKEN_UNIT,
    YIELD_POOL,
    Pools,
    claim,
    deposit,
    fund_reserve,
    initialize_pool,
    open_position,
    pool_address,
    position_address,
    refused,
    reserve_address,
    set_rate,
    withdraw,
)

MOST = 2**64 - 1
ARGUMENTS: dict[str, dict[str, Any]] = {
    "initialize_pool": {"rate_bps": 1},
    "set_rate": {"rate_bps": 1},
    "fund_reserve": {"amount": 1},
    "open_position": {},
    "deposit": {"amount": 1},
    "withdraw": {"amount": 1},
    "claim": {"amount": 1},
}
OF_AN_OWNER = [deposit, withdraw, claim]


@pytest.fixture
def pools(ledger: Ledger) -> Pools:
    """A pool that pays five percent, with an empty reserve."""
    return pools_of.with_yield_pool(ledger, rate_bps=500)


# The interface


def bare(pools: Pools, data: bytes) -> chain.Outcome:
    payer = pools.ledger.wallet()
    return pools.ledger.send(Instruction(YIELD_POOL, data, []), payer)


def test_every_instruction_of_the_interface_exists() -> None:
    assert ARGUMENTS.keys() == YIELD_IDL.instructions.keys()


@pytest.mark.parametrize("name", ARGUMENTS)
def test_an_instruction_logs_its_name_first(pools: Pools, name: str) -> None:
    outcome = bare(pools, YIELD_IDL.instruction_data(name, ARGUMENTS[name]))
    title = "".join(word.capitalize() for word in name.split("_"))
    assert outcome.logs[1] == f"Program log: Instruction: {title}"
    refused(outcome, "AccountNotEnoughKeys")


@pytest.mark.parametrize("name", ARGUMENTS)
def test_arguments_that_end_early_or_late_are_refused(pools: Pools, name: str) -> None:
    data = YIELD_IDL.instruction_data(name, ARGUMENTS[name])
    for length in range(8, len(data)):
        refused(bare(pools, data[:length]), "InstructionDidNotDeserialize")
    refused(bare(pools, data + b"\0"), "InstructionDidNotDeserialize")


@pytest.mark.parametrize("data", [b"", bytes(7), bytes(8), b"\xff" * 16])
def test_unknown_instructions_are_refused(pools: Pools, data: bytes) -> None:
    refused(bare(pools, data), "InstructionFallbackNotFound")


def test_all_owner_instructions_take_the_same_accounts() -> None:
    lists = [YIELD_IDL.instructions[each.__name__]["accounts"] for each in OF_AN_OWNER]
    assert lists[0] == lists[1] == lists[2]
    names = [account["name"] for account in lists[0]]
    assert names == [
        "pool",
        "position",
        "pool_tokens",
        "reserve_tokens",
        "owner_tokens",
        "owner",
        "token_program",
    ]
    assert lists[0][5] == {"name": "owner", "signer": True}


# Pools


def test_a_new_pool_is_empty_and_belongs_to_its_admin(pools: Pools) -> None:
    admin = pools.ledger.wallet()
    outcome = pools.ledger.must(initialize_pool(admin.pubkey(), 10_000), admin)
    pool = pool_address(admin.pubkey())
    expected = {"pool": pool, "admin": admin.pubkey(), "mint": MINT, "rate_bps": 10_000}
    assert outcome.events == (("PoolInitialized", expected),)
    state = pools.state(pool)
    assert pool_address(admin.pubkey()) == pool
    assert 0 <= state.pop("bump") <= 255
    assert state == {
        "admin": admin.pubkey(),
        "mint": MINT,
        "pool_tokens": token_address(pool),
        "reserve_tokens": reserve_address(pool),
        "rate_bps": 10_000,
        "total_principal": 0,
        "index": 0,
        "last_accrued_at": START,
    }


def test_both_token_accounts_of_a_pool_are_its_own_and_nobody_else_may_spend_them(
    pools: Pools,
) -> None:
    expected = chain.token_data(pools.pool, 0)
    assert pools.ledger.data(token_address(pools.pool)) == expected
    assert pools.ledger.data(reserve_address(pools.pool)) == expected
    for address in (pools.pool, token_address(pools.pool), reserve_address(pools.pool)):
        account = pools.ledger.svm.get_account(address)
        assert account is not None
        rent = pools.ledger.svm.minimum_balance_for_rent_exemption(len(account.data))
        assert account.lamports == rent


@pytest.mark.parametrize("dust", [1, SOL])
def test_existing_lamports_and_token_accounts_do_not_block_a_pool(pools: Pools, dust: int) -> None:
    admin = pools.ledger.wallet()
    pool = pool_address(admin.pubkey())
    pools.ledger.put(pool, SYSTEM, b"", dust)
    pools.ledger.put(reserve_address(pool), SYSTEM, b"", dust)
    pools.ledger.put_tokens(pool, 7)
    pools.ledger.must(initialize_pool(admin.pubkey(), 1), admin)
    assert pools.state(pool)["total_principal"] == 0
    assert pools.ledger.tokens(pool) == 7


def test_there_is_one_pool_for_each_admin_and_mint(pools: Pools) -> None:
    other_mint = Keypair().pubkey()
    pools.ledger.put(other_mint, TOKEN, chain.mint_data())
    admin = pools.admin
    pools.ledger.must(initialize_pool(admin.pubkey(), 9, mint=other_mint), admin)
    assert pools.state(pool_address(admin.pubkey(), other_mint))["rate_bps"] == 9
    assert pools.state()["rate_bps"] == 500


def test_a_pool_cannot_be_created_twice(pools: Pools) -> None:
    pools.saver(deposited=5)
    before = pools.state()
    again = initialize_pool(pools.admin.pubkey(), 0)
    refused(pools.ledger.send(again, pools.admin), "AlreadyInitialized")
    assert pools.state() == before


@pytest.mark.parametrize("rate", [10_001, 2**32 - 1])
def test_a_rate_above_the_maximum_is_refused(pools: Pools, rate: int) -> None:
    admin = pools.ledger.wallet()
    refused(pools.ledger.send(initialize_pool(admin.pubkey(), rate), admin), "RateTooHigh")
    assert pools.ledger.data(pool_address(admin.pubkey())) == b""
    given = set_rate(pools.admin.pubkey(), pools.pool, rate)
    refused(pools.ledger.send(given, pools.admin), "RateTooHigh")
    assert pools.state()["rate_bps"] == 500


@pytest.mark.parametrize("rate", [0, 1, 10_000])
def test_the_admin_sets_the_rate(pools: Pools, rate: int) -> None:
    pools.ledger.set_time(START + 60)
    given = set_rate(pools.admin.pubkey(), pools.pool, rate)
    outcome = pools.ledger.must(given, pools.admin)
    expected = {"pool": pools.pool, "old_rate_bps": 500, "new_rate_bps": rate}
    assert outcome.events == (("RateSet", expected),)
    state = pools.state()
    accrued = (state["rate_bps"], state["index"], state["last_accrued_at"])
    assert accrued == (rate, 500 * 60, START + 60)


def test_nobody_else_sets_the_rate(pools: Pools) -> None:
    other = pools.ledger.wallet()
    pools.ledger.must(initialize_pool(other.pubkey(), 1), other)
    for thief in (other, pools.saver(deposited=5)):
        given = set_rate(thief.pubkey(), pools.pool, 1)
        refused(pools.ledger.send(given, thief), "Unauthorized")
    assert pools.state()["rate_bps"] == 500


# The reserve


def test_anyone_may_fill_the_reserve(pools: Pools) -> None:
    funder = pools.ledger.wallet(usdt=100)
    outcome = pools.ledger.must(fund_reserve(funder.pubkey(), pools.pool, 60), funder)
    expected = {"pool": pools.pool, "funder": funder.pubkey(), "amount": 60}
    assert outcome.events == (("ReserveFunded", expected),)
    assert (pools.reserve(), pools.deposits()) == (60, 0)
    assert pools.ledger.tokens(funder.pubkey()) == 40


def test_funding_the_reserve_with_zero_is_refused(pools: Pools) -> None:
    funder = pools.ledger.wallet(usdt=100)
    given = fund_reserve(funder.pubkey(), pools.pool, 0)
    refused(pools.ledger.send(given, funder), "InvalidAmount")


# Positions


def test_any_payer_opens_a_position_for_any_owner(pools: Pools) -> None:
    owner, payer = chain.vault_address(Keypair().pubkey()), pools.ledger.wallet()
    outcome = pools.ledger.must(open_position(owner, pools.pool, payer=payer.pubkey()), payer)
    position = position_address(pools.pool, owner)
    expected = {"pool": pools.pool, "position": position, "owner": owner}
    assert outcome.events == (("PositionOpened", expected),)
    state = pools.position(owner)
    assert 0 <= state.pop("bump") <= 255
    assert state == {
        "pool": pools.pool,
        "owner": owner,
        "principal": 0,
        "index": 0,
        "accrued": 0,
    }


@pytest.mark.parametrize("dust", [1, SOL])
def test_lamports_sent_before_do_not_block_a_position(pools: Pools, dust: int) -> None:
    owner = pools.ledger.wallet(usdt=5)
    pools.ledger.put(position_address(pools.pool, owner.pubkey()), SYSTEM, b"", dust)
    given = open_position(owner.pubkey(), pools.pool, payer=owner.pubkey())
    pools.ledger.must(given, owner)
    pools.ledger.must(deposit(owner.pubkey(), pools.pool, 5), owner)


def test_a_position_cannot_be_created_twice(pools: Pools) -> None:
    owner, stranger = pools.saver(deposited=5), pools.ledger.wallet()
    given = open_position(owner.pubkey(), pools.pool, payer=stranger.pubkey())
    refused(pools.ledger.send(given, stranger), "AlreadyInitialized")
    assert pools.position(owner.pubkey())["principal"] == 5


def test_without_a_position_nothing_is_deposited(pools: Pools) -> None:
    owner = pools.ledger.wallet(usdt=5)
    given = deposit(owner.pubkey(), pools.pool, 5)
    refused(pools.ledger.send(given, owner), "AccountNotInitialized")


def test_a_deposit_moves_exactly_its_amount_and_becomes_principal(pools: Pools) -> None:
    other, owner = pools.saver(deposited=1_000), pools.saver(usdt=100)
    outcome = pools.ledger.must(deposit(owner.pubkey(), pools.pool, 60), owner)
    assert outcome.events == (
        (
            "Deposited",
            {
                "pool": pools.pool,
                "owner": owner.pubkey(),
                "amount": 60,
                "new_principal": 60,
                "new_total_principal": 1_060,
            },
        ),
    )
    assert pools.position(owner.pubkey())["principal"] == 60
    assert pools.position(other.pubkey())["principal"] == 1_000
    assert pools.state()["total_principal"] == pools.deposits() == 1_060
    assert pools.ledger.tokens(owner.pubkey()) == 40


def test_a_withdrawal_gives_back_exactly_its_amount(pools: Pools) -> None:
    pools.saver(deposited=1_000)
    owner = pools.saver(deposited=100)
    outcome = pools.ledger.must(withdraw(owner.pubkey(), pools.pool, 60), owner)
    assert outcome.events == (
        (
            "Withdrawn",
            {
                "pool": pools.pool,
                "owner": owner.pubkey(),
                "amount": 60,
                "new_principal": 40,
                "new_total_principal": 1_040,
            },
        ),
    )
    assert pools.position(owner.pubkey())["principal"] == 40
    assert pools.state()["total_principal"] == pools.deposits() == 1_040
    assert pools.ledger.tokens(owner.pubkey()) == 60
    pools.ledger.must(withdraw(owner.pubkey(), pools.pool, 40), owner)
    assert pools.ledger.tokens(owner.pubkey()) == 100


@pytest.mark.parametrize("amount", [101, MOST])
def test_no_more_is_withdrawn_than_the_principal(pools: Pools, amount: int) -> None:
    pools.saver(deposited=1_000)
    owner = pools.saver(deposited=100)
    pools.fund(1_000)
    given = withdraw(owner.pubkey(), pools.pool, amount)
    refused(pools.ledger.send(given, owner), "InsufficientPrincipal")
    assert pools.deposits() == 1_100


@pytest.mark.parametrize("act", OF_AN_OWNER)
def test_an_amount_of_zero_is_refused(pools: Pools, act: Any) -> None:
    owner = pools.saver(usdt=5, deposited=5)
    refused(pools.ledger.send(act(owner.pubkey(), pools.pool, 0), owner), "InvalidAmount")


def test_spl_token_refuses_a_deposit_beyond_the_wallet(pools: Pools) -> None:
    owner = pools.saver(usdt=5)
    outcome = pools.ledger.send(deposit(owner.pubkey(), pools.pool, 6), owner)
    assert outcome.error == 1  # TokenError::InsufficientFunds
    assert pools.position(owner.pubkey())["principal"] == 0


def test_a_claim_pays_exactly_its_amount_from_the_reserve(pools: Pools) -> None:
    owner = pools.saver(deposited=1_000)
    pools.fund(70)
    pools.change_position(owner.pubkey(), accrued=50 * PER_TOKEN_UNIT + 3)
    outcome = pools.ledger.must(claim(owner.pubkey(), pools.pool, 20), owner)
    expected = {"pool": pools.pool, "owner": owner.pubkey(), "amount": 20, "new_reserve": 50}
    assert outcome.events == (("Claimed", expected),)
    position = pools.position(owner.pubkey())
    assert (position["principal"], position["accrued"]) == (1_000, 30 * PER_TOKEN_UNIT + 3)
    assert pools.state()["total_principal"] == pools.deposits() == 1_000
    assert (pools.reserve(), pools.ledger.tokens(owner.pubkey())) == (50, 20)


def test_no_more_is_claimed_than_has_accrued(pools: Pools) -> None:
    owner = pools.saver(deposited=1_000)
    pools.fund(MOST)
    pools.change_position(owner.pubkey(), accrued=51 * PER_TOKEN_UNIT - 1)
    for amount in (51, 1_000, MOST):
        given = claim(owner.pubkey(), pools.pool, amount)
        refused(pools.ledger.send(given, owner), "InsufficientInterest")
    pools.ledger.must(claim(owner.pubkey(), pools.pool, 50), owner)


def test_an_exhausted_reserve_refuses_claims_and_loses_no_interest(pools: Pools) -> None:
    """Deposits never pay interest. Anyone can refill the reserve, which unblocks claims."""
    pools.saver(deposited=10_000)
    owner = pools.saver(deposited=1_000)
    pools.fund(9)
    pools.change_position(owner.pubkey(), accrued=10 * PER_TOKEN_UNIT)
    given = claim(owner.pubkey(), pools.pool, 10)
    refused(pools.ledger.send(given, owner), "InsufficientReserve")
    assert pools.position(owner.pubkey())["accrued"] == 10 * PER_TOKEN_UNIT
    assert (pools.deposits(), pools.reserve()) == (11_000, 9)
    pools.ledger.must(withdraw(owner.pubkey(), pools.pool, 1_000), owner)
    funder = pools.ledger.wallet(usdt=1)
    pools.ledger.must(fund_reserve(funder.pubkey(), pools.pool, 1), funder)
    pools.ledger.must(given, owner)
    assert (pools.reserve(), pools.ledger.tokens(owner.pubkey())) == (0, 1_010)


def test_interest_becomes_principal_in_one_transaction(pools: Pools) -> None:
    owner = pools.saver(deposited=1_000)
    pools.fund(50)
    pools.change_position(owner.pubkey(), accrued=50 * PER_TOKEN_UNIT)
    steps = [claim(owner.pubkey(), pools.pool, 50), deposit(owner.pubkey(), pools.pool, 50)]
    assert steps[0].accounts == steps[1].accounts
    outcome = pools.ledger.send(steps, owner)
    assert [name for name, _ in outcome.events] == ["Claimed", "Deposited"]
    assert pools.position(owner.pubkey())["principal"] == pools.deposits() == 1_050
    assert (pools.reserve(), pools.ledger.tokens(owner.pubkey())) == (0, 0)


# Inconsistent state that no instruction can produce


def test_sums_that_do_not_fit_are_refused(pools: Pools) -> None:
    owner = pools.saver(usdt=5, deposited=5)
    pools.change_pool(total_principal=MOST)
    given = deposit(owner.pubkey(), pools.pool, 1)
    refused(pools.ledger.send(given, owner), "Overflow")
    pools.change_pool(total_principal=4)
    given = withdraw(owner.pubkey(), pools.pool, 5)
    refused(pools.ledger.send(given, owner), "Overflow")
    pools.change_position(owner.pubkey(), principal=MOST)
    given = deposit(owner.pubkey(), pools.pool, 1)
    refused(pools.ledger.send(given, owner), "Overflow")
    pools.change_position(owner.pubkey(), index=1)
    refused(pools.ledger.send(given, owner), "Overflow")


@pytest.mark.parametrize("act", OF_AN_OWNER)
def test_a_pool_that_lacks_principal_moves_no_token(pools: Pools, act: Any) -> None:
    owner = pools.saver(usdt=5, deposited=50)
    pools.fund(100)
    pools.change_position(owner.pubkey(), accrued=5 * PER_TOKEN_UNIT)
    pools.ledger.put_tokens(pools.pool, 49)
    given = act(owner.pubkey(), pools.pool, 5)
    refused(pools.ledger.send(given, owner), "InvariantViolation")
    assert (pools.deposits(), pools.reserve(), pools.ledger.tokens(owner.pubkey())) == (49, 100, 5)


def test_tokens_sent_to_the_pool_are_nobodys_principal(pools: Pools) -> None:
    owner = pools.saver(deposited=50)
    pools.ledger.put_tokens(pools.pool, 60)
    given = withdraw(owner.pubkey(), pools.pool, 51)
    refused(pools.ledger.send(given, owner), "InsufficientPrincipal")
    pools.ledger.must(withdraw(owner.pubkey(), pools.pool, 50), owner)
    assert pools.deposits() == 10


def test_owner_instructions_are_cheap(pools: Pools) -> None:
    """A vault's instruction calls these within one transaction's units, `compound_yield` twice."""
    owner = pools.saver(usdt=5, deposited=50)
    pools.fund(100)
    pools.change_position(owner.pubkey(), accrued=5 * PER_TOKEN_UNIT)
    for act in OF_AN_OWNER:
        assert pools.ledger.must(act(owner.pubkey(), pools.pool, 5), owner).units <= 8_000
