"""Methods about the economy of a cluster: supply, inflation, stake, performance."""

from __future__ import annotations

from solders.pubkey import Pubkey

from cvms.localnet.node.node import Node
from cvms.localnet.rpc.call.params import Params, read_pubkey
from cvms.localnet.rpc.call.rpc_errors import (
    block_cleaned_up,
    block_not_available,
    invalid_params,
    slot_not_epoch_boundary,
)
from cvms.localnet.rpc.call.serde import MAX_U64
from cvms.localnet.rpc.call.view import View, open_view
from cvms.localnet.rpc.methods.transaction_history import require_confirmed
from cvms.localnet.types import Json

LARGEST_ACCOUNTS = 20
MAX_SAMPLES = 720
SAMPLE_SECONDS = 60
NON_CIRCULATING = (
    "5smrYwb1Hr2T8XMnvsqccTgXxuqQs14iuE8RbHFYf2Cf",
    "5q54XjQ7vDx4y6KphPeE97LUNiYGtP55spjvXAWPGBuf",
)
"""Two of the accounts of mainnet that a validator lists on every cluster."""

MINIMUM_DELEGATION = 1_000_000_000
INITIAL, TERMINAL, TAPER, FOUNDATION, FOUNDATION_TERM = 0.08, 0.015, 0.15, 0.05, 7.0
"""The inflation of a cluster at its genesis."""


def get_supply(node: Node, params: Params) -> Json:
    """Return the supply. As on a test validator, no listed account exists, so all circulates."""
    config = params.options(0)
    view = open_view(node, config)
    total = sum(lamports for _, lamports in _balances(view))
    hidden = config.flag("excludeNonCirculatingAccountsList")
    return view.with_context(
        {
            "total": total,
            "circulating": total,
            "nonCirculating": 0,
            "nonCirculatingAccounts": [] if hidden else list(NON_CIRCULATING),
        }
    )


def get_largest_accounts(node: Node, params: Params) -> Json:
    config = params.options(0)
    view = open_view(node, config)
    if config.text("filter", "circulating") == "nonCirculating":
        return view.with_context([])
    shown = sorted(((lamports, str(key)) for key, lamports in _balances(view)), reverse=True)
    return view.with_context(
        [{"address": key, "lamports": lamports} for lamports, key in shown[:LARGEST_ACCOUNTS]]
    )


def _balances(view: View) -> list[tuple[Pubkey, int]]:
    accounts = ((key, view.account(key)) for key in view.chain.accounts.written_keys())
    return [(key, account.lamports) for key, account in accounts if account is not None]


def get_inflation_governor(node: Node, params: Params) -> Json:
    return {
        "initial": INITIAL,
        "terminal": TERMINAL,
        "taper": TAPER,
        "foundation": FOUNDATION,
        "foundationTerm": FOUNDATION_TERM,
    }


def get_inflation_rate(node: Node, params: Params) -> Json:
    epoch = node.chain.vm.epochs.get_epoch(node.tip.slot)
    foundation = INITIAL * FOUNDATION
    return {
        "total": INITIAL,
        "validator": INITIAL - foundation,
        "foundation": foundation,
        "epoch": epoch,
    }


def get_inflation_reward(node: Node, params: Params) -> Json:
    """Return null for each address once the epoch is over: there are no rewards."""
    keys, config = [read_pubkey(text) for text in params.list(0)], params.options(1)
    view = open_view(node, config)
    epochs = node.chain.vm.epochs
    epoch = config.number("epoch")
    epoch = max(epochs.get_epoch(view.block.slot) - 1, 0) if epoch is None else epoch
    first = epochs.get_first_slot_in_epoch(min(epoch + 1, MAX_U64))
    if first < node.first_slot:
        raise block_cleaned_up(first, first=node.first_slot)
    require_confirmed(config)
    found = node.chain.ledger.block_slots(first, view.block.slot, 1)
    block = node.block(found[0]) if found else None
    if block is None:
        raise block_not_available(first)
    if block.parent_slot >= first:
        raise slot_not_epoch_boundary(block.slot)
    return [None for _ in keys]


def get_stake_minimum_delegation(node: Node, params: Params) -> Json:
    return open_view(node, params.options(0)).with_context(MINIMUM_DELEGATION)


def get_recent_performance_samples(node: Node, params: Params) -> Json:
    """Return what each minute of slots held, newest first."""
    limit = MAX_SAMPLES if params.at(0) is None else params.integer(0)
    if limit > MAX_SAMPLES:
        raise invalid_params(f"Invalid limit; max {MAX_SAMPLES}")
    chain = node.chain
    slots = max(round(SAMPLE_SECONDS / chain.timing.slot_seconds), 1)
    newest = node.tip.slot - node.tip.slot % slots
    samples = []
    for slot in range(newest, 0, -slots)[:limit]:
        earlier = chain.ledger.entry_count(after=slot - slots)
        transactions = earlier - chain.ledger.entry_count(after=slot)
        samples.append(
            {
                "slot": slot,
                "numTransactions": transactions,
                "numNonVoteTransactions": transactions,
                "numSlots": len(chain.ledger.block_slots(slot - slots + 1, slot, slots)),
                "samplePeriodSecs": SAMPLE_SECONDS,
            }
        )
    return samples
