"""What a thief gets at once who has only the owner's key: nothing that a guard protects."""

import pytest
from solders.instruction import Instruction
from solders.keypair import Keypair

from tests.program.harness.effects import refused
from tests.program.harness.guard_changes import (
    DAY,
    WEEK,
    GuardChange,
    allowance,
    min_delay,
    multisig,
    rate_limit,
    whitelisted,
)
from tests.program.harness.instructions import build
from tests.program.harness.ledger import Ledger, signer, token_address, vault_address, withdraw
from tests.program.harness.refusals import assert_refused

THIEF = Keypair()


def rescue(owner: Keypair, amount: int, *cosigners: Keypair) -> Instruction:
    remaining = [signer(each.pubkey()) for each in cosigners]
    return build("emergency_withdraw", owner.pubkey(), remaining=remaining, amount=amount)


def request(owner: Keypair, amount: int) -> Instruction:
    return build("request_withdraw", owner.pubkey(), amount=amount)


def refused_together(
    ledger: Ledger, owner: Keypair, *steps: Instruction, error: str = "GuardInForce"
) -> None:
    """Assert that one transaction of these steps fails and takes nothing."""
    before = ledger.data(vault_address(owner.pubkey())), ledger.tokens(owner.pubkey())
    assert_refused(ledger.send(steps, owner), error)
    assert (ledger.data(vault_address(owner.pubkey())), ledger.tokens(owner.pubkey())) == before


# Each guard, removed in the transaction that empties the vault


def test_the_multisig_is_not_removed_and_the_vault_emptied_in_one_transaction(
    governed: Ledger, owner: Keypair, cosigners: list[Keypair]
) -> None:
    assert len(cosigners) == 3
    empty = withdraw(owner.pubkey(), 1_000)
    for off in (
        build("disable_vault_multisig", owner.pubkey()),
        multisig([], 0).at_once(owner),
        multisig([THIEF], 0).at_once(owner),
        multisig([owner], 1).at_once(owner),
    ):
        refused_together(governed, owner, off, empty)


@pytest.mark.parametrize("seconds", [0, 1, DAY - 1])
def test_the_delay_is_not_shortened_and_the_vault_emptied(
    governed: Ledger, owner: Keypair, seconds: int
) -> None:
    governed.must(min_delay(DAY).at_once(owner), owner)
    key, shorter = owner.pubkey(), min_delay(seconds).at_once(owner)
    refused_together(governed, owner, shorter, withdraw(key, 1_000))
    refused_together(governed, owner, shorter, request(owner, 1_000))
    # Up and down again leads no lower than up.
    longer = min_delay(2 * DAY).at_once(owner)
    refused_together(governed, owner, longer, min_delay(DAY).at_once(owner))


def test_a_multisig_of_the_thiefs_keys_does_not_get_around_the_delay(
    governed: Ledger, owner: Keypair
) -> None:
    governed.must(min_delay(DAY).at_once(owner), owner)
    for signers in ([owner], [THIEF]):
        own = multisig(signers, 1).at_once(owner)
        refused_together(governed, owner, own, min_delay(0).at_once(owner))
    # Signers without a threshold have no say.
    governed.must(multisig([THIEF], 0).at_once(owner), owner)
    off = min_delay(0).at_once(owner, THIEF)
    assert_refused(governed.send(off, owner, THIEF), "GuardInForce")


@pytest.fixture(params=["multisig", "delay", "both"])
def protected(request: pytest.FixtureRequest, governed: Ledger, owner: Keypair) -> Keypair:
    """The owner of a vault with a rate limit, an allowance, and a multisig, a delay, or both."""
    governed.must(rate_limit(DAY, 100).at_once(owner), owner)
    governed.change_vault(owner.pubkey(), transfer_allowance=50)
    if request.param != "delay":
        signers = [governed.wallet(), governed.wallet()]
        governed.must(multisig(signers, 2).at_once(owner), owner)
    if request.param != "multisig":
        governed.must(min_delay(DAY).at_once(owner), owner)
    return owner


@pytest.mark.parametrize(
    "change",
    [
        rate_limit(DAY, 101),
        rate_limit(DAY, 2**64 - 1),
        rate_limit(DAY - 1, 100),
        rate_limit(2 * DAY, 200),
        rate_limit(1, 1),
        rate_limit(0, 100),
        rate_limit(DAY, 0),
        rate_limit(0, 0),
        whitelisted(THIEF.pubkey()),
        allowance(51),
        allowance(2**64 - 1),
        multisig([THIEF], 1),
    ],
)
def test_no_limit_is_loosened_at_once(
    governed: Ledger, protected: Keypair, change: GuardChange
) -> None:
    loosen = change.at_once(protected)
    refused(governed, protected.pubkey(), loosen, protected, error="GuardInForce")


