"""An owner's protection against a stolen key: a delay, a rate limit and a whitelist."""

from typing import Any

import pytest
from solders.instruction import Instruction
from solders.keypair import Keypair
from solders.pubkey import Pubkey

from tests.program.harness.effects import changes, refused
from tests.program.harness.instructions import build
from tests.program.harness.ledger import (
    START,
    Ledger,
    add_delegate,
    vault_address,
    withdraw,
    without,
)

KEYS = [Keypair().pubkey() for _ in range(3)]
SETTINGS: dict[str, dict[str, Any]] = {
    "set_withdraw_min_delay": {"seconds": 60},
    "set_withdraw_rate_limit": {"window_seconds": 60, "max_amount": 5},
    "add_withdraw_whitelist": {"address": KEYS[1]},
    "remove_withdraw_whitelist": {"address": KEYS[0]},
    "request_withdraw": {"amount": 5},
}


@pytest.fixture
def owner(governed: Ledger) -> Keypair:
    return governed.owner(deposited=1_000)


def setting(name: str, owner: Keypair, *, by: Keypair) -> Instruction:
    accounts = {"owner": by.pubkey()}
    return build(name, owner.pubkey(), accounts=accounts, **SETTINGS[name])


def delay(owner: Keypair, seconds: int) -> Instruction:
    return build("set_withdraw_min_delay", owner.pubkey(), seconds=seconds)


def rate(owner: Keypair, window_seconds: int, max_amount: int) -> Instruction:
    return build(
        "set_withdraw_rate_limit",
        owner.pubkey(),
        window_seconds=window_seconds,
        max_amount=max_amount,
    )


def whitelist(change: str, owner: Keypair, address: Pubkey) -> Instruction:
    return build(f"{change}_withdraw_whitelist", owner.pubkey(), address=address)


# Authorization


@pytest.mark.parametrize("name", SETTINGS)
def test_only_the_owner_sets_the_policy_and_requests_withdrawals(
    governed: Ledger, owner: Keypair, name: str
) -> None:
    delegate, stranger = governed.wallet(), governed.wallet()
    governed.must(add_delegate(owner.pubkey(), delegate.pubkey()), owner)
    governed.must(whitelist("add", owner, KEYS[0]), owner)
    if name == "request_withdraw":
        governed.must(delay(owner, 1), owner)
    for other in (delegate, stranger):
        theirs = setting(name, owner, by=other)
        refused(governed, owner.pubkey(), theirs, other, error="ConstraintSeeds")
    unsigned = without(setting(name, owner, by=owner), signer=0)
    refused(governed, owner.pubkey(), unsigned, stranger, error="AccountNotSigner")
    for at in (0, 1):
        fixed = without(setting(name, owner, by=owner), writable=at)
        refused(governed, owner.pubkey(), fixed, stranger, owner, error="ConstraintMut")
    governed.must(setting(name, owner, by=owner), owner)


# The minimum delay


@pytest.mark.parametrize("seconds", [1, 60, 2**63 - 1])
def test_a_delay_is_set(governed: Ledger, owner: Keypair, seconds: int) -> None:
    key = owner.pubkey()
    events = changes(
        governed, key, delay(owner, seconds), owner, min_withdraw_delay_seconds=seconds
    )
    fields = {"vault": vault_address(key), "owner": key, "seconds": seconds}
    assert events == (("WithdrawMinDelaySetEvent", fields),)


@pytest.mark.parametrize("seconds", [-1, -(2**63)])
def test_a_negative_delay_is_refused(governed: Ledger, owner: Keypair, seconds: int) -> None:
    governed.must(delay(owner, 60), owner)
    refused(governed, owner.pubkey(), delay(owner, seconds), owner, error="InvalidAmount")


# The rate limit


def test_a_rate_limit_is_set_with_a_window_that_starts_now(
    governed: Ledger, owner: Keypair
) -> None:
    key = owner.pubkey()
    governed.set_time(START + 7)
    events = changes(
        governed,
        key,
        rate(owner, 2**32 - 1, 2**64 - 1),
        owner,
        rate_window_seconds=2**32 - 1,
        rate_limit_amount=2**64 - 1,
        last_withdrawal_window_start=START + 7,
    )
    fields: dict[str, Any] = {"vault": vault_address(key), "owner": key}
    fields |= {"window_seconds": 2**32 - 1, "max_amount": 2**64 - 1}
    assert events == (("WithdrawRateLimitSetEvent", fields),)


def test_setting_the_same_rate_limit_again_restarts_its_window(
    governed: Ledger, owner: Keypair
) -> None:
    governed.must(rate(owner, 100, 300), owner)
    governed.must(withdraw(owner.pubkey(), 300), owner)
    refused(governed, owner.pubkey(), withdraw(owner.pubkey(), 1), owner, error="Unauthorized")
    governed.set_time(START + 40)
    changes(
        governed,
        owner.pubkey(),
        rate(owner, 100, 300),
        owner,
        last_withdrawal_window_start=START + 40,
        withdrawn_in_window=0,
    )
    governed.must(withdraw(owner.pubkey(), 300), owner)
    governed.set_time(START + 139)
    refused(governed, owner.pubkey(), withdraw(owner.pubkey(), 1), owner, error="Unauthorized")
    governed.set_time(START + 140)
    governed.must(withdraw(owner.pubkey(), 1), owner)


# The whitelist


def test_the_whitelist_keeps_the_order_of_its_additions(governed: Ledger, owner: Keypair) -> None:
    key, vault = owner.pubkey(), vault_address(owner.pubkey())

    def change(name: str, address: Pubkey, *left: Pubkey) -> None:
        instruction = whitelist(name, owner, address)
        events = changes(governed, key, instruction, owner, withdraw_whitelist=list(left))
        fields: dict[str, Any] = {"vault": vault, "owner": key, "address": address}
        fields |= {"added": name == "add", "new_len": len(left)}
        assert events == (("WithdrawWhitelistUpdatedEvent", fields),)

    one, two, three = KEYS
    change("add", one, one)
    change("add", two, one, two)
    change("add", three, one, two, three)
    change("remove", two, one, three)
    change("remove", one, three)
    change("remove", three)


def test_an_address_is_listed_once_and_removed_once(governed: Ledger, owner: Keypair) -> None:
    key = owner.pubkey()
    refused(governed, key, whitelist("remove", owner, KEYS[0]), owner, error="NotFound")
    governed.must(whitelist("add", owner, KEYS[0]), owner)
    refused(governed, key, whitelist("add", owner, KEYS[0]), owner, error="AlreadyExists")
    refused(governed, key, whitelist("remove", owner, KEYS[1]), owner, error="NotFound")


def test_a_listed_wallet_receives_until_it_is_removed(governed: Ledger, owner: Keypair) -> None:
    friend = governed.wallet().pubkey()
    account = governed.put_tokens(friend, 0, address=Keypair().pubkey())
    give = withdraw(owner.pubkey(), 7, user_token_account=account)
    refused(governed, owner.pubkey(), give, owner, error="Unauthorized")
    governed.must(whitelist("add", owner, friend), owner)
    governed.must(give, owner)
    governed.must(withdraw(owner.pubkey(), 5), owner)  # the owner needs no entry
    governed.must(whitelist("remove", owner, friend), owner)
    refused(governed, owner.pubkey(), give, owner, error="Unauthorized")
    assert (governed.tokens_at(account), governed.tokens(owner.pubkey())) == (7, 5)
