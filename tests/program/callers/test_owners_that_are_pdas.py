"""Owners, delegates and governances that are PDAs of another program, such as a multisig's vault.

The puppet is that program: its PDA signs what the puppet calls, whoever signs the transaction.
"""

from collections.abc import Callable
from typing import Any

import pytest
from solders.instruction import AccountMeta, Instruction
from solders.keypair import Keypair
from solders.pubkey import Pubkey

from tests.program.harness import positions
from tests.program.harness.governing import LIMITS, accept, limit_transfers, propose
from tests.program.harness.instructions import build
from tests.program.harness.ledger import (
    MINT,
    POSITION_MANAGER,
    SOL,
    TOKEN,
    VAULT_IDL,
    Ledger,
    Outcome,
    add_delegate,
    deposit,
    initialize_vault,
    mint_data,
    readonly,
    summary_address,
    token_address,
    vault_address,
    withdraw,
)
from tests.program.harness.positions import (
    close_position,
    extended,
    init_position_summary,
    open_position,
    rebalance_collateral,
    summary_of,
    wrapped,
)
from tests.program.harness.puppet import own_address, puppet_call, with_puppet
from tests.program.harness.refusals import assert_refused

MULTISIG = own_address()
YIELD = Pubkey.from_string("Yie1d11111111111111111111111111111111111111")
LENT_TO = Pubkey.from_string("LentTo1111111111111111111111111111111111111")
NEW_MINT = Pubkey.from_string("NewMint111111111111111111111111111111111111")


@pytest.fixture
def traded(governed: Ledger) -> Ledger:
    """A chain whose only authorized program is the position manager, with the multisig program."""
    positions.with_position_manager(with_puppet(governed))
    governed.change_authority(cpi_enforced=True)
    governed.svm.airdrop(MULTISIG, 10 * SOL)
    governed.put_tokens(MULTISIG, 100)
    return governed


def execute(ledger: Ledger, given: Instruction) -> Outcome:
    """Have the multisig program execute the instruction, in a transaction that anyone pays for."""
    return ledger.send(puppet_call(ledger, given), ledger.wallet())


def must(ledger: Ledger, given: Instruction) -> None:
    outcome = execute(ledger, given)
    assert outcome.error is None, outcome


def held(ledger: Ledger, owner: Pubkey) -> tuple[int, int, int]:
    """Return the vault's available and locked balance, and what its summary claims."""
    vault, summary = ledger.vault(owner), summary_of(ledger, owner)
    return vault["available_balance"], vault["locked_balance"], summary["locked_amount"]


# Owners


def test_a_multisig_owns_a_vault_from_its_opening_to_its_closing(traded: Ledger) -> None:
    must(traded, initialize_vault(MULTISIG))
    must(traded, init_position_summary(MULTISIG, payer=MULTISIG))
    must(traded, deposit(MULTISIG, 100))
    must(traded, wrapped(open_position(MULTISIG, 60)))
    assert held(traded, MULTISIG) == (40, 60, 60)
    must(traded, wrapped(close_position(MULTISIG, 60)))
    assert held(traded, MULTISIG) == (100, 0, 0)
    summary = readonly(summary_address(vault_address(MULTISIG)))
    must(traded, withdraw(MULTISIG, 100, remaining=[summary]))
    assert traded.tokens(MULTISIG) == 100
    must(traded, build("close_vault", MULTISIG))
    assert traded.data(vault_address(MULTISIG)) == b""


@pytest.mark.parametrize("change", [open_position, close_position])
def test_a_multisig_is_a_delegate(traded: Ledger, change: Callable[..., Instruction]) -> None:
    owner = positions.trader(traded, deposited=100)
    traded.must(open_position(owner.pubkey(), 20), owner)
    given = wrapped(change(owner.pubkey(), 20, authority=MULTISIG))
    assert_refused(execute(traded, given), "Unauthorized")
    traded.must(add_delegate(owner.pubkey(), MULTISIG), owner)
    must(traded, given)
    locked = 40 if change is open_position else 0
    assert held(traded, owner.pubkey()) == (100 - locked, locked, locked)


def test_another_programs_pda_is_not_the_owner(traded: Ledger) -> None:
    """The same wrapper at another id signs with another PDA."""
    must(traded, initialize_vault(MULTISIG))
    must(traded, init_position_summary(MULTISIG, payer=MULTISIG))
    must(traded, deposit(MULTISIG, 100))
    stranger = Pubkey.from_string("Stranger11111111111111111111111111111111111")
    with_puppet(traded, stranger)
    given = wrapped(open_position(MULTISIG, 60, authority=own_address(stranger)))
    outcome = traded.send(puppet_call(traded, given, program=stranger), traded.wallet())
    assert_refused(outcome, "Unauthorized")
    assert held(traded, MULTISIG) == (100, 0, 0)


