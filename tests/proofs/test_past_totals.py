"""What an event tells of a vault before it."""

from __future__ import annotations

import pytest
from solders.pubkey import Pubkey

from cvms.chain.program.events import events
from cvms.chain.program.events.events import Event
from cvms.proofs.past_totals import may_end_a_mint, total_before

VAULT, OTHER = Pubkey([3] * 32), Pubkey([4] * 32)


@pytest.mark.parametrize(
    ("event", "expected"),
    [
        (events.DepositEvent(VAULT, OTHER, 5, 12, 12), 7),
        (events.WithdrawEvent(VAULT, OTHER, 5, 12, 12), 17),
        (events.EmergencyWithdrawEvent(VAULT, OTHER, OTHER, 5, 0, 0, 0), 5),
        (events.TransferEvent(OTHER, VAULT, 5, 1, 5), 0),
        (events.TransferEvent(VAULT, OTHER, 5, 1, 5), 6),
        (events.YieldCompoundEvent(VAULT, OTHER, OTHER, 5, 25, 0), 20),
        (events.VaultClosedEvent(VAULT, OTHER), 0),
        (events.DepositEvent(OTHER, VAULT, 5, 12, 12), None),
        (events.LockEvent(VAULT, OTHER, 5, 12, 12), None),
        (events.UpdateUsdtMintEvent(VAULT, OTHER, OTHER), 0),
    ],
    ids=lambda each: type(each).__name__ if not isinstance(each, int | None) else str(each),
)
def test_an_event_tells_the_total_before_it(event: Event, expected: int | None) -> None:
    assert total_before(event, VAULT) == expected


def test_a_closing_or_another_mint_may_end_a_mint() -> None:
    assert may_end_a_mint(events.VaultClosedEvent(VAULT, OTHER), VAULT)
    assert may_end_a_mint(events.UpdateUsdtMintEvent(VAULT, OTHER, OTHER), VAULT)
    assert not may_end_a_mint(events.VaultClosedEvent(OTHER, VAULT), VAULT)
    assert not may_end_a_mint(events.DepositEvent(VAULT, OTHER, 5, 12, 12), VAULT)
