"""Collateral moves only when an authorized program calls the vault program itself.

`PUPPET` stands for any authorized program. `STRANGER` is the same program, not authorized.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import pytest
from solders.account import Account
from solders.instruction import AccountMeta, Instruction
from solders.keypair import Keypair
from solders.pubkey import Pubkey

from tests.program.harness import positions
from tests.program.harness.effects import changes
from tests.program.harness.ledger import (
    POSITION_MANAGER,
    PROGRAM,
    SYSTEM,
    Ledger,
    Outcome,
    authority_address,
    change_lock,
    deposit,
    get_vault_info,
    govern,
    summary_address,
    token_address,
    transfer_collateral,
    vault_address,
    withdraw,
    without,
)
from tests.program.harness.positions import close_position, open_position, rebalance_collateral
from tests.program.harness.puppet import PUPPET, puppet_call, with_puppet
from tests.program.harness.refusals import assert_refused

STRANGER = Pubkey.from_string("Stranger11111111111111111111111111111111111")
SYSVARS = Pubkey.from_string("Sysvar1111111111111111111111111111111111111")

EFFECTS = {
    "lock_collateral": {"locked_balance": 50, "available_balance": 50},
    "unlock_collateral": {"locked_balance": 30, "available_balance": 70},
    "transfer_collateral": {"total_balance": 90, "locked_balance": 30},
}
each_call = pytest.mark.parametrize("name", EFFECTS)
enforced_or_not = pytest.mark.parametrize("enforced", [False, True], ids=["free", "enforced"])


@dataclass(frozen=True, slots=True)
class Market:
    """A vault of 100 units with 40 of them locked, another vault, and two authorized programs."""

    ledger: Ledger
    governance: Keypair
    owner: Keypair
    taker: Keypair
    payer: Keypair

    def call(
        self, name: str, /, *, caller_program: Pubkey = PUPPET, **substitutes: Pubkey
    ) -> Instruction:
        """Return the vault program's instruction, which moves ten units of the owner's."""
        owner, accounts = self.owner.pubkey(), {"caller_program": caller_program, **substitutes}
        if name == "transfer_collateral":
            return transfer_collateral(owner, self.taker.pubkey(), 10, **accounts)
        return change_lock(name, owner, 10, **accounts)

    def trade(self, name: str) -> Instruction:
        """Return the position manager's instruction that makes this call."""
        owner, governance = self.owner.pubkey(), self.governance.pubkey()
        if name == "transfer_collateral":
            return rebalance_collateral(governance, owner, self.taker.pubkey(), 10)
        return {"lock_collateral": open_position, "unlock_collateral": close_position}[name](
            owner, 10
        )

    def moves(self, name: str, given: Instruction, *signers: Keypair) -> None:
        """Assert that the instruction succeeds and moves exactly these ten units."""
        owner = self.owner.pubkey()
        changes(self.ledger, owner, given, self.payer, *signers, **EFFECTS[name])

    def refuses(
        self, *given: Instruction, by: Sequence[Keypair] = (), error: str = "UnauthorizedProgram"
    ) -> Outcome:
        """Assert that the vault program refuses it and that no account changes."""
        before = self._accounts(given)
        outcome = self.ledger.send(given, self.payer, *by)
        assert_refused(outcome, error)
        failed = f"Program {PROGRAM} failed: custom program error: "
        assert any(line.startswith(failed) for line in outcome.logs), outcome
        assert self._accounts(given) == before
        return outcome

    def _accounts(self, given: Sequence[Instruction]) -> dict[Pubkey, Account | None]:
        """Return all accounts but the payer that the transaction or the call could change."""
        addresses = {meta.pubkey for instruction in given for meta in instruction.accounts}
        for wallet in (self.owner.pubkey(), self.taker.pubkey()):
            vault = vault_address(wallet)
            addresses |= {wallet, vault, summary_address(vault)}
            addresses |= {token_address(wallet), token_address(vault)}
        addresses.add(authority_address())
        return {address: self.ledger.svm.get_account(address) for address in addresses}


def open_market(governed: Ledger, governance: Keypair) -> Market:
    positions.with_position_manager(governed)
    with_puppet(with_puppet(governed), STRANGER)
    owner = positions.trader(governed, deposited=100)
    governed.must(open_position(owner.pubkey(), 40), owner)
    governed.must(govern("add_authorized_program", governance.pubkey(), value=PUPPET), governance)
    return Market(governed, governance, owner, governed.owner(deposited=5), governed.wallet())


@pytest.fixture
def market(governed: Ledger, governance: Keypair) -> Market:
    return open_market(governed, governance)


