"""Which vaults count at each event, decided on plain values."""

from __future__ import annotations

from solders.pubkey import Pubkey

from cvms.chain.program.events.events import (
    DepositEvent,
    Event,
    FreezeFlagSetEvent,
    TransferEvent,
    UpdateUsdtMintEvent,
    VaultClosedEvent,
)
from cvms.chain.program.events.touched_vaults import ClosedVault, OpenedVault
from cvms.nursery.ledger.mint_tracker import MintTracker
from cvms.store.index.vault_mints import VaultMint

OURS, OTHER = Pubkey.new_unique(), Pubkey.new_unique()
ALICE, VAULT, BOB, BOBS = (Pubkey.new_unique() for _ in range(4))
KNOWN = VaultMint(str(VAULT), str(ALICE), ours=True)
Life = OpenedVault | ClosedVault
COUNTS = {str(VAULT): str(ALICE)}


def deposit() -> Event:
    return DepositEvent(VAULT, ALICE, 1, 1, 1)


def opened(mint: Pubkey) -> OpenedVault:
    return OpenedVault(ALICE, VAULT, Pubkey.new_unique(), mint)


def test_a_vault_counts_as_it_was_opened() -> None:
    for mint, expected in ((OURS, COUNTS), (OTHER, {})):
        mints = MintTracker(str(OURS), [])
        assert mints.apply([opened(mint)], [deposit()]) == [expected]
        assert mints.apply([], [deposit()]) == [expected]


def test_a_vault_that_nobody_opened_counts_for_nothing() -> None:
    assert MintTracker(str(OURS), []).apply([], [deposit(), FreezeFlagSetEvent(True)]) == [{}, {}]


def test_a_closing_parts_the_events_of_two_lives() -> None:
    mints = MintTracker(str(OURS), [KNOWN])
    closing = VaultClosedEvent(VAULT, ALICE)
    lives: list[Life] = [ClosedVault(VAULT), opened(OTHER), ClosedVault(VAULT), opened(OURS)]
    events = [deposit(), closing, deposit(), closing, deposit()]
    assert mints.apply(lives, events) == [COUNTS, COUNTS, {}, {}, COUNTS]


def test_a_life_that_began_and_ended_in_one_transaction_counts_from_its_start() -> None:
    mints = MintTracker(str(OURS), [])
    closing = VaultClosedEvent(VAULT, ALICE)
    lives: list[Life] = [opened(OURS), ClosedVault(VAULT), opened(OTHER)]
    assert mints.apply(lives, [deposit(), closing, deposit()]) == [COUNTS, COUNTS, {}]
    assert mints.tracked.keys() == {str(VAULT)}


def test_logs_cut_short_before_a_closing_hide_no_later_life() -> None:
    mints = MintTracker(str(OURS), [KNOWN])
    mints.apply([ClosedVault(VAULT), opened(OTHER)], [deposit()])
    assert mints.apply([], [deposit()]) == [{}]


def test_a_change_of_mint_holds_from_its_event_on() -> None:
    mints = MintTracker(str(OURS), [KNOWN])
    away, back = UpdateUsdtMintEvent(VAULT, OURS, OTHER), UpdateUsdtMintEvent(VAULT, OTHER, OURS)
    events = [deposit(), away, deposit(), back, deposit()]
    assert [bool(each) for each in mints.apply([], events)] == [True, True, False, False, True]


def test_of_two_vaults_each_counts_by_itself() -> None:
    known = [KNOWN, VaultMint(str(BOBS), str(BOB), ours=False)]
    transfer = TransferEvent(VAULT, BOBS, 1, 1, 1)
    assert MintTracker(str(OURS), known).apply([], [transfer]) == [COUNTS]


def test_only_what_became_known_is_to_be_kept() -> None:
    mints = MintTracker(str(OURS), [KNOWN])
    mints.apply([], [deposit()])
    assert mints.changed == {}
    mints.apply([], [UpdateUsdtMintEvent(VAULT, OURS, OTHER)])
    assert list(mints.changed.values()) == [VaultMint(str(VAULT), str(ALICE), ours=False)]
