"""The position manager serves any vault program, and none of them gains anything on another.

`FOREIGN` is a vault program of an attacker, who has written a vault and an authority for it.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest
from solders.account import Account
from solders.instruction import AccountMeta, Instruction
from solders.keypair import Keypair
from solders.pubkey import Pubkey

from tests.program.harness import positions
from tests.program.harness.instructions import build
from tests.program.harness.ledger import (
    AUTHORITY_LENGTH,
    ELF,
    POSITION_IDL,
    POSITION_MANAGER,
    PROGRAM,
    VAULT_IDL,
    VAULT_LENGTH,
    Ledger,
    authority_address,
    caller_address,
    change_lock,
    deposit,
    initialize_vault,
    readonly,
    signer,
    summary_address,
    token_address,
    transfer_collateral,
    vault_address,
    withdraw,
)
from tests.program.harness.positions import (
    at_vault_program,
    close_position,
    extended,
    init_position_summary,
    open_position,
    rebalance_collateral,
    settle_position_summary,
    summary_of,
    wrapped,
)
from tests.program.harness.puppet import puppet_call, with_puppet, write_script
from tests.program.harness.refusals import assert_refused

OTHER = Pubkey.from_string("AnotherVau1tProgram111111111111111111111111")
FOREIGN = Pubkey.from_string("Foreign111111111111111111111111111111111111")
WRAPPER = Pubkey.from_string("Wrapper111111111111111111111111111111111111")


# A deployment at another id


def put_authority(ledger: Ledger, program: Pubkey, **fields: Any) -> None:
    """Write the authority of another vault program, as the real one's is with these changes."""
    address, bump = Pubkey.find_program_address([b"vault_authority"], program)
    state = ledger.authority() | {"bump": bump} | fields
    data = VAULT_IDL.encode_account("VaultAuthority", state, AUTHORITY_LENGTH)
    ledger.put(address, program, data)


def put_vault(ledger: Ledger, program: Pubkey, owner: Pubkey, **fields: Any) -> Pubkey:
    """Write the owner's vault of another vault program, as the real one is with these changes."""
    address, bump = Pubkey.find_program_address([b"vault", bytes(owner)], program)
    state = ledger.vault(owner) | {"bump": bump} | fields
    ledger.put(address, program, VAULT_IDL.encode_account("CollateralVault", state, VAULT_LENGTH))
    return address


def vault_at(ledger: Ledger, program: Pubkey, owner: Pubkey) -> tuple[int, int, int]:
    """Return the vault's available and locked balance, and the locked amount of its summary."""
    vault = vault_address(owner, program)
    state = VAULT_IDL.decode_account("CollateralVault", ledger.data(vault))
    summary = ledger.data(summary_address(vault))
    claimed = POSITION_IDL.decode_account("PositionSummaryAccount", summary)["locked_amount"]
    return state["available_balance"], state["locked_balance"], claimed


@pytest.fixture
def traded(governed: Ledger) -> Ledger:
    """A chain whose only authorized program is the position manager."""
    return positions.with_position_manager(governed)


@pytest.fixture
def owner(traded: Ledger) -> Keypair:
    """The owner of a real vault of 100, 60 of it locked."""
    owner = positions.trader(traded, deposited=100)
    traded.must(open_position(owner.pubkey(), 60), owner)
    return owner


