"""Only authorized signers open, close or rebalance, and no account can be substituted."""

from collections.abc import Callable

import pytest
from solders.instruction import Instruction
from solders.keypair import Keypair
from solders.pubkey import Pubkey

from tests.program.harness import ledger as chain
from tests.program.harness import positions
from tests.program.harness.ledger import (
    POSITION_MANAGER,
    PROGRAM,
    TOKEN,
    Ledger,
    summary_address,
    vault_address,
)
from tests.program.harness.positions import close_position, open_position, rebalance_collateral
from tests.program.harness.refusals import assert_refused
from tests.program.position_manager.test_position_manager import NO_VAULTS

CHANGES = [open_position, close_position]
Change = Callable[..., Instruction]
BEHIND = 210 + 4 + 4
"""Where the vault's list of delegates ends if there are neither signers nor delegates."""


@pytest.fixture
def traded(governed: Ledger) -> Ledger:
    """A chain whose only authorized program is the position manager."""
    return positions.with_position_manager(governed)


@pytest.fixture
def owner(traded: Ledger) -> Keypair:
    """The owner of a vault of 100, 60 of it locked for a position."""
    owner = positions.trader(traded, deposited=100)
    traded.change_vault(owner.pubkey(), locked_balance=60, available_balance=40)
    traded.put_summary(owner.pubkey(), open_positions=1, locked_amount=60)
    return owner


def refused(ledger: Ledger, given: Instruction, name: str, *signers: Keypair) -> None:
    """Assert the refusal, and that the vault program was never called."""
    outcome = ledger.send(given, *signers)
    assert_refused(outcome, name)
    assert not any(line.startswith(f"Program {PROGRAM} invoke") for line in outcome.logs)


@pytest.mark.parametrize("change", CHANGES)
def test_only_the_owner_or_a_delegate_moves_collateral(
    traded: Ledger, owner: Keypair, governance: Keypair, change: Change
) -> None:
    other, multisig_signer, former = (positions.trader(traded) for _ in range(3))
    keys = [multisig_signer.pubkey()]
    traded.change_vault(owner.pubkey(), multisig_threshold=1, multisig_signers=keys)
    traded.must(chain.add_delegate(owner.pubkey(), former.pubkey()), owner)
    traded.must(chain.remove_delegate(owner.pubkey(), former.pubkey()), owner)
    for thief in (other, multisig_signer, former, governance):
        given = change(owner.pubkey(), 10, authority=thief.pubkey())
        refused(traded, given, "Unauthorized", thief)


@pytest.mark.parametrize("change", CHANGES)
def test_what_follows_the_delegates_is_none(traded: Ledger, owner: Keypair, change: Change) -> None:
    stranger, vault = traded.wallet(), vault_address(owner.pubkey())
    traded.change_vault(owner.pubkey(), multisig_signers=[], delegates=[])
    data = traded.data(vault)
    traded.put(vault, PROGRAM, data[:BEHIND] + bytes(stranger.pubkey()) + data[BEHIND + 32 :])
    given = change(owner.pubkey(), 10, authority=stranger.pubkey())
    refused(traded, given, "Unauthorized", stranger)


@pytest.mark.parametrize("change", CHANGES)
def test_a_whitelisted_wallet_is_not_a_delegate(
    traded: Ledger, owner: Keypair, change: Change
) -> None:
    friend = traded.wallet()
    keys = [friend.pubkey()]
    traded.change_vault(owner.pubkey(), delegates=[], withdraw_whitelist=keys)
    given = change(owner.pubkey(), 10, authority=friend.pubkey())
    refused(traded, given, "Unauthorized", friend)


@pytest.mark.parametrize("change", CHANGES)
def test_the_authority_must_sign(traded: Ledger, owner: Keypair, change: Change) -> None:
    payer = traded.wallet()
    given = chain.without(change(owner.pubkey(), 10), signer=6)
    refused(traded, given, "AccountNotSigner", payer)


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("index", [3, 4])
def test_vault_and_summary_are_writable(
    traded: Ledger, owner: Keypair, change: Change, index: int
) -> None:
    given = chain.without(change(owner.pubkey(), 10), writable=index)
    refused(traded, given, "ConstraintMut", owner)


@pytest.mark.parametrize("change", CHANGES)
def test_an_amount_of_zero_is_no_position(traded: Ledger, owner: Keypair, change: Change) -> None:
    refused(traded, change(owner.pubkey(), 0), "InvalidAmount", owner)


@pytest.mark.parametrize("amount", [61, 2**64 - 1])
def test_no_more_is_closed_than_is_open(traded: Ledger, owner: Keypair, amount: int) -> None:
    refused(traded, close_position(owner.pubkey(), amount), "InsufficientFunds", owner)


