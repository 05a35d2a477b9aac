"""Initialization of the authority account and of each owner's vault."""

from typing import Any

import pytest
from solders.keypair import Keypair
from solders.pubkey import Pubkey
from solders.rent import Rent

from tests.program.harness import ledger as chain
from tests.program.harness.ledger import (
    AUTHORITY_RESERVE,
    MINT,
    PROGRAM,
    SOL,
    START,
    SYSTEM,
    TOKEN,
    VAULT_RESERVE,
    Ledger,
    initialize_vault,
    initialize_vault_authority,
    vault_address,
)
from tests.program.harness.refusals import assert_refused

KEYS = [Pubkey.from_bytes(bytes([number]) * 32) for number in range(1, 66)]


def test_the_upgrade_authority_becomes_governance(ledger: Ledger) -> None:
    governance = ledger.wallet()
    programs = KEYS[:3]
    outcome = ledger.initialize_authority(governance, programs, freeze=True)
    assert ledger.authority() == {
        "governance": governance.pubkey(),
        "authorized_programs": programs,
        "bump": Pubkey.find_program_address([b"vault_authority"], PROGRAM)[1],
        "freeze": True,
        "cpi_enforced": False,
        "yield_whitelist": [],
        "risk_level": 0,
        **AUTHORITY_RESERVE,
    }
    expected = {"governance": governance.pubkey(), "authorized_programs_len": 3, "freeze": True}
    assert outcome.events == (("VaultAuthorityInitializedEvent", expected),)


@pytest.mark.parametrize(("given", "stored"), [(None, False), (False, False), (True, True)])
def test_the_freeze_flag_is_off_unless_asked_for(
    ledger: Ledger, given: bool | None, stored: bool
) -> None:
    governance = ledger.wallet()
    ledger.initialize_authority(governance, freeze=given)
    assert ledger.authority()["freeze"] is stored


def test_nobody_can_become_governance_after_the_first(
    governed: Ledger, governance: Keypair
) -> None:
    thief = governed.wallet()
    governed.set_upgrade_authority(thief.pubkey())
    outcome = governed.send(initialize_vault_authority(thief.pubkey()), thief)
    assert_refused(outcome, "AlreadyInitialized")
    assert governed.authority()["governance"] == governance.pubkey()


def test_the_same_program_cannot_be_authorized_twice(ledger: Ledger) -> None:
    governance = ledger.wallet()
    ledger.set_upgrade_authority(governance.pubkey())
    outcome = ledger.send(
        initialize_vault_authority(governance.pubkey(), [KEYS[0], KEYS[1], KEYS[0]]), governance
    )
    assert_refused(outcome, "AlreadyExists")
    assert ledger.data(chain.authority_address()) == b""


def test_an_authority_at_another_address_is_refused(ledger: Ledger) -> None:
    governance = ledger.wallet()
    for address in (Keypair().pubkey(), vault_address(governance.pubkey())):
        accounts = {"governance": governance.pubkey(), "vault_authority": address}
        arguments: dict[str, Any] = {"authorized_programs": [], "freeze": None}
        given = chain.instruction("initialize_vault_authority", arguments, accounts)
        outcome = ledger.send(given, governance)
        assert_refused(outcome, "ConstraintSeeds")


def test_a_new_vault_is_empty_and_belongs_to_its_owner(ledger: Ledger) -> None:
    owner = ledger.wallet()
    ledger.must(initialize_vault(owner.pubkey()), owner)
    vault, bump = Pubkey.find_program_address([b"vault", bytes(owner.pubkey())], PROGRAM)
    state = ledger.vault(owner.pubkey())
    expected = {
        "owner": owner.pubkey(),
        "token_account": chain.token_address(vault),
        "usdt_mint": MINT,
        "active_yield_program": SYSTEM,
        "created_at": START,
        "bump": bump,
        **VAULT_RESERVE,
    }
    assert {name: state[name] for name in expected} == expected
    assert not any(value for name, value in state.items() if name not in expected)
    assert ledger.data(chain.token_address(vault)) == chain.token_data(vault, 0)


def test_a_new_vault_is_rent_exempt_at_its_maximal_length(ledger: Ledger) -> None:
    owner = ledger.wallet()
    ledger.must(initialize_vault(owner.pubkey()), owner)
    account = ledger.svm.get_account(vault_address(owner.pubkey()))
    assert account is not None
    assert account.owner == PROGRAM
    assert account.lamports == ledger.svm.minimum_balance_for_rent_exemption(chain.VAULT_LENGTH)


