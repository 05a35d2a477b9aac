"""Multisig: who may act for a vault when several must sign, and who decides that."""

from typing import Any

import pytest
from solders.instruction import AccountMeta, Instruction
from solders.keypair import Keypair
from solders.pubkey import Pubkey

from tests.program.harness.effects import changes, refused
from tests.program.harness.instructions import build
from tests.program.harness.ledger import (
    Event,
    Ledger,
    add_delegate,
    deposit,
    govern,
    signer,
    vault_address,
    without,
)

KEYS = [Keypair().pubkey() for _ in range(11)]
YIELD = Keypair().pubkey()
AUTHORIZED: dict[str, dict[str, int]] = {
    "withdraw": {"amount": 10},
    "schedule_timelock": {"amount": 10, "duration_seconds": 60},
    "yield_deposit": {"amount": 10},
    "yield_withdraw": {"amount": 10},
    "compound_yield": {"compounded_amount": 10},
}
each_authorized = pytest.mark.parametrize("name", AUTHORIZED)


@pytest.fixture
def owner(governed: Ledger, governance: Keypair) -> Keypair:
    """The owner of a vault on which each of the authorized instructions can succeed."""
    owner = governed.owner(deposited=100)
    governed.must(govern("add_yield_program", governance.pubkey(), value=YIELD), governance)
    lend = build("yield_deposit", owner.pubkey(), accounts={"yield_program": YIELD}, amount=20)
    governed.must(lend, owner)
    # Yield accrues in the yield program, whose accounts these tests leave out.
    governed.change_vault(owner.pubkey(), yield_accrued_balance=20)
    return owner


@pytest.fixture
def signers(governed: Ledger, owner: Keypair) -> list[Keypair]:
    """Three signers with a threshold of two."""
    keypairs = [governed.wallet() for _ in range(3)]
    governed.must(set_multisig(owner, [each.pubkey() for each in keypairs], 2), owner)
    return keypairs


def signing(*others: Keypair) -> list[AccountMeta]:
    return [signer(other.pubkey()) for other in others]


def set_multisig(
    owner: Keypair, signers: list[Pubkey], threshold: int, *others: Keypair
) -> Instruction:
    arguments: dict[str, Any] = {"signers": signers, "threshold": threshold}
    return build("set_vault_multisig", owner.pubkey(), remaining=signing(*others), **arguments)


def multisig_set(owner: Keypair, signers: list[Pubkey], threshold: int) -> tuple[Event, ...]:
    """Return the events of a change of the multisig."""
    fields: dict[str, Any] = {"vault": vault_address(owner.pubkey()), "owner": owner.pubkey()}
    return (("MultisigSetEvent", fields | {"signers": signers, "threshold": threshold}),)


def order(name: str, owner: Keypair, first: Keypair, *others: Keypair) -> Instruction:
    """Return an authorized instruction by `first`, with `others` as extra signers."""
    accounts = {"yield_program": YIELD} if "yield" in name else {}
    arguments: dict[str, Any] = AUTHORIZED[name]
    return build(
        name,
        owner.pubkey(),
        authority=first.pubkey(),
        remaining=signing(*others),
        accounts=accounts,
        **arguments,
    )


# Setting and disabling


def test_the_owner_sets_signers_and_threshold_and_nothing_else(
    governed: Ledger, owner: Keypair
) -> None:
    governed.must(add_delegate(owner.pubkey(), KEYS[9]), owner)
    for signers, threshold in ((KEYS[2:7], 0), (KEYS[:1], 0), (KEYS[:10], 10)):
        events = changes(
            governed,
            owner.pubkey(),
            set_multisig(owner, signers, threshold),
            owner,
            multisig_signers=signers,
            **({"multisig_threshold": threshold} if threshold else {}),
        )
        assert events == multisig_set(owner, signers, threshold)