@pytest.mark.parametrize("wrap", [False, True], ids=["direct", "wrapped"])
def test_positions_live_on_a_vault_program_at_any_id(
    traded: Ledger, owner: Keypair, governance: Keypair, wrap: bool
) -> None:
    """The same owners have vaults at both ids, and each summary follows its own vault."""
    traded.svm.add_program(OTHER, ELF.read_bytes())
    with_puppet(traded, WRAPPER)
    put_authority(traded, OTHER, cpi_enforced=True)
    taker = traded.owner()
    keys = owner.pubkey(), taker.pubkey()
    payer = traded.wallet(usdt=100)

    def must(given: Instruction, *signers: Keypair) -> None:
        if wrap and given.program_id == POSITION_MANAGER:
            given = puppet_call(traded, wrapped(given), program=WRAPPER)
        traded.must(at_vault_program(given, OTHER, *keys), *signers)

    for each in (owner, taker):
        traded.put_tokens(each.pubkey(), 100)
        must(initialize_vault(each.pubkey()), each)
        must(deposit(each.pubkey(), 80), each)
        given = init_position_summary(each.pubkey(), payer=payer.pubkey())
        traded.must(at_vault_program(given, OTHER, *keys), payer)
    must(open_position(keys[0], 30), owner)
    assert vault_at(traded, OTHER, keys[0]) == (50, 30, 30)
    must(close_position(keys[0], 10), owner)
    assert vault_at(traded, OTHER, keys[0]) == (60, 20, 20)
    summary = AccountMeta(summary_address(vault_address(keys[0])), False, True)
    must(extended(rebalance_collateral(governance.pubkey(), *keys, 5), summary), governance)
    assert vault_at(traded, OTHER, keys[0]) == (60, 15, 15)
    assert [traded.tokens(vault_address(key, OTHER)) for key in keys] == [75, 85]
    must(close_position(keys[0], 15), owner)
    must(withdraw(keys[0], 75, remaining=[readonly(summary.pubkey)]), owner)

    assert vault_at(traded, PROGRAM, keys[0]) == (40, 60, 60)
    assert traded.tokens(vault_address(keys[0])) == 100


# Hostile vault programs


@dataclass(frozen=True, slots=True)
class Attack:
    """A chain with a victim's vault of 100, 60 of it locked, and a thief who owns a vault of 5, and
    a vault program with a vault and an authority.
    """

    ledger: Ledger
    victim: Keypair
    thief: Keypair

    def real_calls(self) -> dict[str, Instruction]:
        """Return the calls of the real vault program that would serve the thief."""
        victim, thief = self.victim.pubkey(), self.thief.pubkey()
        return {
            "lock": change_lock("lock_collateral", victim, 10),
            "unlock": change_lock("unlock_collateral", victim, 10),
            "transfer": transfer_collateral(victim, thief, 10),
        }

    def through(self, name: str, *script: Instruction, signing_later: list[Pubkey]) -> Instruction:
        """Return an instruction of the position manager that calls the foreign vault program, which
        then runs the script.
        """
        thief, victim = self.thief.pubkey(), self.victim.pubkey()
        given = {
            "open": lambda: open_position(thief, 1),
            "close": lambda: close_position(thief, 1),
            "rebalance": lambda: rebalance_collateral(thief, thief, victim, 1),
        }[name]()
        named = 8 if name == "rebalance" else 4
        metas = write_script(self.ledger, *script, signing_later=signing_later, after=named + 1)
        pda = readonly(caller_address(vault_program=FOREIGN))
        return extended(at_vault_program(given, FOREIGN, thief, victim), pda, *metas)

    def state(self) -> list[Account | None]:
        victim, thief = vault_address(self.victim.pubkey()), vault_address(self.thief.pubkey())
        addresses = [victim, token_address(victim), summary_address(victim), authority_address()]
        addresses += [thief, token_address(thief), summary_address(thief)]
        return [self.ledger.svm.get_account(address) for address in addresses]


@pytest.fixture
def attack(traded: Ledger, owner: Keypair) -> Attack:
    with_puppet(with_puppet(traded, FOREIGN), WRAPPER)
    thief = positions.trader(traded, deposited=5)
    key = thief.pubkey()
    put_vault(traded, FOREIGN, key, locked_balance=2**64 - 1)
    put_authority(traded, FOREIGN, governance=key)
    given = at_vault_program(init_position_summary(key, payer=key), FOREIGN, key)
    traded.must(given, thief)
    vault = vault_address(key, FOREIGN)
    state = {"vault": vault, "owner": key, "open_positions": 1, "locked_amount": 9}
    data = POSITION_IDL.encode_account("PositionSummaryAccount", state | {"last_updated_slot": 1})
    traded.put(summary_address(vault), POSITION_MANAGER, data)
    return Attack(traded, owner, thief)


