"""The capacity of a vault and the authority, filled by real instructions, which work when full."""

from typing import Any

import pytest
from solders.keypair import Keypair
from solders.message import MessageV0
from solders.transaction import VersionedTransaction

from tests.program.harness.compute_costs import ON_PROGRAMS, ON_VAULTS, MeasuredChain
from tests.program.harness.effects import changes, refused
from tests.program.harness.full_vault import (
    DELAY,
    KEYS,
    PROGRAMS,
    fill_vault,
    list_programs,
    made_up,
)
from tests.program.harness.instructions import build
from tests.program.harness.ledger import (
    START,
    Ledger,
    govern,
    readonly,
    signer,
    summary_address,
    vault_address,
    withdraw,
)
from tests.program.harness.many_programs import PACKET, put_table, withdraw_with_programs
from tests.program.harness.refusals import assert_refused

OTHER = Keypair().pubkey()
HELD = sum(range(1, 65)) + 1  # what the requests of a full vault are for, and one to request
# The instruction that adds an entry to each list of a vault.
ADDITIONS: dict[str, tuple[str, dict[str, Any]]] = {
    "timelocks": ("schedule_timelock", {"amount": 1, "duration_seconds": 9}),
    "pending_withdrawals": ("request_withdraw", {"amount": 1}),
    "withdraw_whitelist": ("add_withdraw_whitelist", {"address": OTHER}),
    "delegates": ("add_delegate", {"delegate": OTHER}),
    "multisig_signers": ("set_vault_multisig", {"signers": KEYS[:11], "threshold": 0}),
}
DEFAULT_UNITS = 200_000  # of a transaction with one instruction that requests no other limit


@pytest.fixture
def owner(governed: Ledger) -> Keypair:
    """The owner of a vault with every list full."""
    owner = governed.owner(deposited=HELD)
    fill_vault(governed, owner)
    return owner


@pytest.mark.parametrize("field", ADDITIONS)
def test_one_entry_more_than_a_list_holds_is_refused(
    governed: Ledger, owner: Keypair, field: str
) -> None:
    capacities = {"timelocks": 64, "pending_withdrawals": 64, "withdraw_whitelist": 32}
    capacities |= {"delegates": 16, "multisig_signers": 10}
    assert len(governed.vault(owner.pubkey())[field]) == capacities[field]
    name, arguments = ADDITIONS[field]
    if field == "withdraw_whitelist":  # which the delay of a full vault would hold up
        governed.change_vault(owner.pubkey(), min_withdraw_delay_seconds=0)
    one_more = build(name, owner.pubkey(), **arguments)
    refused(governed, owner.pubkey(), one_more, owner, error="Overflow")


@pytest.mark.parametrize(
    ("kind", "field"),
    [("authorized", "authorized_programs"), ("yield", "yield_whitelist")],
)
def test_one_program_more_than_the_authority_lists_is_refused(
    governed: Ledger, governance: Keypair, kind: str, field: str
) -> None:
    for each in ("authorized", "yield"):
        list_programs(governed, governance, each)
    before = governed.authority()
    assert before[field] == made_up(PROGRAMS, 2)
    one_more = govern(f"add_{kind}_program", governance.pubkey(), value=OTHER)
    assert_refused(governed.send(one_more, governance), "Overflow")
    assert governed.authority() == before


def test_a_full_vault_stores_every_entry(governed: Ledger, owner: Keypair) -> None:
    state = governed.vault(owner.pubkey())
    assert state["timelocks"] == [
        {"amount": 1, "unlock_time": START + seconds} for seconds in range(1, 65)
    ]
    times = {"requested_at": START, "executable_at": START + DELAY}
    assert state["pending_withdrawals"] == [{"amount": each} | times for each in range(1, 65)]
    assert state["withdraw_whitelist"] == KEYS
    assert state["delegates"] == KEYS[:16]
    assert state["multisig_signers"] == KEYS[:10]
    assert (state["min_withdraw_delay_seconds"], state["rate_limit_amount"]) == (DELAY, 2**63)
    assert (state["total_balance"], state["available_balance"]) == (HELD, HELD - 64)


EVERYTHING = {name: (order, 1) for name, order in ON_VAULTS.items()} | {
    name: (order, PROGRAMS) for name, order in ON_PROGRAMS.items()
}