def test_the_thiefs_wallet_is_not_whitelisted_and_paid(governed: Ledger, owner: Keypair) -> None:
    governed.must(min_delay(DAY).at_once(owner), owner)
    governed.must(request(owner, 1_000), owner)
    governed.later(DAY)
    governed.put_tokens(THIEF.pubkey(), 0)
    to_thief = token_address(THIEF.pubkey())
    pay = withdraw(owner.pubkey(), 1_000, user_token_account=to_thief)
    refused_together(governed, owner, whitelisted(THIEF.pubkey()).at_once(owner), pay)
    refused(governed, owner.pubkey(), pay, owner, error="Unauthorized")


@pytest.mark.parametrize("change", [rate_limit(DAY, 100), rate_limit(2 * DAY, 90)])
def test_a_rate_limit_set_again_or_tightened_keeps_its_window(
    governed: Ledger, owner: Keypair, change: GuardChange
) -> None:
    governed.must(rate_limit(DAY, 100).at_once(owner), owner)
    governed.must(withdraw(owner.pubkey(), 90), owner)
    governed.must(min_delay(60).at_once(owner), owner)
    governed.must(request(owner, 500), owner)
    governed.later(60)
    before = governed.vault(owner.pubkey())
    governed.must(change.at_once(owner), owner)
    after = governed.vault(owner.pubkey())
    for field in ("last_withdrawal_window_start", "withdrawn_in_window"):
        assert after[field] == before[field]
    left = after["rate_limit_amount"] - 90
    for take in (withdraw(owner.pubkey(), left + 1), rescue(owner, left + 1)):
        refused(governed, owner.pubkey(), take, owner, error="Unauthorized")


# Emergency withdrawals


def test_an_emergency_withdrawal_needs_the_multisig(
    governed: Ledger, owner: Keypair, cosigners: list[Keypair]
) -> None:
    one, two, _ = cosigners
    for some in ((), (one,), (one, one)):
        take = rescue(owner, 1_000, *some)
        refused(governed, owner.pubkey(), take, owner, *some[:1], error="Unauthorized")
    governed.must(rescue(owner, 1_000, one, two), owner, one, two)
    assert governed.tokens(owner.pubkey()) == 1_000


def test_an_emergency_withdrawal_waits_for_the_delay_and_uses_up_requests(
    governed: Ledger, owner: Keypair
) -> None:
    governed.must(min_delay(DAY).at_once(owner), owner)
    refused(governed, owner.pubkey(), rescue(owner, 1), owner, error="Unauthorized")
    governed.must(request(owner, 600), owner)
    governed.later(DAY - 1)
    refused(governed, owner.pubkey(), rescue(owner, 1), owner, error="Unauthorized")
    governed.later(1)
    refused(governed, owner.pubkey(), rescue(owner, 601), owner, error="Unauthorized")
    governed.must(rescue(owner, 500), owner)
    refused(governed, owner.pubkey(), rescue(owner, 101), owner, error="Unauthorized")
    governed.must(withdraw(owner.pubkey(), 100), owner)
    assert governed.vault(owner.pubkey())["pending_withdrawals"] == []


def test_an_emergency_withdrawal_counts_towards_the_rate_limit(
    governed: Ledger, owner: Keypair
) -> None:
    governed.must(rate_limit(DAY, 100).at_once(owner), owner)
    refused(governed, owner.pubkey(), rescue(owner, 101), owner, error="Unauthorized")
    governed.must(rescue(owner, 60), owner)
    for take in (rescue(owner, 41), withdraw(owner.pubkey(), 41)):
        refused(governed, owner.pubkey(), take, owner, error="Unauthorized")
    governed.must(withdraw(owner.pubkey(), 40), owner)
    governed.later(DAY)
    governed.must(rescue(owner, 100), owner)


def test_governance_returns_tokens_to_the_owner_past_all_guards(
    governed: Ledger, governance: Keypair, protected: Keypair
) -> None:
    by = governance.pubkey()
    take = build("emergency_withdraw", protected.pubkey(), authority=by, amount=1_000)
    governed.must(take, governance)
    assert governed.tokens(protected.pubkey()) == 1_000


