"""Instructions that the first release lacks, on its vaults and its authority after an upgrade."""

from __future__ import annotations

import pytest
from solders.keypair import Keypair

from tests.program.deployment.exchange import DAY, DELAY, Exchange
from tests.program.harness import governing
from tests.program.harness.guard_changes import WEEK, min_delay, whitelisted
from tests.program.harness.instructions import build
from tests.program.harness.ledger import (
    POSITION_MANAGER,
    START,
    readonly,
    summary_address,
    vault_address,
)
from tests.program.harness.positions import (
    close_position,
    extended,
    rebalance_collateral,
    settle_position_summary,
    summary_of,
)
from tests.program.harness.refusals import assert_refused


@pytest.fixture(autouse=True)
def upgraded(exchange: Exchange, full: Keypair, trader: Keypair, saver: Keypair) -> None:
    """The exchange is upgraded once its vaults are filled."""
    exchange.upgrade()


def test_requests_and_timelocks_of_before_can_be_cancelled(
    exchange: Exchange, full: Keypair
) -> None:
    """Nothing tells who made a timelock of before: it counts as the owner's own."""
    key = full.pubkey()
    exchange.act(full, "cancel_withdraw_request", amount=400, executable_at=START + DELAY)
    exchange.act(full, "cancel_timelock", amount=100, unlock_time=START + DAY)
    state = exchange.ledger.vault(key)
    assert (state["pending_withdrawals"], state["requested_total"]) == ([], 0)
    assert state["timelocks"] == [
        {"amount": 200, "unlock_time": START + DELAY},
        {"amount": 100, "unlock_time": START + DELAY},
    ]


def test_guards_of_before_hold_up_what_loosens_them(exchange: Exchange, full: Keypair) -> None:
    alone = exchange.ledger.send(min_delay(0).at_once(full), full)
    assert_refused(alone, "GuardInForce")
    loosened, unwanted = min_delay(1), whitelisted(Keypair().pubkey())
    exchange.ledger.later(1)
    exchange.run(loosened.request(full), full)
    exchange.run(unwanted.request(full), full)
    exchange.run(unwanted.cancel(full.pubkey(), by=exchange.cosigner), full, exchange.cosigner)
    exchange.ledger.later(WEEK)
    exchange.run(loosened.apply(full), full)
    assert exchange.ledger.vault(full.pubkey())["min_withdraw_delay_seconds"] == 1


def test_collateral_that_governance_took_does_not_keep_an_owner(
    exchange: Exchange, trader: Keypair
) -> None:
    key, governance = trader.pubkey(), exchange.governance
    seizure = build("emergency_withdraw", key, authority=governance.pubkey(), amount=700)
    exchange.run(seizure, governance)
    exchange.run(settle_position_summary(key), trader)
    assert summary_of(exchange.ledger, key)["locked_amount"] == 300
    exchange.run(build("request_exit", key), trader)
    exchange.ledger.set_time(START + WEEK)
    exchange.run(close_position(key, 100), trader)
    summary = readonly(summary_address(vault_address(key)))
    release = build("release_unclaimed", key, remaining=[summary])
    assert_refused(exchange.ledger.send(release, trader), "NotFound")
    exchange.govern("remove_authorized_program", POSITION_MANAGER)
    exchange.run(build("release_unclaimed", key), trader)
    exchange.run(build("emergency_withdraw", key, amount=300), trader)
    assert exchange.ledger.tokens(key) == 1_000


def test_transfers_between_vaults_of_before_can_be_limited(
    exchange: Exchange, full: Keypair, trader: Keypair
) -> None:
    governance, key = exchange.governance, trader.pubkey()
    exchange.run(governing.limit_transfers(governance.pubkey(), 650, 650), governance)
    exchange.run(build("set_transfer_allowance", key, amount=50), trader)
    transfer = rebalance_collateral(governance.pubkey(), key, full.pubkey(), 650)
    assert exchange.ledger.send(transfer, governance).error is not None
    exchange.run(extended(transfer, governing.LIMITS), governance)
    state = exchange.ledger.vault(key)
    assert (state["locked_balance"], state["available_balance"]) == (0, 350)
    assert state["transferred_in_window"] == 650


def test_the_authority_of_before_pauses_and_is_handed_over(
    exchange: Exchange, saver: Keypair
) -> None:
    governance, heir = exchange.governance, exchange.ledger.wallet()
    exchange.run(governing.pause(governance.pubkey(), DAY), governance)
    summary = readonly(summary_address(vault_address(saver.pubkey())))
    withdrawal = build("withdraw", saver.pubkey(), remaining=[summary], amount=1)
    assert_refused(exchange.ledger.send(withdrawal, saver), "WithdrawalsPaused")
    exchange.run(governing.propose(governance.pubkey(), heir.pubkey()), governance)
    exchange.run(governing.accept(heir.pubkey()), heir)
    exchange.run(governing.pause(heir.pubkey(), 0), heir)
    exchange.run(withdrawal, saver)
    authority = exchange.ledger.authority()
    assert authority["governance"] == heir.pubkey()
    assert authority["withdrawals_paused_until"] == 0


def test_the_upgrade_authority_takes_a_leaked_governance_back(exchange: Exchange) -> None:
    heir, upgrader = exchange.ledger.wallet(), exchange.loader.authority
    exchange.run(governing.recover(upgrader.pubkey(), heir.pubkey()), upgrader)
    exchange.run(governing.accept(heir.pubkey()), heir)
    assert exchange.ledger.authority()["governance"] == heir.pubkey()


def test_tokens_that_were_sent_to_a_vault_of_before_are_swept(
    exchange: Exchange, saver: Keypair
) -> None:
    exchange.ledger.put_tokens(vault_address(saver.pubkey()), 100 + 7)
    exchange.run(build("sweep", saver.pubkey()), saver)
    assert exchange.ledger.tokens(saver.pubkey()) == 7