# The caller


@each_call
@enforced_or_not
def test_an_authorized_program_moves_collateral_by_calling_itself(
    market: Market, name: str, enforced: bool
) -> None:
    market.ledger.change_authority(cpi_enforced=enforced)
    market.moves(name, puppet_call(market.ledger, market.call(name)))


@each_call
@enforced_or_not
def test_the_position_manager_moves_collateral_as_an_authorized_program(
    market: Market, name: str, enforced: bool
) -> None:
    market.ledger.change_authority(cpi_enforced=enforced)
    trader = market.governance if name == "transfer_collateral" else market.owner
    market.moves(name, market.trade(name), trader)


@each_call
@pytest.mark.parametrize("named", [POSITION_MANAGER, STRANGER, PROGRAM], ids=str)
def test_a_caller_that_must_name_itself_cannot_name_another(
    market: Market, name: str, named: Pubkey
) -> None:
    market.ledger.change_authority(cpi_enforced=True)
    market.refuses(puppet_call(market.ledger, market.call(name, caller_program=named)))


@each_call
@pytest.mark.parametrize("named", [POSITION_MANAGER, STRANGER, SYSTEM], ids=str)
def test_the_named_caller_is_ignored_unless_it_is_required(
    market: Market, name: str, named: Pubkey
) -> None:
    market.moves(name, puppet_call(market.ledger, market.call(name, caller_program=named)))


@each_call
@enforced_or_not
@pytest.mark.parametrize("named", [PUPPET, POSITION_MANAGER, STRANGER], ids=str)
def test_an_unauthorized_program_moves_nothing_whatever_it_names(
    market: Market, name: str, enforced: bool, named: Pubkey
) -> None:
    market.ledger.change_authority(cpi_enforced=enforced)
    called = market.call(name, caller_program=named)
    market.refuses(puppet_call(market.ledger, called, program=STRANGER))


# The depth of the call


@each_call
@pytest.mark.parametrize(
    "authorized",
    [[POSITION_MANAGER], [PUPPET], [POSITION_MANAGER, PUPPET]],
    ids=["the position manager", "who calls it", "both"],
)
def test_nobody_moves_collateral_through_the_position_manager(
    market: Market, name: str, authorized: list[Pubkey]
) -> None:
    market.ledger.change_authority(authorized_programs=authorized)
    trader = market.governance if name == "transfer_collateral" else market.owner
    outcome = market.refuses(puppet_call(market.ledger, market.trade(name)), by=[trader])
    assert f"Program {PROGRAM} invoke [3]" in outcome.logs


@each_call
@enforced_or_not
@pytest.mark.parametrize("inner", [PUPPET, STRANGER], ids=str)
@pytest.mark.parametrize("outer", [PUPPET, STRANGER], ids=str)
def test_a_callers_caller_gives_and_gains_no_authority(
    market: Market, name: str, enforced: bool, inner: Pubkey, outer: Pubkey
) -> None:
    market.ledger.change_authority(cpi_enforced=enforced)
    called = puppet_call(market.ledger, market.call(name), program=inner)
    market.refuses(puppet_call(market.ledger, called, program=outer))


# Other instructions in the transaction


Given = list[Instruction]


def among(neighbours: Given, given: Instruction) -> list[Given]:
    """Return transactions with the neighbours before it, after it, and on both sides."""
    return [[*neighbours, given], [given, *neighbours], [*neighbours, given, *neighbours]]


def honest(market: Market) -> Given:
    """Return an instruction of each authorized program that locks one unit."""
    owner = market.owner.pubkey()
    lock = change_lock("lock_collateral", owner, 1, caller_program=PUPPET)
    return [open_position(owner, 1), puppet_call(market.ledger, lock)]


@each_call
@enforced_or_not
def test_an_unauthorized_program_gains_nothing_from_other_instructions(
    market: Market, name: str, enforced: bool
) -> None:
    market.ledger.change_authority(cpi_enforced=enforced)
    called = puppet_call(market.ledger, market.call(name), program=STRANGER)
    for given in among(honest(market), called):
        market.refuses(*given, by=[market.owner])


@each_call
@enforced_or_not
def test_a_direct_call_gains_nothing_from_other_instructions(
    market: Market, name: str, enforced: bool
) -> None:
    """Even if the vault program lists itself, since then it is the running program."""
    authorized = [POSITION_MANAGER, PUPPET, PROGRAM]
    market.ledger.change_authority(cpi_enforced=enforced, authorized_programs=authorized)
    called = market.call(name, caller_program=PROGRAM)
    market.refuses(called)
    for given in among(honest(market), called):
        market.refuses(*given, by=[market.owner])