def test_disabling_removes_the_signers(
    governed: Ledger, owner: Keypair, signers: list[Keypair]
) -> None:
    one, two, _ = signers
    disable = build("disable_vault_multisig", owner.pubkey(), remaining=signing(one, two))
    fields = {"multisig_signers": [], "multisig_threshold": 0}
    events = changes(governed, owner.pubkey(), disable, owner, one, two, **fields)
    assert events == multisig_set(owner, [], 0)
    governed.must(build("disable_vault_multisig", owner.pubkey()), owner)  # no error
    governed.must(order("withdraw", owner, owner), owner)


@pytest.mark.parametrize(
    ("signers", "threshold", "error"),
    [
        (KEYS[:2], 3, "InvalidAmount"),
        ([], 1, "InvalidAmount"),
        (KEYS[:2], 255, "InvalidAmount"),
        ([KEYS[0], KEYS[1], KEYS[0]], 2, "AlreadyExists"),
        (KEYS[:11], 2, "Overflow"),
    ],
)
def test_an_invalid_multisig_is_refused(
    governed: Ledger, owner: Keypair, signers: list[Pubkey], threshold: int, error: str
) -> None:
    governed.must(set_multisig(owner, KEYS[5:8], 0), owner)
    refused(governed, owner.pubkey(), set_multisig(owner, signers, threshold), owner, error=error)


def test_only_the_owner_configures_the_multisig(
    governed: Ledger, owner: Keypair, signers: list[Keypair]
) -> None:
    delegate, stranger = governed.wallet(), governed.wallet()
    governed.must(add_delegate(owner.pubkey(), delegate.pubkey()), owner)
    decisions: dict[str, dict[str, Any]] = {
        "set_vault_multisig": {"signers": KEYS[:1], "threshold": 1},
        "disable_vault_multisig": {},
    }
    for name, arguments in decisions.items():
        for other in (delegate, stranger, *signers):
            theirs = build(name, owner.pubkey(), accounts={"owner": other.pubkey()}, **arguments)
            refused(governed, owner.pubkey(), theirs, other, error="ConstraintSeeds")
        whole = build(name, owner.pubkey(), **arguments)
        unsigned = without(whole, signer=0)
        refused(governed, owner.pubkey(), unsigned, stranger, error="AccountNotSigner")
        fixed = without(whole, writable=1)
        refused(governed, owner.pubkey(), fixed, owner, error="ConstraintMut")


# Authorization


@each_authorized
def test_without_multisig_the_owner_or_a_delegate_acts(
    governed: Ledger, owner: Keypair, name: str
) -> None:
    delegate, stranger = governed.wallet(), governed.wallet()
    governed.must(add_delegate(owner.pubkey(), delegate.pubkey()), owner)
    for one in (owner, delegate):
        governed.must(order(name, owner, one), one)
    refused(governed, owner.pubkey(), order(name, owner, stranger), stranger, error="Unauthorized")
    carried = order(name, owner, stranger, owner)
    refused(governed, owner.pubkey(), carried, stranger, owner, error="Unauthorized")


@each_authorized
def test_with_a_threshold_of_zero_signers_have_no_effect(
    governed: Ledger, owner: Keypair, name: str
) -> None:
    noted = governed.wallet()
    governed.must(set_multisig(owner, [noted.pubkey()], 0), owner)
    refused(governed, owner.pubkey(), order(name, owner, noted), noted, error="Unauthorized")
    governed.must(order(name, owner, owner), owner)


@each_authorized
def test_enough_signers_act_one_of_them_as_the_authority(
    governed: Ledger, owner: Keypair, signers: list[Keypair], name: str
) -> None:
    one, two, three = signers
    governed.must(order(name, owner, one, three), one, three)
    governed.must(order(name, owner, three, two), three, two)


@each_authorized
def test_anyone_may_submit_what_enough_signers_signed(
    governed: Ledger, owner: Keypair, signers: list[Keypair], name: str
) -> None:
    carrier = governed.wallet()
    governed.must(order(name, owner, carrier, *signers[1:]), carrier, *signers[1:])


