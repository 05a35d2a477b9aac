"""Mint tracker: which vaults hold our mint at each event."""

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
STORED = VaultMint(str(VAULT), str(ALICE), ours=True)
TRACKED = {str(VAULT): str(ALICE)}


def deposit() -> Event:
    return DepositEvent(VAULT, ALICE, 1, 1, 1)


def opened(mint: Pubkey) -> OpenedVault:
    return OpenedVault(ALICE, VAULT, Pubkey.new_unique(), mint)


def test_the_mint_is_that_of_the_opening() -> None:
    for mint, expected in ((OURS, TRACKED), (OTHER, {})):
        mints = MintTracker(str(OURS), [])
        assert mints.apply([opened(mint)], [deposit()]) == [expected]
        assert mints.apply([], [deposit()]) == [expected]


def test_a_vault_without_a_known_opening_is_not_tracked() -> None:
    assert MintTracker(str(OURS), []).apply([], [deposit(), FreezeFlagSetEvent(True)]) == [{}, {}]


def test_events_before_and_after_a_closing_have_different_mints() -> None:
    mints = MintTracker(str(OURS), [STORED])
    closing = VaultClosedEvent(VAULT, ALICE)
    lifecycle: list[OpenedVault | ClosedVault] = [
        ClosedVault(VAULT),
        opened(OTHER),
        ClosedVault(VAULT),
        opened(OURS),
    ]
    events = [deposit(), closing, deposit(), closing, deposit()]
    assert mints.apply(lifecycle, events) == [TRACKED, TRACKED, {}, {}, TRACKED]


def test_a_vault_opened_and_closed_in_one_transaction_is_tracked() -> None:
    mints = MintTracker(str(OURS), [])
    closing = VaultClosedEvent(VAULT, ALICE)
    lifecycle: list[OpenedVault | ClosedVault] = [opened(OURS), ClosedVault(VAULT), opened(OTHER)]
    assert mints.apply(lifecycle, [deposit(), closing, deposit()]) == [TRACKED, TRACKED, {}]
    assert mints.tracked.keys() == {str(VAULT)}


def test_an_opening_applies_although_truncated_logs_lack_the_closing() -> None:
    mints = MintTracker(str(OURS), [STORED])
    mints.apply([ClosedVault(VAULT), opened(OTHER)], [deposit()])
    assert mints.apply([], [deposit()]) == [{}]


def test_a_change_of_mint_applies_from_its_event_on() -> None:
    mints = MintTracker(str(OURS), [STORED])
    away, back = UpdateUsdtMintEvent(VAULT, OURS, OTHER), UpdateUsdtMintEvent(VAULT, OTHER, OURS)
    events = [deposit(), away, deposit(), back, deposit()]
    assert [bool(each) for each in mints.apply([], events)] == [True, True, False, False, True]


def test_the_two_vaults_of_an_event_are_tracked_separately() -> None:
    stored = [STORED, VaultMint(str(BOBS), str(BOB), ours=False)]
    transfer = TransferEvent(VAULT, BOBS, 1, 1, 1)
    assert MintTracker(str(OURS), stored).apply([], [transfer]) == [TRACKED]


def test_only_changes_are_to_be_stored() -> None:
    mints = MintTracker(str(OURS), [STORED])
    mints.apply([], [deposit()])
    assert mints.changed == {}
    mints.apply([], [UpdateUsdtMintEvent(VAULT, OURS, OTHER)])
    assert list(mints.changed.values()) == [VaultMint(str(VAULT), str(ALICE), ours=False)]
