"""No withdrawal while a program holds a position: no summary can be omitted or forged."""

from collections.abc import Callable, Sequence

import pytest
from solders.instruction import AccountMeta
from solders.keypair import Keypair
from solders.pubkey import Pubkey

from tests.program.harness import ledger as chain
from tests.program.harness.ledger import (
    POSITION_MANAGER,
    SYSTEM,
    Ledger,
    readonly,
    summary_address,
    vault_address,
    withdraw,
)
from tests.program.harness.refusals import assert_refused

OTHER_MANAGER = Keypair().pubkey()


@pytest.fixture
def traded(governed: Ledger) -> Ledger:
    """A chain whose only authorized program is the position manager."""
    governed.change_authority(authorized_programs=[POSITION_MANAGER])
    return governed


@pytest.fixture
def owner(governed: Ledger) -> Keypair:
    return governed.owner(deposited=100)


def attempt(ledger: Ledger, owner: Keypair, summaries: Sequence[Pubkey]) -> chain.Outcome:
    remaining = [readonly(summary) for summary in summaries]
    return ledger.send(withdraw(owner.pubkey(), 10, remaining=remaining), owner)


def test_a_summary_without_open_positions_permits_withdrawals(
    traded: Ledger, owner: Keypair
) -> None:
    summary = traded.put_summary(owner.pubkey())
    assert attempt(traded, owner, [summary]).error is None
    assert traded.tokens(owner.pubkey()) == 10


@pytest.mark.parametrize("count", [1, 2**32, 2**64 - 1])
def test_an_open_position_blocks_every_withdrawal(
    traded: Ledger, owner: Keypair, count: int
) -> None:
    summary = traded.put_summary(owner.pubkey(), open_positions=count)
    assert_refused(attempt(traded, owner, [summary]), "OpenPositionsExist")
    assert traded.tokens(owner.pubkey()) == 0


def test_a_summary_cannot_be_omitted(traded: Ledger, owner: Keypair) -> None:
    assert_refused(attempt(traded, owner, []), "PositionSummaryMissing")


def test_every_authorized_program_is_checked_in_order(governed: Ledger, owner: Keypair) -> None:
    governed.change_authority(authorized_programs=[POSITION_MANAGER, OTHER_MANAGER])
    first = governed.put_summary(owner.pubkey())
    second = governed.put_summary(owner.pubkey(), program=OTHER_MANAGER)
    assert attempt(governed, owner, [first, second]).error is None
    assert_refused(attempt(governed, owner, [first]), "PositionSummaryMissing")
    for wrong in ([second, first], [first, first], [second, second]):
        assert_refused(attempt(governed, owner, wrong), "PositionSummaryInvalid")
    governed.put_summary(owner.pubkey(), program=OTHER_MANAGER, open_positions=1)
    assert_refused(attempt(governed, owner, [first, second]), "OpenPositionsExist")


def test_a_summary_that_was_never_created_counts_as_no_positions(
    traded: Ledger, owner: Keypair
) -> None:
    summary = summary_address(vault_address(owner.pubkey()))
    assert attempt(traded, owner, [summary]).error is None
    traded.put(summary, SYSTEM, b"", 1)  # lamports alone are no position
    assert attempt(traded, owner, [summary]).error is None


def another_owners(ledger: Ledger, _: Keypair) -> Pubkey:
    return ledger.put_summary(ledger.owner().pubkey())


def for_another_vault(ledger: Ledger, owner: Keypair) -> Pubkey:
    return ledger.put_summary(owner.pubkey(), vault=Keypair().pubkey())


def for_another_owner(ledger: Ledger, owner: Keypair) -> Pubkey:
    return ledger.put_summary(owner.pubkey(), owner=Keypair().pubkey())


def of_another_program(ledger: Ledger, owner: Keypair) -> Pubkey:
    return ledger.put_summary(owner.pubkey(), program=OTHER_MANAGER)


def written_by_another_program(ledger: Ledger, owner: Keypair) -> Pubkey:
    address = ledger.put_summary(owner.pubkey())
    ledger.put(address, OTHER_MANAGER, ledger.data(address))
    return address


def with_bytes_but_without_a_program(ledger: Ledger, owner: Keypair) -> Pubkey:
    address = ledger.put_summary(owner.pubkey())
    ledger.put(address, SYSTEM, ledger.data(address))
    return address


