"""Settings of governance, which nobody else may change, and its lists of at most 64 programs."""

from typing import Any

import pytest
from solders.instruction import Instruction
from solders.keypair import Keypair
from solders.pubkey import Pubkey

from tests.program.harness import ledger as chain
from tests.program.harness.ledger import (
    AUTHORITY_LENGTH,
    POSITION_MANAGER,
    PROGRAM,
    TOKEN,
    VAULT_IDL,
    Ledger,
    authority_address,
    govern,
)
from tests.program.harness.refusals import assert_refused

KEYS = [Keypair().pubkey() for _ in range(65)]
LISTS = [
    ("authorized_program", "authorized_programs"),
    ("yield_program", "yield_whitelist"),
]
SETTINGS: list[tuple[str, str, Any]] = [
    ("set_freeze_flag", "freeze", True),
    ("set_cpi_enforced", "cpi_enforced", True),
    ("set_risk_level", "risk_level", 255),
]
EVENTS = {
    "freeze": "FreezeFlagSetEvent",
    "cpi_enforced": "CpiEnforcedSetEvent",
    "risk_level": "RiskLevelSetEvent",
    "authorized_programs": "AuthorizedProgram",
    "yield_whitelist": "YieldProgram",
}
EVERY: list[tuple[str, Any]] = [
    *((name, value) for name, _, value in SETTINGS),
    *((f"add_{entry}", KEYS[1]) for entry, _ in LISTS),
    *((f"remove_{entry}", KEYS[0]) for entry, _ in LISTS),
]


@pytest.fixture
def listed(governed: Ledger) -> Ledger:
    """An authority with every field set, so that any field that moves shows."""
    governed.change_authority(
        authorized_programs=[KEYS[0]], yield_whitelist=[KEYS[0]], risk_level=7
    )
    return governed


@pytest.mark.parametrize(("name", "field", "value"), SETTINGS)
def test_a_setting_changes_itself_and_nothing_else(
    listed: Ledger, governance: Keypair, name: str, field: str, value: Any
) -> None:
    before = listed.authority()
    outcome = listed.must(govern(name, governance.pubkey(), value=value), governance)
    assert listed.authority() == before | {field: value}
    assert outcome.events == ((EVENTS[field], {field: value}),)
    listed.must(govern(name, governance.pubkey(), value=before[field]), governance)
    assert listed.authority() == before


@pytest.mark.parametrize(("entry", "field"), LISTS)
def test_programs_keep_the_order_of_their_addition(
    listed: Ledger, governance: Keypair, entry: str, field: str
) -> None:
    before, key = listed.authority(), governance.pubkey()
    for program in KEYS[1:4]:
        outcome = listed.must(govern(f"add_{entry}", key, value=program), governance)
        assert outcome.events == ((f"{EVENTS[field]}AddedEvent", {"program": program}),)
    assert listed.authority() == before | {field: KEYS[:4]}
    outcome = listed.must(govern(f"remove_{entry}", key, value=KEYS[1]), governance)
    assert outcome.events == ((f"{EVENTS[field]}RemovedEvent", {"program": KEYS[1]}),)
    assert listed.authority() == before | {field: [KEYS[0], KEYS[2], KEYS[3]]}


@pytest.mark.parametrize(("entry", "field"), LISTS)
def test_the_sixty_fifth_program_is_refused_and_nothing_is_written(
    governed: Ledger, governance: Keypair, entry: str, field: str
) -> None:
    key = governance.pubkey()
    for program in KEYS[:64]:
        governed.must(govern(f"add_{entry}", key, value=program), governance)
    before = governed.authority()
    assert before[field] == KEYS[:64]
    outcome = governed.send(govern(f"add_{entry}", key, value=KEYS[64]), governance)
    assert_refused(outcome, "Overflow")
    assert governed.authority() == before


@pytest.mark.parametrize(("entry", "field"), LISTS)
def test_a_program_is_listed_once_and_removed_once(
    listed: Ledger, governance: Keypair, entry: str, field: str
) -> None:
    key = governance.pubkey()
    outcome = listed.send(govern(f"add_{entry}", key, value=KEYS[0]), governance)
    assert_refused(outcome, "AlreadyExists")
    listed.must(govern(f"remove_{entry}", key, value=KEYS[0]), governance)
    outcome = listed.send(govern(f"remove_{entry}", key, value=KEYS[0]), governance)
    assert_refused(outcome, "NotFound")
    assert listed.authority()[field] == []


