"""No account can be replaced by a wrong, foreign or forged one, swapped, or passed without rights.

The table in `substitution` holds a case for each instruction and stand-ins for each account.
"""

import re

import pytest
from solders.instruction import AccountMeta

from tests.program.harness.ledger import Outcome
from tests.program.harness.refusals import assert_refused

from .substitution.cases import CASES, INTERFACE, NAMED, REMAINING, Case, prepared_case
from .substitution.standins import StandIn
from .substitution.table import TABLE

ANCHOR = re.compile(r"Program log: AnchorError occurred\. Error Code: (\w+)\.")
# Refusals of the token program, the system program and the virtual machine.
BELOW = {
    "AccountAlreadyInUse": (0, "already in use"),
    "OwnerMismatch": (4, "Error: owner does not match"),
    "AccountFrozen": (17, "Error: Account is frozen"),
    "InvalidOwner": (0, "Associated token account owner does not match address derivation"),
    "IllegalOwner": ("InstructionErrorFieldless.IllegalOwner", "Provided owner is not allowed"),
    "PrivilegeEscalation": (
        "InstructionErrorFieldless.PrivilegeEscalation",
        "writable privilege escalated",
    ),
}


def accounts_with(right: str) -> list[tuple[str, str]]:
    return [
        (name, account["name"])
        for name, instruction in INTERFACE.items()
        for account in instruction["accounts"]
        if account.get(right)
    ]


def attempt(case: Case) -> Outcome:
    """Send it, and assert that a failure changes no account that it names."""
    before = case.accounts()
    outcome = case.send()
    assert outcome.error is None or case.accounts() == before
    return outcome


def refusal_of(outcome: Outcome) -> str | None:
    """Return the name of Anchor's error or of one of those above, or None on success."""
    if outcome.error is None:
        return None
    for line in outcome.logs:
        if found := ANCHOR.match(line):
            assert_refused(outcome, found[1])
            return found[1]
    for name, (code, message) in BELOW.items():
        if outcome.error == code and any(message in line for line in outcome.logs):
            return name
    raise AssertionError(f"an error without a name: {outcome}")


@pytest.mark.parametrize("name", INTERFACE)
def test_each_instruction_has_a_case_in_which_it_succeeds(name: str) -> None:
    outcome = prepared_case(name).send()
    assert outcome.error is None, outcome


def test_each_account_of_each_instruction_has_stand_ins() -> None:
    assert TABLE.keys() == CASES.keys() == INTERFACE.keys()
    for name, accounts in TABLE.items():
        assert set(NAMED[name]) <= accounts.keys() <= {*NAMED[name], *REMAINING.get(name, [])}
        assert all(accounts.values()), name


def answer(name: str, account: str, stand_in: StandIn) -> str | None:
    """Return the refusal of the stand-in by name, or None."""
    given = prepared_case(name)
    forged = stand_in.make(given.world, given.address(account))
    swapped = given.swapped(given.position(account), forged, signing=True)
    return refusal_of(attempt(swapped))


@pytest.mark.parametrize(
    ("name", "account"),
    [(name, account) for name, accounts in TABLE.items() for account in accounts],
)
def test_no_account_can_be_substituted(name: str, account: str) -> None:
    role = TABLE[name][account]
    answers = {what: answer(name, account, stand_in) for what, stand_in in role.items()}
    assert answers == {what: stand_in.refusal for what, stand_in in role.items()}


@pytest.mark.parametrize(("name", "account"), accounts_with("signer"))
def test_a_missing_signature_is_refused(name: str, account: str) -> None:
    given, at = prepared_case(name), prepared_case(name).position(account)
    meant = given.instruction.accounts[at]
    unsigned = given.replaced(at, AccountMeta(meant.pubkey, False, meant.is_writable))
    assert_refused(attempt(unsigned), "AccountNotSigner")


@pytest.mark.parametrize(("name", "account"), accounts_with("writable"))
def test_a_written_account_must_be_writable(name: str, account: str) -> None:
    given, at = prepared_case(name), prepared_case(name).position(account)
    meant = given.instruction.accounts[at]
    readonly = given.replaced(at, AccountMeta(meant.pubkey, meant.is_signer, False))
    assert_refused(attempt(readonly), "ConstraintMut")


@pytest.mark.parametrize("name", INTERFACE)
def test_a_missing_account_is_refused(name: str) -> None:
    given = prepared_case(name)
    for count in range(len(NAMED[name])):
        cut = given.given(given.instruction.accounts[:count])
        assert_refused(attempt(cut), "AccountNotEnoughKeys")


@pytest.mark.parametrize("name", INTERFACE)
def test_no_account_can_be_passed_in_two_places(name: str) -> None:
    given = prepared_case(name)
    metas = given.instruction.accounts
    for at, account in enumerate(NAMED[name]):
        for address in {meta.pubkey for meta in metas} - {metas[at].pubkey}:
            refusal = refusal_of(attempt(given.swapped(at, address)))
            assert refusal is not None, f"{address} as {account}"


@pytest.mark.parametrize("order", [[], [0], [1], [1, 0], [0, 0], [1, 1]])
def test_a_withdrawal_needs_every_summary_in_the_order_of_the_programs(order: list[int]) -> None:
    given = prepared_case("withdraw")
    count = len(NAMED["withdraw"])
    named, summaries = given.instruction.accounts[:count], given.instruction.accounts[count:]
    outcome = attempt(given.given([*named, *(summaries[index] for index in order)]))
    missing = len(order) < len(summaries)
    assert_refused(outcome, "PositionSummaryMissing" if missing else "PositionSummaryInvalid")