enforced_or_not = pytest.mark.parametrize("enforced", [False, True], ids=["free", "enforced"])
each_way = pytest.mark.parametrize("name", ["open", "close", "rebalance"])
each_depth = pytest.mark.parametrize("wrap", [False, True], ids=["direct", "wrapped"])


def attempt(attack: Attack, given: Instruction, wrap: bool) -> Any:
    before = attack.state()
    if wrap:
        given = puppet_call(attack.ledger, given, program=WRAPPER)
    outcome = attack.ledger.send(given, attack.thief)
    assert attack.state() == before
    return outcome


@each_way
@each_depth
def test_a_foreign_vault_program_is_called_and_has_its_own_way(
    attack: Attack, name: str, wrap: bool
) -> None:
    """So that what follows fails for the reason that it tests."""
    outcome = attempt(attack, attack.through(name, signing_later=[]), wrap)
    assert outcome.error is None, outcome
    assert any(line.startswith(f"Program {FOREIGN} invoke") for line in outcome.logs)


@each_way
@each_depth
@enforced_or_not
@pytest.mark.parametrize("call", ["lock", "unlock", "transfer"])
def test_a_signature_for_a_foreign_vault_program_moves_nothing_of_the_real_one(
    attack: Attack, name: str, wrap: bool, enforced: bool, call: str
) -> None:
    attack.ledger.change_authority(cpi_enforced=enforced)
    pda = caller_address(vault_program=FOREIGN)
    real = attack.real_calls()[call]
    for stolen in (real, extended(real, signer(pda)), extended(real, readonly(caller_address()))):
        outcome = attempt(attack, attack.through(name, stolen, signing_later=[pda]), wrap)
        assert_refused(outcome, "UnauthorizedProgram")
        depth = 4 if wrap else 3
        assert f"Program {PROGRAM} invoke [{depth}]" in outcome.logs


@each_way
@each_depth
@pytest.mark.parametrize("call", ["lock", "unlock", "transfer"])
def test_the_signature_for_the_real_vault_program_is_not_given_to_a_foreign_one(
    attack: Attack, name: str, wrap: bool, call: str
) -> None:
    pda = caller_address()
    stolen = extended(attack.real_calls()[call], signer(pda))
    outcome = attempt(attack, attack.through(name, stolen, signing_later=[pda]), wrap)
    assert f"{pda}'s signer privilege escalated" in outcome.logs


@each_way
def test_signatures_of_the_transaction_are_not_passed_on(attack: Attack, name: str) -> None:
    """The thief is a trusted front end: the victim signs, and the vault program gets nothing."""
    victim = attack.victim.pubkey()
    stolen = deposit(victim, 1)
    given = attack.through(name, stolen, signing_later=[victim])
    before = attack.state()
    metas = [*given.accounts[:-1], signer(victim), given.accounts[-1]]
    also = Instruction(given.program_id, bytes(given.data), metas)
    outcome = attack.ledger.send(also, attack.thief, attack.victim)
    assert f"{victim}'s signer privilege escalated" in outcome.logs
    assert attack.state() == before


def test_a_foreign_vault_program_cannot_call_back_nor_be_the_wrapper(attack: Attack) -> None:
    """The runtime lets no program be entered twice."""
    back = attack.through("open", settle_position_summary(attack.victim.pubkey()), signing_later=[])
    around = puppet_call(attack.ledger, attack.through("open", signing_later=[]), program=FOREIGN)
    for given in (back, around):
        outcome = attempt(attack, given, wrap=False)
        assert outcome.error == "InstructionErrorFieldless.ReentrancyNotAllowed"


# Accounts of one vault program in calls of another