@pytest.mark.parametrize("dust", [1, SOL // 100, SOL])
def test_lamports_sent_to_the_address_before_do_not_block_a_vault(
    ledger: Ledger, dust: int
) -> None:
    owner = ledger.wallet()
    ledger.put(vault_address(owner.pubkey()), SYSTEM, b"", dust)
    ledger.must(initialize_vault(owner.pubkey()), owner)
    account = ledger.svm.get_account(vault_address(owner.pubkey()))
    rent = ledger.svm.minimum_balance_for_rent_exemption(chain.VAULT_LENGTH)
    assert account is not None
    assert account.lamports == max(dust, rent)
    assert ledger.vault(owner.pubkey())["owner"] == owner.pubkey()


def test_lamports_sent_to_the_address_before_do_not_block_the_authority(ledger: Ledger) -> None:
    governance = ledger.wallet()
    ledger.put(chain.authority_address(), SYSTEM, b"", 5)
    ledger.initialize_authority(governance, KEYS[:2])
    assert ledger.authority()["authorized_programs"] == KEYS[:2]


def test_an_existing_token_account_of_the_vault_is_used(ledger: Ledger) -> None:
    owner = ledger.wallet()
    vault = vault_address(owner.pubkey())
    ledger.put_tokens(vault, 7)
    ledger.must(initialize_vault(owner.pubkey()), owner)
    assert ledger.vault(owner.pubkey())["total_balance"] == 0
    assert ledger.tokens(vault) == 7


def test_a_vault_cannot_be_created_twice(ledger: Ledger) -> None:
    owner = ledger.owner(deposited=5)
    before = ledger.vault(owner.pubkey())
    assert_refused(ledger.send(initialize_vault(owner.pubkey()), owner), "AlreadyInitialized")
    assert ledger.vault(owner.pubkey()) == before


def test_a_vault_at_another_address_is_refused(ledger: Ledger) -> None:
    owner, other = ledger.wallet(), ledger.wallet()
    for address in (vault_address(other.pubkey()), chain.authority_address(), Keypair().pubkey()):
        outcome = ledger.send(initialize_vault(owner.pubkey(), vault=address), owner)
        assert_refused(outcome, "ConstraintSeeds")


def test_the_token_account_must_be_the_vaults_associated_one(ledger: Ledger) -> None:
    owner = ledger.wallet()
    vault = vault_address(owner.pubkey())
    own = ledger.put_tokens(vault, 0, address=Keypair().pubkey())
    for address in (own, chain.token_address(owner.pubkey()), vault):
        outcome = ledger.send(initialize_vault(owner.pubkey(), vault_token_account=address), owner)
        assert_refused(outcome, "ConstraintAssociated")


def test_the_mint_must_be_a_mint_of_the_token_program(ledger: Ledger) -> None:
    owner = ledger.wallet()
    vault = vault_address(owner.pubkey())

    def outcome_with(mint: Pubkey) -> chain.Outcome:
        address = chain.token_address(vault, mint)
        return ledger.send(
            initialize_vault(owner.pubkey(), usdt_mint=mint, vault_token_account=address), owner
        )

    fake = Keypair().pubkey()
    ledger.put(fake, SYSTEM, chain.mint_data())
    assert_refused(outcome_with(fake), "InvalidTokenProgramOwner")
    unset = Keypair().pubkey()
    ledger.put(unset, TOKEN, bytes(82))
    assert_refused(outcome_with(unset), "AccountNotInitialized")
    assert_refused(outcome_with(chain.token_address(owner.pubkey())), "AccountNotInitialized")


LARGEST = 1 << 32
"""Lamports for a byte and year."""


@pytest.mark.parametrize(("lamports", "threshold"), [(10, 1.0), (10, 256.0), (LARGEST, 1.0)])
def test_a_rent_of_any_power_of_two_is_paid_exactly(
    governed: Ledger, lamports: int, threshold: float
) -> None:
    governed.svm.set_rent(Rent(lamports, threshold, 50))
    owner = Keypair()
    governed.svm.airdrop(owner.pubkey(), 100_000 * SOL)
    governed.must(initialize_vault(owner.pubkey()), owner)
    length = len(governed.data(vault_address(owner.pubkey())))
    paid = governed.svm.get_balance(vault_address(owner.pubkey()))
    assert paid == (128 + length) * lamports * threshold


@pytest.mark.parametrize(
    ("lamports", "threshold"), [(10, 1.5), (10, 0.5), (10, 512.0), (LARGEST + 1, 1.0)]
)
def test_a_rent_that_is_not_computed_exactly_is_refused(
    governed: Ledger, lamports: int, threshold: float
) -> None:
    owner = Keypair()
    governed.svm.airdrop(owner.pubkey(), 100_000 * SOL)
    governed.svm.set_rent(Rent(lamports, threshold, 50))
    outcome = governed.send(initialize_vault(owner.pubkey()), owner)
    assert outcome.error == "InstructionErrorFieldless.UnsupportedSysvar"