@pytest.mark.parametrize("word", range(4))
def test_an_address_that_differs_in_one_word_is_another(
    listed: Ledger, governance: Keypair, word: int
) -> None:
    """The programs compare addresses by words of eight bytes."""
    alike = bytearray(bytes(KEYS[0]))
    alike[8 * word] ^= 1
    other, key = Pubkey.from_bytes(bytes(alike)), governance.pubkey()
    listed.must(govern("add_yield_program", key, value=other), governance)
    assert listed.authority()["yield_whitelist"] == [KEYS[0], other]
    listed.must(govern("remove_yield_program", key, value=other), governance)
    assert listed.authority()["yield_whitelist"] == [KEYS[0]]


@pytest.mark.parametrize("name", ["set_freeze_flag", "set_cpi_enforced"])
def test_a_flag_is_one_or_zero(governed: Ledger, governance: Keypair, name: str) -> None:
    whole = govern(name, governance.pubkey(), value=True)
    data = bytes(whole.data)[:8] + b"\2"
    hostile = Instruction(PROGRAM, data, whole.accounts)
    assert_refused(governed.send(hostile, governance), "InstructionDidNotDeserialize")


@pytest.mark.parametrize(("name", "value"), EVERY)
def test_nobody_but_governance_changes_the_authority(
    listed: Ledger, governance: Keypair, name: str, value: Any
) -> None:
    before, stranger = listed.authority(), listed.wallet()
    assert_refused(
        listed.send(govern(name, stranger.pubkey(), value=value), stranger), "Unauthorized"
    )
    unsigned = chain.without(govern(name, governance.pubkey(), value=value), signer=0)
    assert_refused(listed.send(unsigned, stranger), "AccountNotSigner")
    assert listed.authority() == before


@pytest.mark.parametrize(("name", "value"), EVERY)
def test_missing_rights_and_missing_accounts_of_governance_are_refused(
    listed: Ledger, governance: Keypair, name: str, value: Any
) -> None:
    whole, payer = govern(name, governance.pubkey(), value=value), listed.wallet()
    assert len(whole.accounts) == len(VAULT_IDL.instructions[name]["accounts"])
    for at in range(len(whole.accounts)):
        readonly = chain.without(whole, writable=at)
        assert_refused(listed.send(readonly, payer, governance), "ConstraintMut")
        cut = Instruction(PROGRAM, bytes(whole.data), whole.accounts[:at])
        signers = [payer, governance] if at else [payer]
        assert_refused(listed.send(cut, *signers), "AccountNotEnoughKeys")
    listed.must(whole, governance)


@pytest.mark.parametrize(("name", "value"), EVERY)
def test_no_account_replaces_the_authority(
    listed: Ledger, governance: Keypair, name: str, value: Any
) -> None:
    data, vault = listed.data(authority_address()), chain.vault_address(listed.owner().pubkey())
    copies: list[tuple[Pubkey, str]] = []
    for program, refusal in ((PROGRAM, "ConstraintSeeds"), (TOKEN, "AccountOwnedByWrongProgram")):
        assert len(data) == AUTHORITY_LENGTH
        address = Keypair().pubkey()
        listed.put(address, program, data)
        copies.append((address, refusal))
    empty = Keypair().pubkey()
    listed.put(empty, TOKEN, b"")
    copies.append((empty, "AccountOwnedByWrongProgram"))
    copies.append((vault, "AccountDiscriminatorMismatch"))
    copies.append((Keypair().pubkey(), "AccountNotInitialized"))
    for address, refusal in copies:
        swapped = govern(name, governance.pubkey(), value=value, vault_authority=address)
        assert_refused(listed.send(swapped, governance), refusal)


def test_a_removed_program_needs_no_summary(governed: Ledger, governance: Keypair) -> None:
    owner = governed.owner(deposited=10)
    add = govern("add_authorized_program", governance.pubkey(), value=POSITION_MANAGER)
    governed.must(add, governance)
    outcome = governed.send(chain.withdraw(owner.pubkey(), 1), owner)
    assert_refused(outcome, "PositionSummaryMissing")
    remove = govern("remove_authorized_program", governance.pubkey(), value=POSITION_MANAGER)
    governed.must(remove, governance)
    governed.must(chain.withdraw(owner.pubkey(), 1), owner)