def test_a_summary_of_a_foreign_vault_permits_no_withdrawal(attack: Attack) -> None:
    ledger, thief = attack.ledger, attack.thief
    ledger.must(open_position(thief.pubkey(), 5), thief)
    foreign = summary_address(put_vault(ledger, FOREIGN, thief.pubkey()))
    for summary in (foreign, summary_address(vault_address(attack.victim.pubkey(), FOREIGN))):
        given = withdraw(thief.pubkey(), 1, remaining=[readonly(summary)])
        assert_refused(ledger.send(given, thief), "PositionSummaryInvalid")


Trade = Callable[..., Instruction]
each_trade = pytest.mark.parametrize("trade", [open_position, close_position])


@each_trade
@pytest.mark.parametrize("program", [PROGRAM, FOREIGN], ids=["real", "foreign"])
def test_the_vault_must_be_of_the_vault_program_that_is_called(
    attack: Attack, trade: Trade, program: Pubkey
) -> None:
    key = attack.thief.pubkey()
    other = FOREIGN if program == PROGRAM else PROGRAM
    vault = vault_address(key, other)
    given = trade(
        key,
        1,
        vault=vault,
        position_summary=summary_address(vault),
        vault_authority=authority_address(program),
        collateral_vault_program=program,
    )
    outcome = attempt(attack, given, wrap=False)
    assert_refused(outcome, "InvalidProgramId", idl=POSITION_IDL)


@each_trade
def test_a_foreign_vault_at_a_real_vaults_address_is_none(attack: Attack, trade: Trade) -> None:
    """No program can create it there: tests can."""
    key = attack.thief.pubkey()
    vault = vault_address(key)
    attack.ledger.put(vault, FOREIGN, attack.ledger.data(vault))
    for program in (PROGRAM, FOREIGN):
        given = trade(key, 1, collateral_vault_program=program)
        assert_refused(attempt(attack, given, wrap=False), "ConstraintSeeds")
    assert_refused(attempt(attack, settle_position_summary(key), wrap=False), "ConstraintSeeds")


def test_a_foreign_vault_settles_no_summary_of_a_real_one(attack: Attack) -> None:
    victim = attack.victim.pubkey()
    foreign = put_vault(attack.ledger, FOREIGN, victim, locked_balance=0)
    given = settle_position_summary(victim, vault=foreign)
    assert_refused(attempt(attack, given, wrap=False), "ConstraintSeeds")
    assert summary_of(attack.ledger, victim)["locked_amount"] == 60


def test_a_foreign_authority_makes_nobody_governance_of_the_real_program(attack: Attack) -> None:
    victim, thief = attack.victim.pubkey(), attack.thief.pubkey()
    foreign = authority_address(FOREIGN)
    given = rebalance_collateral(thief, victim, thief, 10, vault_authority=foreign)
    outcome = attempt(attack, given, wrap=False)
    assert_refused(outcome, "InvalidProgramId", idl=POSITION_IDL)
    given = open_position(thief, 1, vault_authority=foreign)
    assert_refused(attempt(attack, given, wrap=False), "AccountOwnedByWrongProgram")


def test_the_real_governance_alone_rebalances_real_vaults(
    attack: Attack, governance: Keypair
) -> None:
    """A foreign program that is called with real vaults can do nothing to them."""
    victim, thief = attack.victim.pubkey(), attack.thief.pubkey()
    seizing = build("emergency_withdraw", victim, authority=governance.pubkey(), amount=1)
    metas = write_script(attack.ledger, seizing, signing_later=[governance.pubkey()], after=8)
    given = rebalance_collateral(
        thief,
        victim,
        thief,
        10,
        vault_authority=authority_address(FOREIGN),
        collateral_vault_program=FOREIGN,
    )
    outcome = attempt(attack, extended(given, *metas), wrap=False)
    assert f"{governance.pubkey()}'s signer privilege escalated" in outcome.logs