# Governance


GOVERNING: dict[str, dict[str, Any]] = {
    "add_authorized_program": {"program": YIELD},
    "remove_authorized_program": {"program": POSITION_MANAGER},
    "add_yield_program": {"program": YIELD},
    "remove_yield_program": {"program": LENT_TO},
    "set_freeze_flag": {"freeze": True},
    "set_cpi_enforced": {"cpi_enforced": False},
    "set_risk_level": {"risk_level": 7},
    "pause_withdrawals": {"seconds": 60},
    "set_transfer_limits": {"vault_daily": 10, "total_daily": 20},
}
# These have tests of their own.
NOT_ONLY_GOVERNANCE = {"initialize_vault_authority", "update_usdt_mint"}


def test_every_instruction_of_governance_is_tried() -> None:
    for name, described in VAULT_IDL.instructions.items():
        if "governance" in {account["name"] for account in described["accounts"]}:
            assert name in GOVERNING.keys() | NOT_ONLY_GOVERNANCE


@pytest.fixture
def governed_by_multisig(traded: Ledger) -> Ledger:
    traded.change_authority(governance=MULTISIG, yield_whitelist=[LENT_TO])
    return traded


@pytest.mark.parametrize("name", GOVERNING)
def test_a_multisig_governs(governed_by_multisig: Ledger, governance: Keypair, name: str) -> None:
    ledger, arguments = governed_by_multisig, GOVERNING[name]
    before = ledger.authority()
    former = ledger.send(build(name, governance.pubkey(), **arguments), governance)
    assert_refused(former, "Unauthorized")
    must(ledger, build(name, MULTISIG, **arguments))
    assert ledger.authority() != before


def test_governance_goes_to_a_multisig_and_from_there_to_another_key(
    traded: Ledger, governance: Keypair
) -> None:
    traded.must(propose(governance.pubkey(), MULTISIG), governance)
    must(traded, accept(MULTISIG))
    assert traded.authority()["governance"] == MULTISIG
    successor = traded.wallet()
    must(traded, propose(MULTISIG, successor.pubkey()))
    traded.must(accept(successor.pubkey()), successor)
    assert traded.authority()["governance"] == successor.pubkey()


def test_a_multisig_rebalances(governed_by_multisig: Ledger) -> None:
    ledger = governed_by_multisig
    giver, taker = (positions.trader(ledger, deposited=50) for _ in range(2))
    ledger.must(open_position(giver.pubkey(), 30), giver)
    given = rebalance_collateral(MULTISIG, giver.pubkey(), taker.pubkey(), 10)
    assert_refused(execute(ledger, given), "UnauthorizedProgram")
    must(ledger, wrapped(given))
    must(ledger, limit_transfers(MULTISIG, 15, 15))
    summary = AccountMeta(summary_address(vault_address(giver.pubkey())), False, True)
    must(ledger, wrapped(extended(given, LIMITS, summary)))
    assert held(ledger, giver.pubkey()) == (20, 10, 10)
    over = execute(ledger, wrapped(extended(given, LIMITS, summary)))
    assert_refused(over, "TransferLimitExceeded")
    assert [ledger.tokens(vault_address(each.pubkey())) for each in (giver, taker)] == [30, 70]


def test_a_multisig_pays_owners_out_of_what_is_locked(governed_by_multisig: Ledger) -> None:
    ledger = governed_by_multisig
    owner = positions.trader(ledger, deposited=100)
    ledger.must(open_position(owner.pubkey(), 100), owner)
    must(ledger, build("emergency_withdraw", owner.pubkey(), authority=MULTISIG, amount=100))
    assert ledger.tokens(owner.pubkey()) == 100


def test_a_multisig_gives_an_empty_vault_another_mint(governed_by_multisig: Ledger) -> None:
    ledger = governed_by_multisig
    owner = ledger.owner().pubkey()
    ledger.put(NEW_MINT, TOKEN, mint_data())
    tokens = token_address(vault_address(owner), NEW_MINT)
    accounts = {"new_mint": NEW_MINT, "vault_token_account": tokens}
    must(ledger, build("update_usdt_mint", owner, authority=MULTISIG, accounts=accounts))
    assert ledger.vault(owner)["usdt_mint"] == NEW_MINT != MINT
