"""A vault's total before an event: the first one after a slot tells what the vault held then."""

from __future__ import annotations

from solders.pubkey import Pubkey

from cvms.chain.program.events.events import (
    DepositEvent,
    EmergencyWithdrawEvent,
    Event,
    TransferEvent,
    UpdateUsdtMintEvent,
    VaultClosedEvent,
    WithdrawEvent,
    YieldCompoundEvent,
)


def total_before(event: Event, vault: Pubkey) -> int | None:
    """Return a vault's total before an event; None for an event that leaves it as it is.

    Before a compounding it is what was lent, which is a part of the total.
    """
    before: int | None = None
    match event:
        case DepositEvent() if event.vault == vault:
            before = event.new_total_balance - event.amount
        case WithdrawEvent() | EmergencyWithdrawEvent() if event.vault == vault:
            before = event.new_total_balance + event.amount
        case TransferEvent() if event.to_vault == vault:
            before = event.to_new_total_balance - event.amount
        case TransferEvent() if event.from_vault == vault:
            before = event.from_new_total_balance + event.amount
        case YieldCompoundEvent() if event.vault == vault:
            before = event.new_yield_balance - event.compounded_amount
        case VaultClosedEvent() | UpdateUsdtMintEvent() if event.vault == vault:
            before = 0
    return before


def may_end_a_mint(event: Event, vault: Pubkey) -> bool:
    """Return whether a vault may hold another mint after an event: its owner may open it anew."""
    return isinstance(event, VaultClosedEvent | UpdateUsdtMintEvent) and event.vault == vault