@each_authorized
def test_a_signer_counts_once(
    governed: Ledger, owner: Keypair, signers: list[Keypair], name: str
) -> None:
    one = signers[0]
    for others in ((), (one,), (one, one)):
        again = order(name, owner, one, *others)
        refused(governed, owner.pubkey(), again, one, error="Unauthorized")
    carrier = governed.wallet()
    twice = order(name, owner, carrier, one, one)
    refused(governed, owner.pubkey(), twice, carrier, one, error="Unauthorized")


@each_authorized
def test_a_named_signer_who_did_not_sign_does_not_count(
    governed: Ledger, owner: Keypair, signers: list[Keypair], name: str
) -> None:
    one, two, _ = signers
    whole = order(name, owner, one, two)
    unsigned = without(whole, signer=len(whole.accounts) - 1)
    refused(governed, owner.pubkey(), unsigned, one, error="Unauthorized")


@each_authorized
def test_owner_delegates_and_strangers_do_not_count_under_multisig(
    governed: Ledger, owner: Keypair, signers: list[Keypair], name: str
) -> None:
    delegate, stranger = governed.wallet(), governed.wallet()
    governed.must(add_delegate(owner.pubkey(), delegate.pubkey()), owner)
    for some in ((owner,), (delegate,), (owner, delegate, stranger, signers[0])):
        whole = order(name, owner, *some)
        refused(governed, owner.pubkey(), whole, *some, error="Unauthorized")


def test_an_owner_among_the_signers_counts_as_one(governed: Ledger, owner: Keypair) -> None:
    other = governed.wallet()
    governed.must(set_multisig(owner, [owner.pubkey(), other.pubkey()], 2), owner)
    alone = order("withdraw", owner, owner)
    refused(governed, owner.pubkey(), alone, owner, error="Unauthorized")
    governed.must(order("withdraw", owner, owner, other), owner, other)


def test_a_replaced_signer_no_longer_counts(
    governed: Ledger, owner: Keypair, signers: list[Keypair]
) -> None:
    one, two, three = signers
    change = set_multisig(owner, [two.pubkey(), three.pubkey()], 2, one, two)
    governed.must(change, owner, one, two)
    old = order("withdraw", owner, one, two)
    refused(governed, owner.pubkey(), old, one, two, error="Unauthorized")
    governed.must(order("withdraw", owner, two, three), two, three)


def test_all_ten_signers_can_be_required(governed: Ledger, owner: Keypair) -> None:
    ten = [governed.wallet() for _ in range(10)]
    governed.must(set_multisig(owner, [each.pubkey() for each in ten], 10), owner)
    nine = order("withdraw", owner, *ten[:9])
    refused(governed, owner.pubkey(), nine, *ten[:9], error="Unauthorized")
    governed.must(order("withdraw", owner, *ten), *ten)


def test_under_multisig_only_the_owner_deposits(
    governed: Ledger, owner: Keypair, signers: list[Keypair]
) -> None:
    delegate = governed.wallet(usdt=4)
    governed.must(add_delegate(owner.pubkey(), delegate.pubkey()), owner)
    governed.put_tokens(owner.pubkey(), 4)
    governed.put_tokens(signers[0].pubkey(), 4)
    for other in (delegate, signers[0]):
        by_other = deposit(owner.pubkey(), 4, authority=other.pubkey())
        refused(governed, owner.pubkey(), by_other, other, error="Unauthorized")
    before = governed.vault(owner.pubkey())["total_balance"]
    governed.must(deposit(owner.pubkey(), 4), owner)
    assert governed.vault(owner.pubkey())["total_balance"] == before + 4


def test_once_disabled_delegates_act_again_and_signers_do_not(
    governed: Ledger, owner: Keypair, signers: list[Keypair]
) -> None:
    delegate = governed.wallet()
    governed.must(add_delegate(owner.pubkey(), delegate.pubkey()), owner)
    disable = build("disable_vault_multisig", owner.pubkey(), remaining=signing(*signers))
    governed.must(disable, owner, *signers)
    governed.must(order("withdraw", owner, delegate), delegate)
    theirs = order("withdraw", owner, *signers)
    refused(governed, owner.pubkey(), theirs, *signers, error="Unauthorized")
