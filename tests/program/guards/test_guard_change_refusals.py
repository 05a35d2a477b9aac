"""Requests to change the guards: what is refused in their accounts and arguments."""

from typing import Any

import pytest
from solders.instruction import Instruction
from solders.keypair import Keypair
from solders.pubkey import Pubkey

from tests.program.harness.effects import refused
from tests.program.harness.guard_changes import (
    DAY,
    WEEK,
    GuardChange,
    allowance,
    min_delay,
    multisig,
)
from tests.program.harness.instructions import build
from tests.program.harness.ledger import (
    PROGRAM,
    SYSTEM,
    VAULT_IDL,
    Ledger,
    vault_address,
    without,
)

FRIEND, NEW = Keypair(), Keypair()


def test_each_account_is_checked(governed: Ledger, guarded: Keypair) -> None:
    key, change = guarded.pubkey(), min_delay(0)
    request, apply = change.request(guarded), change.apply(guarded)
    other = governed.owner(deposited=5)
    governed.later(1)
    governed.must(min_delay(60).at_once(other), other)
    governed.must(change.request(other), other)
    foreign = change.address(other.pubkey())
    payer = governed.wallet()

    def fails(name: str, error: str, signer: Keypair = guarded, **accounts: Pubkey) -> None:
        known = {"guard_change": change.address(key)} | accounts
        extra: dict[str, Any] = (
            {"change": (change.variant, change.fields)} if name.startswith("request") else {}
        )
        by = signer.pubkey()
        given = build(name, key, authority=by, accounts=known, **extra)
        refused(governed, key, given, payer, signer, error=error)

    for account in (foreign, allowance(9).address(key), NEW.pubkey()):
        fails("request_guard_change", "ConstraintSeeds", guard_change=account)
    fails("request_guard_change", "InvalidProgramId", system_program=PROGRAM)
    fails("request_guard_change", "ConstraintSeeds", vault=vault_address(other.pubkey()))
    fails("request_guard_change", "ConstraintSeeds", signer=other, owner=other.pubkey())
    for at in (0, 2):
        refused(governed, key, without(request, writable=at), payer, guarded, error="ConstraintMut")
    refused(governed, key, without(request, signer=0), payer, error="AccountNotSigner")

    governed.must(request, guarded)
    governed.later(WEEK + DAY)
    for name in ("apply_guard_change", "cancel_guard_change"):
        fails(name, "ConstraintSeeds", guard_change=foreign)
        fails(name, "AccountDiscriminatorMismatch", guard_change=vault_address(key))
        fails(name, "AccountNotInitialized", guard_change=allowance(9).address(key))
        fails(name, "ConstraintSeeds", vault=vault_address(other.pubkey()))
        fails(name, "ConstraintSeeds", signer=other, owner=other.pubkey())
        theirs = governed.data(change.address(key))
        copy = governed.wallet().pubkey()
        governed.put(copy, PROGRAM, theirs)
        fails(name, "ConstraintSeeds", guard_change=copy)
        governed.put(copy, SYSTEM, theirs)
        fails(name, "AccountOwnedByWrongProgram", guard_change=copy)
    for at in (0, 1, 2):
        refused(governed, key, without(apply, writable=at), payer, guarded, error="ConstraintMut")
    refused(governed, key, without(apply, signer=0), payer, error="AccountNotSigner")
    cancel = change.cancel(key, by=guarded)
    for at in (1, 3):
        fixed = without(cancel, writable=at)
        refused(governed, key, fixed, payer, guarded, error="ConstraintMut")
    governed.must(apply, guarded)


@pytest.mark.parametrize(
    ("change", "error"),
    [
        (multisig([NEW], 2), "InvalidAmount"),
        (multisig([], 1), "InvalidAmount"),
        (multisig([NEW, FRIEND, NEW], 2), "AlreadyExists"),
        (multisig([Keypair() for _ in range(11)], 2), "Overflow"),
        (min_delay(-1), "InvalidAmount"),
        (min_delay(-(2**63)), "InvalidAmount"),
    ],
)
def test_a_change_that_makes_no_sense_cannot_be_requested(
    governed: Ledger, guarded: Keypair, change: GuardChange, error: str
) -> None:
    refused(governed, guarded.pubkey(), change.request(guarded), guarded, error=error)


def test_a_wait_beyond_the_highest_timestamp_is_refused(governed: Ledger, guarded: Keypair) -> None:
    change, key = min_delay(0), guarded.pubkey()
    governed.set_time(2**63 - WEEK - DAY)
    refused(governed, key, change.request(guarded), guarded, error="Overflow")
    governed.later(-1)
    governed.must(change.request(guarded), guarded)


def test_the_longest_change_is_requested_and_made(governed: Ledger, guarded: Keypair) -> None:
    signers = [Keypair() for _ in range(10)]
    change = multisig(signers, 10)
    governed.must(change.request(guarded), guarded)
    governed.later(WEEK + DAY)
    governed.must(change.apply(guarded), guarded)
    keys = [each.pubkey() for each in signers]
    assert governed.vault(guarded.pubkey())["multisig_signers"] == keys


@pytest.mark.parametrize(
    "change",
    [
        b"",
        b"\5",
        b"\5" + bytes(8),
        b"\xff",
        b"\1" + bytes(7),
        b"\1" + bytes(9),
        b"\0" + bytes(4),
        b"\0" + (2**32 - 1).to_bytes(4, "little") + bytes(33),
        b"\0" + (1).to_bytes(4, "little") + bytes(34),
        b"\2" + bytes(11),
        b"\3" + bytes(31),
        b"\4" + bytes(9),
    ],
)
def test_bytes_that_are_no_change_are_refused(
    governed: Ledger, guarded: Keypair, change: bytes
) -> None:
    key, good = guarded.pubkey(), min_delay(0).request(guarded)
    data = bytes(VAULT_IDL.instructions["request_guard_change"]["discriminator"]) + change
    given = Instruction(PROGRAM, data, good.accounts)
    refused(governed, key, given, guarded, error="InstructionDidNotDeserialize")