def of_another_kind(ledger: Ledger, owner: Keypair) -> Pubkey:
    address = ledger.put_summary(owner.pubkey())
    ledger.put(address, POSITION_MANAGER, bytes(8) + ledger.data(address)[8:])
    return address


def cut_short(ledger: Ledger, owner: Keypair) -> Pubkey:
    address = ledger.put_summary(owner.pubkey())
    ledger.put(address, POSITION_MANAGER, ledger.data(address)[:-1])
    return address


def empty_but_of_the_program(ledger: Ledger, owner: Keypair) -> Pubkey:
    address = summary_address(vault_address(owner.pubkey()))
    ledger.put(address, POSITION_MANAGER, b"", 1)
    return address


def never_created_for_another_vault(ledger: Ledger, _: Keypair) -> Pubkey:
    return summary_address(vault_address(ledger.wallet().pubkey()))


def never_created_by_another_program(_: Ledger, owner: Keypair) -> Pubkey:
    return summary_address(vault_address(owner.pubkey()), OTHER_MANAGER)


def any_empty_account(_: Ledger, __: Keypair) -> Pubkey:
    return Keypair().pubkey()


def the_owners_wallet(_: Ledger, owner: Keypair) -> Pubkey:
    return owner.pubkey()


def the_vault(_: Ledger, owner: Keypair) -> Pubkey:
    return vault_address(owner.pubkey())


@pytest.mark.parametrize(
    "forge",
    [
        another_owners,
        for_another_vault,
        for_another_owner,
        of_another_program,
        written_by_another_program,
        with_bytes_but_without_a_program,
        of_another_kind,
        cut_short,
        empty_but_of_the_program,
        never_created_for_another_vault,
        never_created_by_another_program,
        any_empty_account,
        the_owners_wallet,
        the_vault,
    ],
)
def test_no_account_replaces_a_summary(
    traded: Ledger, owner: Keypair, forge: Callable[[Ledger, Keypair], Pubkey]
) -> None:
    summary = forge(traded, owner)
    assert_refused(attempt(traded, owner, [summary]), "PositionSummaryInvalid")
    assert traded.tokens(owner.pubkey()) == 0


def test_an_unused_address_cannot_hide_an_open_position(traded: Ledger, owner: Keypair) -> None:
    summary = traded.put_summary(owner.pubkey(), open_positions=1)
    for other in (Keypair().pubkey(), vault_address(Keypair().pubkey())):
        assert_refused(attempt(traded, owner, [other, summary]), "PositionSummaryInvalid")


def test_a_longer_summary_of_a_later_version_is_read(traded: Ledger, owner: Keypair) -> None:
    address = traded.put_summary(owner.pubkey())
    traded.put(address, POSITION_MANAGER, traded.data(address) + bytes(64))
    assert attempt(traded, owner, [address]).error is None


def test_multisig_signers_follow_the_summaries(traded: Ledger, owner: Keypair) -> None:
    one, two = traded.wallet(), traded.wallet()
    keys = [one.pubkey(), two.pubkey()]
    traded.change_vault(owner.pubkey(), multisig_threshold=2, multisig_signers=keys)
    summary, second = readonly(traded.put_summary(owner.pubkey())), chain.signer(two.pubkey())

    def attempt_with(*remaining: AccountMeta) -> chain.Outcome:
        instruction = withdraw(owner.pubkey(), 10, authority=one.pubkey(), remaining=remaining)
        return traded.send(instruction, one, two)

    # In a summary's place, a signer is first counted as one signature less.
    assert_refused(attempt_with(second, summary), "Unauthorized")
    assert_refused(attempt_with(second, second), "PositionSummaryInvalid")
    assert attempt_with(summary, second).error is None


def test_as_many_programs_as_a_transaction_can_name_are_checked(
    governed: Ledger, owner: Keypair
) -> None:
    programs = [Keypair().pubkey() for _ in range(18)]
    governed.change_authority(authorized_programs=programs)
    summaries = [governed.put_summary(owner.pubkey(), program=each) for each in programs]
    assert_refused(attempt(governed, owner, summaries[:-1]), "PositionSummaryMissing")
    assert attempt(governed, owner, summaries).error is None
    governed.put_summary(owner.pubkey(), program=programs[-1], open_positions=1)
    assert_refused(attempt(governed, owner, summaries), "OpenPositionsExist")