@pytest.mark.parametrize("name", EVERYTHING)
def test_everything_works_while_all_lists_are_full(name: str) -> None:
    order, authorized = EVERYTHING[name]
    chain = MeasuredChain(entries=64, authorized=authorized)
    assert chain.ledger.must(*order(chain)).units <= DEFAULT_UNITS


def test_removed_entries_leave_no_trace_in_a_full_vault(governed: Ledger, owner: Keypair) -> None:
    """Lists are packed: entries behind a removed one move, and the freed bytes are zeroed."""
    key = owner.pubkey()
    unlisted = build("remove_withdraw_whitelist", key, address=KEYS[0])
    changes(governed, key, unlisted, owner, withdraw_whitelist=KEYS[1:])
    dismissed = build("remove_delegate", key, delegate=KEYS[0])
    changes(governed, key, dismissed, owner, delegates=KEYS[1:16])
    disabled = build("disable_vault_multisig", key)
    changes(governed, key, disabled, owner, multisig_signers=[])
    signed = build("set_vault_multisig", key, signers=KEYS[5:15], threshold=0)
    changes(governed, key, signed, owner, multisig_signers=KEYS[5:15])


@pytest.mark.parametrize("seconds", [1, 33, 64])
def test_a_full_vault_releases_matured_timelocks(
    governed: Ledger, owner: Keypair, seconds: int
) -> None:
    before = governed.vault(owner.pubkey())
    governed.set_time(START + seconds)
    governed.must(build("release_timelocks", owner.pubkey()), owner)
    assert governed.vault(owner.pubkey()) == before | {
        "available_balance": HELD - 64 + seconds,
        "timelocks": before["timelocks"][seconds:],
    }


def test_a_full_vault_can_be_emptied_and_closed(governed: Ledger, owner: Keypair) -> None:
    key = owner.pubkey()
    governed.set_time(START + DELAY)
    governed.must(withdraw(key, HELD - 1), owner)
    governed.must(build("request_withdraw", key, amount=1), owner)
    governed.set_time(START + 2 * DELAY)
    governed.must(withdraw(key, 1), owner)
    governed.must(build("close_vault", key), owner)
    assert governed.tokens(key) == HELD


# Programs that a withdrawal must check


@pytest.mark.parametrize("created", [True, False])
def test_a_transaction_names_26_programs_summaries(created: bool) -> None:
    largest = withdraw_with_programs(26, created=created)
    assert largest.size <= PACKET < withdraw_with_programs(27, created=created).size
    assert largest.units() <= DEFAULT_UNITS


@pytest.mark.parametrize("created", [True, False])
def test_a_transaction_with_a_lookup_table_names_57_programs_summaries(created: bool) -> None:
    largest = withdraw_with_programs(57, created=created, table=True)
    assert (largest.size <= PACKET, largest.locks()) == (True, 64)
    assert largest.units() <= DEFAULT_UNITS


def test_with_64_authorized_programs_only_the_emergency_withdrawal_works() -> None:
    """The transaction would lock too many accounts: governance must not list so many programs."""
    every = withdraw_with_programs(PROGRAMS, created=True, table=True)
    assert every.locks() == 71
    assert every.error() == "TransactionErrorFieldless.TooManyAccountLocks"
    chain = MeasuredChain(entries=64, authorized=PROGRAMS)
    chain.ledger.must(*chain.unguarded().by_owner("emergency_withdraw", amount=1))


# Required signers


def signed_by(count: int, *, table: bool = False) -> VersionedTransaction:
    """Return a withdrawal with `count` signers, not the owner, and one position summary."""
    ledger, owner = Ledger(), Keypair().pubkey()
    first, *others = signers = [Keypair() for _ in range(count)]
    remaining = [readonly(summary_address(vault_address(owner)))]
    remaining += [signer(other.pubkey()) for other in others]
    given = withdraw(owner, 1, authority=first.pubkey(), remaining=remaining)
    named = [meta.pubkey for meta in given.accounts if not meta.is_signer]
    tables = [put_table(ledger, named)] if table else []
    blockhash = ledger.svm.latest_blockhash()
    message = MessageV0.try_compile(first.pubkey(), [given], tables, blockhash)
    return VersionedTransaction(message, signers)


def test_nine_signatures_fit_into_a_withdrawal_and_ten_with_a_lookup_table() -> None:
    assert len(bytes(signed_by(9))) <= PACKET < len(bytes(signed_by(10)))
    assert len(bytes(signed_by(10, table=True))) <= PACKET
