"""The list of up to sixteen delegates, and the fields around it."""

from solders.keypair import Keypair

from tests.program.harness.full_vault import fill_vault
from tests.program.harness.ledger import (
    Ledger,
    add_delegate,
    deposit,
    remove_delegate,
    vault_address,
    withdraw,
)
from tests.program.harness.refusals import assert_refused

KEYS = [Keypair().pubkey() for _ in range(17)]


def test_delegates_keep_the_order_of_their_addition(ledger: Ledger) -> None:
    owner = ledger.owner()
    whose = {"vault": vault_address(owner.pubkey()), "owner": owner.pubkey()}
    for key in KEYS[:3]:
        events = ledger.must(add_delegate(owner.pubkey(), key), owner).events
        assert events == (("DelegateAddedEvent", whose | {"delegate": key}),)
    assert ledger.vault(owner.pubkey())["delegates"] == KEYS[:3]
    events = ledger.must(remove_delegate(owner.pubkey(), KEYS[1]), owner).events
    assert events == (("DelegateRemovedEvent", whose | {"delegate": KEYS[1]}),)
    assert ledger.vault(owner.pubkey())["delegates"] == [KEYS[0], KEYS[2]]


def test_the_seventeenth_delegate_is_refused_and_nothing_is_written(ledger: Ledger) -> None:
    owner = ledger.owner()
    for key in KEYS[:16]:
        ledger.must(add_delegate(owner.pubkey(), key), owner)
    before = ledger.vault(owner.pubkey())
    assert before["delegates"] == KEYS[:16]
    assert_refused(ledger.send(add_delegate(owner.pubkey(), KEYS[16]), owner), "Overflow")
    assert ledger.vault(owner.pubkey()) == before


def test_the_same_delegate_is_not_added_twice(ledger: Ledger) -> None:
    owner = ledger.owner()
    ledger.must(add_delegate(owner.pubkey(), KEYS[0]), owner)
    assert_refused(ledger.send(add_delegate(owner.pubkey(), KEYS[0]), owner), "AlreadyExists")


def test_the_owner_cannot_be_its_own_delegate(ledger: Ledger) -> None:
    owner = ledger.owner()
    outcome = ledger.send(add_delegate(owner.pubkey(), owner.pubkey()), owner)
    assert_refused(outcome, "AlreadyExists")


def test_removing_an_unknown_delegate_is_refused(ledger: Ledger) -> None:
    owner = ledger.owner()
    assert_refused(ledger.send(remove_delegate(owner.pubkey(), KEYS[0]), owner), "NotFound")


def test_a_removed_delegate_can_no_longer_act(governed: Ledger) -> None:
    owner, delegate = governed.owner(deposited=10), governed.wallet(usdt=10)
    governed.must(add_delegate(owner.pubkey(), delegate.pubkey()), owner)
    governed.must(withdraw(owner.pubkey(), 1, authority=delegate.pubkey()), delegate)
    governed.must(remove_delegate(owner.pubkey(), delegate.pubkey()), owner)
    for instruction in (
        withdraw(owner.pubkey(), 1, authority=delegate.pubkey()),
        deposit(owner.pubkey(), 1, authority=delegate.pubkey()),
    ):
        assert_refused(governed.send(instruction, delegate), "Unauthorized")


def test_fields_around_the_list_keep_their_values(ledger: Ledger) -> None:
    owner = ledger.owner(deposited=10_000)
    fill_vault(ledger, owner)
    before = ledger.vault(owner.pubkey())
    first, last = before["delegates"][0], before["delegates"][15]
    for removed in (first, last):
        ledger.must(remove_delegate(owner.pubkey(), removed), owner)
    assert ledger.vault(owner.pubkey()) == before | {"delegates": before["delegates"][1:15]}
    for back in (first, last):
        ledger.must(add_delegate(owner.pubkey(), back), owner)
    delegates = [*before["delegates"][1:15], first, last]
    assert ledger.vault(owner.pubkey()) == before | {"delegates": delegates}
