"""Vaults of the first release under the programs of today, after an upgrade by the loader."""

from __future__ import annotations

from typing import Any

from solders.keypair import Keypair
from solders.pubkey import Pubkey

from cvms.chain.program.upgradeable_loader import PROGRAM_DATA_HEADER
from tests.paths import PROGRAMS
from tests.program.deployment.exchange import (
    DAY,
    DELAY,
    FIRST,
    FRIEND,
    IDS,
    Exchange,
    open_vault,
)
from tests.program.harness import pools
from tests.program.harness.instructions import build
from tests.program.harness.ledger import (
    MINT,
    START,
    TOKEN,
    VAULT_IDL,
    VAULT_RESERVE,
    authority_address,
    initialize_vault,
    instruction,
    mint_data,
    program_data_address,
    readonly,
    signer,
    summary_address,
    token_address,
    vault_address,
)
from tests.program.harness.positions import (
    close_position,
    init_position_summary,
    open_position,
    rebalance_collateral,
    summary_of,
)
from tests.program.harness.refusals import assert_refused
from tests.program.harness.venues import YEAR

OTHER_MINT = Pubkey([6] * 32)
INSTRUCTIONS = (FIRST / "instructions.txt").read_text().split()
"""All of the first release, but the one that initializes the authority and succeeds only once."""


def test_the_loader_runs_the_programs_of_today(exchange: Exchange) -> None:
    exchange.upgrade()
    for name, program in IDS.items():
        code = exchange.ledger.data(program_data_address(program))[PROGRAM_DATA_HEADER:]
        assert code.rstrip(b"\0") == (PROGRAMS / f"{name}.so").read_bytes().rstrip(b"\0")


def test_every_field_reads_as_before(exchange: Exchange, full: Keypair) -> None:
    exchange.upgrade()
    key = full.pubkey()
    vault = vault_address(key)
    assert exchange.ledger.vault(key) == VAULT_RESERVE | {
        "owner": key,
        "token_account": token_address(vault),
        "usdt_mint": MINT,
        "total_balance": 9_950,
        "locked_balance": 1_000,
        "available_balance": 6_350,
        "total_deposited": 10_000,
        "total_withdrawn": 50,
        "yield_deposited_balance": 2_300,
        "yield_accrued_balance": 0,
        "last_compounded_at": 0,
        "active_yield_program": exchange.venue.program,
        "created_at": START,
        "bump": Pubkey.find_program_address([b"vault", bytes(key)], IDS["collateral_vault"])[1],
        "multisig_threshold": 2,
        "multisig_signers": [key, exchange.cosigner.pubkey()],
        "delegates": [exchange.delegate.pubkey()],
        "timelocks": [
            {"amount": 200, "unlock_time": START + DELAY},
            {"amount": 100, "unlock_time": START + DAY},
        ],
        "min_withdraw_delay_seconds": DELAY,
        "pending_withdrawals": [
            {"amount": 400, "requested_at": START, "executable_at": START + DELAY}
        ],
        "withdraw_whitelist": [FRIEND],
        "rate_window_seconds": DAY,
        "rate_limit_amount": 5_000,
        "last_withdrawal_window_start": START,
        "withdrawn_in_window": 50,
        "yield_kept": 300,
    }
    authority = exchange.ledger.authority()
    assert authority["governance"] == exchange.governance.pubkey()
    assert authority["authorized_programs"] == [IDS["position_manager"]]
    assert authority["yield_whitelist"] == [IDS["yield_pool"]]
    assert (authority["cpi_enforced"], authority["risk_level"]) == (True, 3)
    assert summary_of(exchange.ledger, key)["locked_amount"] == 1_000
    assert exchange.venue.position_state(key)["principal"] == 2_000


def test_what_was_refused_is_refused_for_the_same_reason(exchange: Exchange, full: Keypair) -> None:
    before = refusals(exchange, full)
    assert before == {
        "one of two signers": "Unauthorized",
        "to a stranger": "Unauthorized",
        "while a position is open": "OpenPositionsExist",
    }
    exchange.upgrade()
    assert refusals(exchange, full) == before


def refusals(exchange: Exchange, full: Keypair) -> dict[str, str]:
    """Return the errors with which the vault refuses withdrawals that it must not allow."""
    ledger, key, cosigner = exchange.ledger, full.pubkey(), exchange.cosigner
    summary = readonly(summary_address(vault_address(key)))
    both = [summary, signer(cosigner.pubkey())]
    elsewhere = {"user_token_account": token_address(ledger.wallet().pubkey())}
    alone = build("withdraw", key, remaining=[summary], amount=1)
    open_still = build("withdraw", key, remaining=both, amount=1)
    away = build("withdraw", key, remaining=both, amount=1, accounts=elsewhere)
    codes = {
        "one of two signers": ledger.send(alone, full).error,
        "to a stranger": ledger.send(away, full, cosigner).error,
        "while a position is open": ledger.send(open_still, full, cosigner).error,
    }
    names = {code: error["name"] for code, error in VAULT_IDL.errors.items()}
    return {what: names[code] for what, code in codes.items() if isinstance(code, int)}


def test_nobody_becomes_governance_a_second_time(exchange: Exchange) -> None:
    exchange.upgrade()
    stranger = exchange.ledger.wallet()
    accounts = {"governance": stranger.pubkey(), "vault_authority": authority_address()}
    arguments: dict[str, Any] = {"authorized_programs": [], "freeze": None}
    again = instruction("initialize_vault_authority", arguments, accounts)
    assert exchange.ledger.send(again, stranger).error is not None
    assert exchange.ledger.authority()["governance"] == exchange.governance.pubkey()