# Requests made in advance


@pytest.mark.parametrize("change", [min_delay(0), multisig([THIEF], 1), allowance(2**64 - 1)])
def test_nothing_can_be_requested_before_a_guard_is_in_force(
    governed: Ledger, owner: Keypair, change: GuardChange
) -> None:
    refused(governed, owner.pubkey(), change.request(owner), owner, error="Unauthorized")
    assert change.state(governed, owner.pubkey()) is None


def test_a_change_requested_under_a_short_delay_waits_for_the_longer_one(
    governed: Ledger, owner: Keypair
) -> None:
    off = min_delay(0)
    governed.must(min_delay(60).at_once(owner), owner)
    governed.must(off.request(owner), owner)
    governed.later(30)
    governed.must(min_delay(DAY).at_once(owner), owner)
    for seconds in (30, DAY - 61):
        governed.later(seconds)
        refused(governed, owner.pubkey(), off.apply(owner), owner, error="NotExecutableNow")
    governed.later(1)
    governed.must(off.apply(owner), owner)


def test_a_change_requested_under_a_short_delay_waits_for_the_multisig(
    governed: Ledger, owner: Keypair
) -> None:
    """The multisig is set with the delay in force, so that it takes a request of its own."""
    signers = [governed.wallet(), governed.wallet()]
    on, off = multisig(signers, 2), multisig([], 0)
    governed.must(min_delay(60).at_once(owner), owner)
    governed.must(on.request(owner), owner)
    governed.must(off.request(owner), owner)
    governed.later(60)
    governed.must(on.apply(owner), owner)
    refused(governed, owner.pubkey(), off.apply(owner), owner, error="NotExecutableNow")
    governed.later(WEEK - 61)
    refused(governed, owner.pubkey(), off.apply(owner), owner, error="NotExecutableNow")


def test_a_request_does_not_outlive_its_vault(governed: Ledger, owner: Keypair) -> None:
    """The vault is closed and opened again, with a guard of which the request knew nothing."""
    key, off = owner.pubkey(), min_delay(0)
    governed.must(min_delay(60).at_once(owner), owner)
    governed.must(off.request(owner), owner)
    governed.must(request(owner, 1_000), owner)
    governed.later(60)
    governed.must(withdraw(key, 1_000), owner)
    governed.must(build("close_vault", key), owner)
    governed.must(build("initialize_vault", key), owner)
    governed.must(build("deposit", key, amount=1_000), owner)
    governed.must(min_delay(60).at_once(owner), owner)
    governed.later(60)
    refused(governed, key, off.apply(owner), owner, error="NotExecutableNow")
    governed.must(off.cancel(key, by=owner), owner)


def test_a_request_of_the_second_in_which_the_vault_is_opened_again_counts_for_nothing(
    governed: Ledger,
) -> None:
    """A delay, a request and a new vault in one transaction leave no trace in the vault."""
    owner = governed.owner()
    key, off = owner.pubkey(), multisig([], 0)
    steps = [
        min_delay(30 * DAY).at_once(owner),
        off.request(owner),
        build("close_vault", key),
        build("initialize_vault", key),
    ]
    assert governed.send(steps, owner).error is None
    governed.later(29 * DAY)
    signers = [governed.wallet(), governed.wallet()]
    governed.must(multisig(signers, 2).at_once(owner), owner)
    governed.later(DAY)
    refused(governed, key, off.apply(owner), owner, error="NotExecutableNow")
    governed.must(off.cancel(key, by=signers[0]), signers[0])


def test_a_delegate_of_the_thief_loosens_nothing(governed: Ledger, owner: Keypair) -> None:
    governed.must(min_delay(DAY).at_once(owner), owner)
    governed.svm.airdrop(THIEF.pubkey(), 10**9)
    governed.must(build("add_delegate", owner.pubkey(), delegate=THIEF.pubkey()), owner)
    steps = [
        build(
            "set_withdraw_min_delay", owner.pubkey(), accounts={"owner": THIEF.pubkey()}, seconds=0
        ),
        withdraw(owner.pubkey(), 1, authority=THIEF.pubkey()),
        build("emergency_withdraw", owner.pubkey(), authority=THIEF.pubkey(), amount=1),
    ]
    for step, error in zip(steps, ["ConstraintSeeds", "Unauthorized", "Unauthorized"], strict=True):
        refused(governed, owner.pubkey(), step, THIEF, error=error)