@each_call
@enforced_or_not
@pytest.mark.parametrize("place", range(3), ids=["before", "after", "between"])
def test_other_instructions_do_not_affect_an_authorized_call(
    market: Market, name: str, enforced: bool, place: int
) -> None:
    ledger, owner = market.ledger, market.owner.pubkey()
    ledger.change_authority(cpi_enforced=enforced)
    foreign = [puppet_call(ledger, program=STRANGER), get_vault_info(owner)]
    before = ledger.vault(owner)
    given = among(foreign, puppet_call(ledger, market.call(name)))[place]
    assert ledger.send(given, market.payer).error is None
    assert ledger.vault(owner) == before | EFFECTS[name]


def test_one_transaction_may_hold_several_authorized_calls(market: Market) -> None:
    given = [*honest(market), *honest(market)]
    assert market.ledger.send(given, market.payer, market.owner).error is None
    assert market.ledger.vault(market.owner.pubkey())["locked_balance"] == 44


# Changes of the authority


@each_call
def test_a_removed_program_is_refused(market: Market, name: str) -> None:
    governance, call = market.governance, puppet_call(market.ledger, market.call(name))
    removed = govern("remove_authorized_program", governance.pubkey(), value=PUPPET)
    market.refuses(removed, call, by=[governance])
    market.ledger.must(removed, governance)
    market.refuses(call)
    trader = governance if name == "transfer_collateral" else market.owner
    market.moves(name, market.trade(name), trader)


@each_call
def test_freezing_stops_every_call_whoever_makes_it(market: Market, name: str) -> None:
    freeze = govern("set_freeze_flag", market.governance.pubkey(), value=True)
    market.ledger.must(freeze, market.governance)
    market.refuses(puppet_call(market.ledger, market.call(name)), error="Frozen")


# The instructions sysvar


def running(program: Pubkey) -> bytes:
    """Return an instructions sysvar with one instruction, of `program` and without accounts."""
    one, start, none = (number.to_bytes(2, "little") for number in (1, 4, 0))
    return one + start + none + bytes(program) + none + none


@each_call
@enforced_or_not
@pytest.mark.parametrize("program", [PUPPET, STRANGER], ids=str)
def test_a_forged_sysvar_is_not_read(
    market: Market, name: str, enforced: bool, program: Pubkey
) -> None:
    market.ledger.change_authority(cpi_enforced=enforced)
    for owner in (SYSTEM, SYSVARS, PROGRAM, program):
        forged = Keypair().pubkey()
        market.ledger.put(forged, owner, running(PUPPET))
        called = market.call(name, instructions=forged)
        for given in (called, puppet_call(market.ledger, called, program=program)):
            market.refuses(given, error="AccountSysvarMismatch")


# All other instructions check the signers, not the caller


@pytest.mark.parametrize("program", [PUPPET, STRANGER], ids=str)
@pytest.mark.parametrize("depth", [2, 3])
def test_owners_deposit_and_withdraw_through_any_program(
    governed: Ledger, program: Pubkey, depth: int
) -> None:
    with_puppet(governed, program)
    owner, payer = governed.owner(usdt=50, deposited=100), governed.wallet()
    key = owner.pubkey()

    def called(given: Instruction) -> Instruction:
        for _ in range(1, depth):
            given = puppet_call(governed, given, program=program)
        return given

    grown = {"total_balance": 110, "available_balance": 110, "total_deposited": 110}
    events = changes(governed, key, called(deposit(key, 10)), payer, owner, **grown)
    assert [event for event, _ in events] == ["DepositEvent", "TransactionEvent"]
    shrunk = {"total_balance": 80, "available_balance": 80, "total_withdrawn": 30}
    events = changes(governed, key, called(withdraw(key, 30)), payer, owner, **shrunk)
    assert [event for event, _ in events] == ["WithdrawEvent", "TransactionEvent"]
    assert (governed.tokens(vault_address(key)), governed.tokens(key)) == (80, 70)


def test_a_signature_that_is_not_passed_on_does_not_count(market: Market) -> None:
    key = market.owner.pubkey()
    for given in (deposit(key, 1), withdraw(key, 1)):
        accounts = puppet_call(market.ledger, without(given, signer=0)).accounts
        assert accounts[0].pubkey == key
        signed = Instruction(PUPPET, b"", [AccountMeta(key, True, True), *accounts[1:]])
        market.refuses(signed, by=[market.owner], error="AccountNotSigner")