def test_every_instruction_works_on_vaults_of_the_first_release(
    exchange: Exchange, full: Keypair, trader: Keypair
) -> None:
    empty = open_vault(exchange, 0)
    exchange.upgrade()
    trade(exchange, full, trader)
    take_all_out(exchange, full)
    govern(exchange, trader, empty)
    open_anew(exchange)
    titles = {"".join(word.capitalize() for word in name.split("_")) for name in INSTRUCTIONS}
    assert exchange.succeeded >= titles, titles - exchange.succeeded


def trade(exchange: Exchange, full: Keypair, trader: Keypair) -> None:
    """Use positions, timelocks and requests that were made before the upgrade."""
    key, ledger = full.pubkey(), exchange.ledger
    exchange.run(build("get_vault_info", key), full)
    exchange.run(build("deposit", key, amount=500), full)
    move = rebalance_collateral(exchange.governance.pubkey(), trader.pubkey(), key, 100)
    exchange.run(move, exchange.governance)
    assert ledger.vault(trader.pubkey())["total_balance"] == 900
    exchange.run(open_position(key, 10, authority=exchange.delegate.pubkey()), exchange.delegate)
    exchange.run(close_position(key, 10, authority=exchange.delegate.pubkey()), exchange.delegate)
    exchange.run(close_position(key, 1_000), full)
    exchange.act(full, "request_withdraw", amount=1_000)
    ledger.set_time(START + DELAY)
    exchange.withdraw(full, 1_400)
    assert ledger.vault(key)["pending_withdrawals"] == []
    assert ledger.tokens(key) == 50 + 1_400
    ledger.set_time(START + DAY)
    exchange.run(build("release_timelocks", key), full)
    assert ledger.vault(key)["timelocks"] == []


def take_all_out(exchange: Exchange, full: Keypair) -> None:
    """Take back what was lent with its interest, end every guard, and close the vault."""
    key, ledger = full.pubkey(), exchange.ledger
    ledger.set_time(START + YEAR)
    exchange.earn(full, "compound_yield", 100)
    exchange.earn(full, "yield_deposit", 10)
    exchange.earn(full, "yield_withdraw", 2_110)
    exchange.earn(full, "yield_withdraw", 300, call=False)
    exchange.act(full, "schedule_timelock", amount=1, duration_seconds=0)
    exchange.act(full, "remove_withdraw_whitelist", address=FRIEND)
    exchange.act(full, "remove_delegate", delegate=exchange.delegate.pubkey())
    exchange.act(full, "set_withdraw_rate_limit", window_seconds=0, max_amount=0)
    exchange.act(full, "set_withdraw_min_delay", seconds=0)
    exchange.act(full, "disable_vault_multisig")
    exchange.run(build("emergency_withdraw", key, amount=1_000), full)
    exchange.withdraw(full, ledger.vault(key)["total_balance"])
    assert ledger.tokens(key) == 10_000 + 500 + 100 + 100
    exchange.owners.remove(full)
    exchange.run(build("close_vault", key), full)
    assert ledger.data(vault_address(key)) == b""


def govern(exchange: Exchange, trader: Keypair, empty: Keypair) -> None:
    """Use governance of before the upgrade, on vaults of then."""
    ledger, key = exchange.ledger, exchange.governance.pubkey()
    exchange.govern("set_freeze_flag", True)
    refusal = ledger.send(open_position(trader.pubkey(), 1), trader)
    assert_refused(refusal, "Frozen")
    rescue = build("emergency_withdraw", trader.pubkey(), authority=key, amount=900)
    exchange.run(rescue, exchange.governance)
    assert ledger.tokens(trader.pubkey()) == 900
    exchange.govern("set_freeze_flag", False)
    for kind in ("authorized", "yield"):
        exchange.govern(f"add_{kind}_program", FRIEND)
        exchange.govern(f"remove_{kind}_program", FRIEND)
    exchange.govern("set_cpi_enforced", False)
    exchange.govern("set_risk_level", 0)
    ledger.put(OTHER_MINT, TOKEN, mint_data())
    accounts = {
        "new_mint": OTHER_MINT,
        "vault_token_account": token_address(vault_address(empty.pubkey()), OTHER_MINT),
    }
    update = build("update_usdt_mint", empty.pubkey(), authority=key, accounts=accounts)
    exchange.owners.remove(empty)
    exchange.run(update, exchange.governance)


def open_anew(exchange: Exchange) -> None:
    """Open a vault, a pool and what belongs to them as every user does."""
    owner = exchange.ledger.wallet(usdt=100)
    key = owner.pubkey()
    exchange.run(instruction("initialize", {}, {}), owner)
    exchange.run(initialize_vault(key), owner)
    exchange.run(init_position_summary(key, payer=key), owner)
    exchange.act(owner, "add_delegate", delegate=FRIEND)
    exchange.act(owner, "add_withdraw_whitelist", address=FRIEND)
    exchange.act(owner, "set_vault_multisig", signers=[key], threshold=1)
    pool = pools.pool_address(key)
    exchange.run(pools.initialize_pool(key, 100), owner)
    exchange.run(pools.set_rate(key, pool, 200), owner)
    exchange.run(pools.fund_reserve(key, pool, 10), owner)