def test_collateral_locked_by_another_program_cannot_be_closed(
    traded: Ledger, owner: Keypair
) -> None:
    traded.put_summary(owner.pubkey(), open_positions=0, locked_amount=0)
    refused(traded, close_position(owner.pubkey(), 1), "InsufficientFunds", owner)


def test_sums_that_do_not_fit_are_refused(traded: Ledger, owner: Keypair) -> None:
    traded.put_summary(owner.pubkey(), open_positions=1, locked_amount=2**64 - 1)
    refused(traded, open_position(owner.pubkey(), 1), "Overflow", owner)
    traded.put_summary(owner.pubkey(), open_positions=2**64 - 1, locked_amount=1)
    refused(traded, open_position(owner.pubkey(), 1), "Overflow", owner)


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize(
    ("account", "refusal"),
    [
        ("caller_program", "UnauthorizedProgram"),
        ("instructions", "AccountSysvarMismatch"),
        ("collateral_vault_program", "InvalidProgramId"),
    ],
)
def test_only_the_programs_and_sysvars_of_the_interface_are_accepted(
    traded: Ledger, owner: Keypair, change: Change, account: str, refusal: str
) -> None:
    for fake in (TOKEN, Keypair().pubkey(), chain.RENT):
        refused(traded, change(owner.pubkey(), 10, **{account: fake}), refusal, owner)


@pytest.mark.parametrize("change", CHANGES)
def test_a_vault_accepts_only_its_own_summary(
    traded: Ledger, owner: Keypair, change: Change
) -> None:
    other = positions.trader(traded, deposited=100)
    own, others = vault_address(owner.pubkey()), vault_address(other.pubkey())
    # An owner may not open a position on another's summary, nor the reverse.
    given = change(owner.pubkey(), 10, position_summary=summary_address(others))
    refused(traded, given, "ConstraintSeeds", owner)
    given = change(owner.pubkey(), 10, vault=others, position_summary=summary_address(own))
    refused(traded, given, "ConstraintSeeds", owner)
    given = change(owner.pubkey(), 10, vault=others, position_summary=summary_address(others))
    refused(traded, given, "Unauthorized", owner)


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize(("forge", "refusal"), NO_VAULTS)
def test_no_account_replaces_the_vault(
    traded: Ledger,
    owner: Keypair,
    change: Change,
    forge: Callable[[Ledger, Keypair], Pubkey],
    refusal: str,
) -> None:
    refused(traded, change(owner.pubkey(), 10, vault=forge(traded, owner)), refusal, owner)


def never_created(ledger: Ledger, _: Keypair) -> Pubkey:
    return summary_address(vault_address(ledger.owner().pubkey()))


def written_by_another_program(ledger: Ledger, owner: Keypair) -> Pubkey:
    address = summary_address(vault_address(owner.pubkey()))
    ledger.put(address, PROGRAM, ledger.data(address))
    return address


def of_another_kind(ledger: Ledger, owner: Keypair) -> Pubkey:
    address = summary_address(vault_address(owner.pubkey()))
    ledger.put(address, POSITION_MANAGER, bytes(8) + ledger.data(address)[8:])
    return address


def cut_short(ledger: Ledger, owner: Keypair) -> Pubkey:
    address = summary_address(vault_address(owner.pubkey()))
    ledger.put(address, POSITION_MANAGER, ledger.data(address)[:-1])
    return address


def a_copy_elsewhere(ledger: Ledger, owner: Keypair) -> Pubkey:
    address = Keypair().pubkey()
    ledger.put(
        address, POSITION_MANAGER, ledger.data(summary_address(vault_address(owner.pubkey())))
    )
    return address


def for_another_vault(ledger: Ledger, owner: Keypair) -> Pubkey:
    return ledger.put_summary(owner.pubkey(), vault=Keypair().pubkey())


def for_another_owner(ledger: Ledger, owner: Keypair) -> Pubkey:
    return ledger.put_summary(owner.pubkey(), owner=Keypair().pubkey())


def the_vault(_: Ledger, owner: Keypair) -> Pubkey:
    return vault_address(owner.pubkey())


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize(
    ("forge", "refusal"),
    [
        (never_created, "AccountNotInitialized"),
        (written_by_another_program, "AccountOwnedByWrongProgram"),
        (of_another_kind, "AccountDiscriminatorMismatch"),
        (cut_short, "AccountDidNotDeserialize"),
        (a_copy_elsewhere, "ConstraintSeeds"),
        (for_another_vault, "ConstraintSeeds"),
        (for_another_owner, "ConstraintSeeds"),
        (the_vault, "AccountOwnedByWrongProgram"),
    ],
)
def test_no_account_replaces_the_summary(
    traded: Ledger,
    owner: Keypair,
    change: Change,
    forge: Callable[[Ledger, Keypair], Pubkey],
    refusal: str,
) -> None:
    given = change(owner.pubkey(), 10, position_summary=forge(traded, owner))
    refused(traded, given, refusal, owner)


@pytest.mark.parametrize("field", ["multisig_signers", "delegates"])
def test_a_list_beyond_its_capacity_is_refused(traded: Ledger, owner: Keypair, field: str) -> None:
    delegate = traded.wallet()
    vault = vault_address(owner.pubkey())
    data = traded.data(vault)
    at = {"multisig_signers": 210, "delegates": 214}[field]
    capacity = {"multisig_signers": 10, "delegates": 16}[field]
    entries = bytes(delegate.pubkey()) * (capacity + 1)
    longer = data[:at] + (capacity + 1).to_bytes(4, "little") + entries
    traded.put(vault, PROGRAM, longer.ljust(len(data), b"\0"))
    given = open_position(owner.pubkey(), 10, authority=delegate.pubkey())
    refused(traded, given, "AccountDidNotDeserialize", delegate)


# Rebalancing


def test_only_governance_rebalances(traded: Ledger, owner: Keypair) -> None:
    taker = positions.trader(traded)
    for thief in (owner, taker, traded.wallet()):
        given = rebalance_collateral(thief.pubkey(), owner.pubkey(), taker.pubkey(), 10)
        refused(traded, given, "Unauthorized", thief)


def test_governance_must_sign_a_rebalance(
    traded: Ledger, owner: Keypair, governance: Keypair
) -> None:
    taker, payer = positions.trader(traded), traded.wallet()
    given = rebalance_collateral(governance.pubkey(), owner.pubkey(), taker.pubkey(), 10)
    refused(traded, chain.without(given, signer=9), "AccountNotSigner", payer)


@pytest.mark.parametrize("index", [3, 4, 5, 6])
def test_vaults_and_tokens_of_a_rebalance_are_writable(
    traded: Ledger, owner: Keypair, governance: Keypair, index: int
) -> None:
    taker = positions.trader(traded)
    given = rebalance_collateral(governance.pubkey(), owner.pubkey(), taker.pubkey(), 10)
    refused(traded, chain.without(given, writable=index), "ConstraintMut", governance)


def test_a_rebalance_of_nothing_is_refused(
    traded: Ledger, owner: Keypair, governance: Keypair
) -> None:
    taker = positions.trader(traded)
    given = rebalance_collateral(governance.pubkey(), owner.pubkey(), taker.pubkey(), 0)
    refused(traded, given, "InvalidAmount", governance)


@pytest.mark.parametrize(
    ("account", "refusal"),
    [
        ("caller_program", "UnauthorizedProgram"),
        ("instructions", "AccountSysvarMismatch"),
        ("token_program", "InvalidProgramId"),
        ("collateral_vault_program", "InvalidProgramId"),
    ],
)
def test_a_rebalance_accepts_only_the_programs_of_the_interface(
    traded: Ledger, owner: Keypair, governance: Keypair, account: str, refusal: str
) -> None:
    keys = owner.pubkey(), positions.trader(traded).pubkey()
    for fake in (chain.ASSOCIATED, Keypair().pubkey(), chain.RENT):
        given = rebalance_collateral(governance.pubkey(), *keys, 10, **{account: fake})
        refused(traded, given, refusal, governance)


def test_a_forged_authority_account_makes_nobody_governance(traded: Ledger, owner: Keypair) -> None:
    thief = positions.trader(traded)
    real = traded.data(chain.authority_address())
    forged = real[:8] + bytes(thief.pubkey()) + real[40:]
    elsewhere, outside = Keypair().pubkey(), Keypair().pubkey()
    traded.put(elsewhere, PROGRAM, forged)
    traded.put(outside, POSITION_MANAGER, forged)
    for fake, refusal in (
        (elsewhere, "ConstraintSeeds"),
        (outside, "ConstraintSeeds"),
        (vault_address(thief.pubkey()), "AccountDiscriminatorMismatch"),
        (Keypair().pubkey(), "AccountNotInitialized"),
    ):
        given = rebalance_collateral(
            thief.pubkey(), owner.pubkey(), thief.pubkey(), 10, vault_authority=fake
        )
        refused(traded, given, refusal, thief)
