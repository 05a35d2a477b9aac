"""Dishonest publishers, each caught by the check that docs/proofs.md names.

Where a simpler verifier would be fooled, the test shows that first.
"""

from __future__ import annotations

import tempfile
import tracemalloc
from collections.abc import Callable
from datetime import timedelta
from hashlib import sha256
from pathlib import Path
from typing import Any

import msgspec
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from cvms.errors import ProofInvalid
from cvms.proofs import sum_tree
from cvms.proofs.inclusion import InclusionProof, inclusion_proof, key_bytes
from cvms.proofs.log_entry import AuditHead, SignedEntry, verify_log, verify_same_log
from cvms.proofs.reserve_lines import Line, PoolLine, VaultLine, token_account_of, verify_file
from cvms.proofs.verification import Check, Given, Outcome, verify
from tests.proofs.publisher import (
    ADDRESS,
    MINT,
    POOL,
    PROGRAM,
    MadeVault,
    Snapshot,
    made_up,
    signed,
    vaults,
)

replaced = msgspec.structs.replace


async def outcomes(proof: InclusionProof, **given: Any) -> dict[str, Check]:
    """Return the checks of `cvms verify`, without a node. `reserves` are the file's lines."""
    lines = given.pop("reserves", None)
    with tempfile.NamedTemporaryFile() as file:
        file.write(b"".join(lines or []))
        file.flush()
        given["reserves"] = None if lines is None else Path(file.name)
        return await _outcomes(proof, **given)


async def _outcomes(proof: InclusionProof, **given: Any) -> dict[str, Check]:
    proof_file = msgspec.json.encode(proof)
    all_given = Given(proof=proof_file, max_age=timedelta(hours=2), report=lambda _: None, **given)
    return {each.name: each async for each in verify(all_given)}


async def failed(proof: InclusionProof, **given: Any) -> set[str]:
    found = await outcomes(proof, **given)
    return {name for name, each in found.items() if each.outcome is Outcome.FAILED}


async def test_an_honest_proof_passes_each_check() -> None:
    snapshot = Snapshot(vaults(37))
    log = [snapshot.signed()]
    for index in range(37):
        found = await outcomes(
            snapshot.proof(index),
            key=ADDRESS,
            program=PROGRAM,
            mint=MINT,
            logs=[log, log],
            reserves=snapshot.file,
        )
        assert {name: each.outcome for name, each in found.items()} == {
            "inclusion": Outcome.OK,
            "deployment": Outcome.OK,
            "key": Outcome.OK,
            "log": Outcome.OK,
            "reserves_file": Outcome.OK,
            "chain": Outcome.NOT_CHECKED,
        }


async def test_what_is_not_given_counts_as_not_checked() -> None:
    found = await outcomes(Snapshot(vaults(3)).proof(1))
    assert {name for name, each in found.items() if each.outcome is Outcome.OK} == {"inclusion"}


# --- the tree -----------------------------------------------------------------------------------


def over_joint_sum(left: sum_tree.Node, right: sum_tree.Node) -> sum_tree.Node:
    """Join as the first trees of this kind did: the hash covers only the sum of both sides."""
    sums = sum_tree.parent(left, right)[32:]
    return sha256(left[:32] + right[:32] + sums).digest() + sums


def over_one_side(left: sum_tree.Node, right: sum_tree.Node) -> sum_tree.Node:
    """Join so that the hash covers only the sums of the left side."""
    sums = sum_tree.parent(left, right)[32:]
    return sha256(left + right[:32]).digest() + sums


def with_total(node: sum_tree.Node, total: int) -> sum_tree.Node:
    return sum_tree.node(node[:32], (total, total, 0, 0, 0))


async def test_each_owner_is_shown_less_on_the_other_side() -> None:
    """900 and 800 are owed. Both owners find their balance in a root of 900, but not in ours."""
    held = [
        MadeVault(made_up(name), (sum_, sum_, 0, 0, 0))
        for name, sum_ in (("alice", 900), ("bob", 800))
    ]
    snapshot = Snapshot(held)
    alice, bob = snapshot.leaves
    for_alice, for_bob = with_total(bob, 0), with_total(alice, 100)
    forged = over_joint_sum(alice, for_alice)
    assert over_joint_sum(for_bob, bob) == forged
    assert sum_tree.sums_of(forged)[0] == 900
    assert sum_tree.parent(for_bob, bob) != sum_tree.parent(alice, for_alice)
    owed = snapshot.entry().liabilities
    for root in (sum_tree.parent(alice, for_alice), sum_tree.parent(for_bob, bob)):
        less = replaced(owed, root=root[:32].hex(), total="900", available="900")
        results = [
            await failed(proof_with(snapshot, 0, [for_alice], liabilities=less)),
            await failed(proof_with(snapshot, 1, [for_bob], liabilities=less)),
        ]
        assert {"inclusion"} in results  # one of the two finds out


async def test_one_side_of_a_node_is_not_bound() -> None:
    """The right side of such a node can be nothing for one owner and all for another."""
    snapshot = Snapshot(vaults(2))
    left, right = snapshot.leaves
    nothing = with_total(right, 0)
    assert over_one_side(left, nothing)[:32] == over_one_side(left, right)[:32]
    assert sum_tree.parent(left, nothing)[:32] != sum_tree.parent(left, right)[:32]
    assert await failed(proof_with(snapshot, 0, [nothing])) == {"inclusion"}


def proof_with(
    snapshot: Snapshot, index: int, siblings: list[sum_tree.Node], **changes: Any
) -> InclusionProof:
    vault = snapshot.vaults[index]
    return inclusion_proof(
        snapshot.signed(**changes),
        owner=vault.owner,
        balances=vault.balances,
        salt=snapshot.salts[index],
        index=index,
        siblings=siblings,
    )


async def test_a_negative_balance_that_lowers_the_sum() -> None:
    snapshot = Snapshot(vaults(2))
    proof = snapshot.proof(0)
    for sums in ("-500", "007", "1e3", " 1", "18446744073709551616"):
        sibling = replaced(proof.path[0], sums=[sums, *proof.path[0].sums[1:]])
        bent = msgspec.json.encode(replaced(proof, path=[sibling]))
        given = Given(proof=bent, max_age=timedelta(hours=2), report=lambda _: None)
        [check] = [each async for each in verify(given)]
        assert check.outcome is Outcome.FAILED
        assert check.name == ("overflow" if sums.startswith("1844") else "proof")


async def test_sums_that_wrap_around() -> None:
    """A verifier with 64 bits that wrap would see liabilities of 9."""
    huge = MadeVault(made_up("huge"), (2**64 - 1, 2**64 - 1, 0, 0, 0))
    small = MadeVault(made_up("small"), (10, 10, 0, 0, 0))
    left, right = Snapshot([huge, small], lines=[line_of(small)]).leaves
    assert (2**64 - 1 + 10) % 2**64 == 9
    wrapped = Snapshot([small], lines=[line_of(small)])
    owed = replaced(wrapped.entry().liabilities, vaults=2, total="9", available="9")
    assert await failed(proof_with(wrapped, 0, [left], liabilities=owed)) == {"overflow"}
    assert right != left


async def test_a_total_that_is_not_the_sum_of_its_parts() -> None:
    odd = Snapshot([MadeVault(made_up("odd"), (5, 900, 0, 0, 0)), *vaults(3)])
    assert await failed(odd.proof(0)) == {"balances"}


async def test_a_leaf_cannot_pass_for_a_node() -> None:
    """Without the first byte of each hash, a leaf's bytes could be those of two nodes."""
    snapshot = Snapshot(vaults(4))
    path = sum_tree.path(snapshot.leaves, 0)
    owed = replaced(snapshot.entry().liabilities, vaults=2)
    assert await failed(proof_with(snapshot, 0, path, liabilities=owed)) == {"inclusion"}
    assert await failed(proof_with(snapshot, 0, path[1:])) == {"inclusion"}


async def test_one_leaf_for_two_owners_with_the_same_balance() -> None:
    """Twins cannot share a leaf: each leaf has its owner."""
    twins = [MadeVault(made_up(name), (70, 70, 0, 0, 0)) for name in ("one", "other")]
    snapshot = Snapshot([twins[0], *vaults(2)], lines=[line_of(twins[0])])
    proof = replaced(snapshot.proof(0), owner=twins[1].owner)
    assert await failed(snapshot.proof(0)) == set()
    assert await failed(proof) == {"inclusion"}


# --- the log ------------------------------------------------------------------------------------


def three() -> tuple[list[Snapshot], list[SignedEntry]]:
    first = Snapshot(vaults(5))
    second = first.following()
    third = second.following()
    snapshots = [first, second, third]
    return snapshots, [each.signed() for each in snapshots]


def test_two_roots_for_one_slot() -> None:
    """Each is signed and leads to its own owner's balance."""
    honest = Snapshot(vaults(5))
    other = Snapshot(vaults(4), number=2)
    for snapshot in (honest, other):
        snapshot.proof(1).verify()
    with pytest.raises(ProofInvalid, match="two entries for slot") as raised:
        verify_same_log([honest.signed()], [other.signed()])
    assert raised.value.check == "fork"


async def test_a_log_that_forks() -> None:
    """Two owners are shown two logs, each whole. Comparing them shows it."""
    snapshots, log = three()
    fork = snapshots[0].following(slot=snapshots[1].slot + 1)
    forked = [log[0], fork.signed(), fork.following().signed()]
    verify_log(log)
    verify_log(forked)
    with pytest.raises(ProofInvalid, match="two entries 2") as raised:
        verify_same_log(log, forked)
    assert raised.value.check == "fork"
    assert await failed(snapshots[1].proof(0), logs=[log, forked]) == {"fork"}
    assert await failed(snapshots[1].proof(0), logs=[forked]) == {"fork"}
    assert await failed(snapshots[1].proof(0), logs=[log, log[:2]]) == set()


def _cut(log: list[SignedEntry], snapshots: list[Snapshot]) -> list[SignedEntry]:
    return [log[0], log[2]]


def _rewritten(log: list[SignedEntry], snapshots: list[Snapshot]) -> list[SignedEntry]:
    poorer = Snapshot(vaults(4), slot=snapshots[1].slot, number=2, previous=log[0].hash)
    return [log[0], poorer.signed(), log[2]]


def _back_in_time(log: list[SignedEntry], snapshots: list[Snapshot]) -> list[SignedEntry]:
    return [log[0], snapshots[0].following(slot=snapshots[0].slot).signed()]


def _shorter_trail(log: list[SignedEntry], snapshots: list[Snapshot]) -> list[SignedEntry]:
    return [log[0], snapshots[0].following().signed(audit=AuditHead(id=2, hash="ab" * 32))]


def _other_trail(log: list[SignedEntry], snapshots: list[Snapshot]) -> list[SignedEntry]:
    return [log[0], snapshots[0].following().signed(audit=AuditHead(id=3, hash="ac" * 32))]


def _other_chain(log: list[SignedEntry], snapshots: list[Snapshot]) -> list[SignedEntry]:
    return [log[0], snapshots[0].following().signed(genesis=made_up("elsewhere"))]


def _without_beginning(log: list[SignedEntry], snapshots: list[Snapshot]) -> list[SignedEntry]:
    return [Snapshot(vaults(2), previous="11" * 32).signed()]


@pytest.mark.parametrize(
    "bend",
    [
        _cut,
        _rewritten,
        _back_in_time,
        _shorter_trail,
        _other_trail,
        _other_chain,
        _without_beginning,
    ],
)
def test_a_log_in_which_an_entry_does_not_follow(
    bend: Callable[[list[SignedEntry], list[Snapshot]], list[SignedEntry]],
) -> None:
    snapshots, log = three()
    bent = bend(log, snapshots)
    for each in bent:
        each.read()
        each.verify_signature()
    with pytest.raises(ProofInvalid) as raised:
        verify_log(bent)
    assert raised.value.check == "log"


async def test_an_entry_that_another_key_signed() -> None:
    snapshot = Snapshot(vaults(3))
    forged = signed(snapshot.entry(), Ed25519PrivateKey.generate())
    proof = replaced(snapshot.proof(0), entry=forged)
    assert await failed(proof) == set()  # nobody said whose signature it has to be
    assert await failed(proof, key=ADDRESS) == {"key"}
    changed = replaced(forged, text=forged.text.replace('"slot":1000', '"slot":1001'))
    assert await failed(replaced(proof, entry=changed)) == {"signature"}


@pytest.mark.parametrize(
    "bend",
    [
        lambda text: text.replace('"slot":1000', '"slot": 1000'),
        lambda text: text.replace('"slot":1000', '"slot":1,"slot":1000'),
        lambda text: text.replace('"version":1', '"version":2'),
        lambda text: text.replace("2026-12-01", "2026-13-01"),
        lambda text: text[:-1] + ',"note":"x"}',
        lambda text: "[" + text + "]",
    ],
)
async def test_a_text_that_two_verifiers_could_read_differently(bend: Callable[[str], str]) -> None:
    snapshot = Snapshot(vaults(3))
    text = bend(snapshot.signed().text)
    proof = replaced(snapshot.proof(0), entry=replaced(snapshot.signed(), text=text))
    assert await failed(proof) == {"entry"}


# --- the reserves -------------------------------------------------------------------------------


def line_of(vault: MadeVault, **changes: Any) -> VaultLine:
    derive = token_account_of(PROGRAM, MINT)
    line = VaultLine(
        owner=vault.owner,
        account=derive(vault.owner),
        slot=1_002,
        books=str(vault.total),
        books_lent=str(vault.lent),
        total=str(vault.total),
        lent="0",
        amount=str(vault.total),
        lamports="2039280",
        hash="00" * 32,
    )
    return replaced(line, **changes)


def bent_lines(snapshot: Snapshot, **changes: Any) -> list[Line]:
    """Return the lines with the first vault's changed."""
    first = snapshot.lines[0]
    return [replaced(first, **changes), *snapshot.lines[1:]]


def check_of(snapshot: Snapshot) -> str | None:
    """Return the check that an entry's own file fails."""
    entry = snapshot.entry()
    try:
        for _ in verify_file(
            entry, snapshot.file, token_account_of=token_account_of(PROGRAM, MINT)
        ):
            pass
    except ProofInvalid as error:
        return error.check
    return None


def sums_alone_are_fine(snapshot: Snapshot) -> bool:
    """Judge as a verifier that compares the entry's sums, and nothing else."""
    entry = snapshot.entry()
    held = entry.reserves
    return int(held.tokens) + int(held.pools) + int(held.unproven) >= int(entry.liabilities.total)


def test_tokens_that_are_not_there() -> None:
    """One vault's tokens are gone, and another one's donation hides it in the sum."""
    snapshot = Snapshot(vaults(6))
    first, second, *rest = snapshot.lines
    assert isinstance(first, VaultLine)
    assert isinstance(second, VaultLine)
    taken = int(first.amount)
    snapshot.lines = [
        replaced(first, amount="0"),
        replaced(second, amount=str(int(second.amount) + taken)),
        *rest,
    ]
    assert sums_alone_are_fine(snapshot)
    assert check_of(snapshot) == "not_covered"


def test_a_reserve_counted_twice() -> None:
    snapshot = Snapshot(vaults(6))
    first, second, *rest = snapshot.lines
    assert isinstance(first, VaultLine)
    assert isinstance(second, VaultLine)
    again = replaced(first, owner=second.owner, books=second.books, total=second.total, lent="0")
    snapshot.lines = [first, replaced(again, amount=second.total), *rest]
    assert sums_alone_are_fine(snapshot)
    assert check_of(snapshot) == "reserves_twice"
    snapshot.lines = [first, first, *rest]
    assert check_of(snapshot) == "reserves_twice"
    snapshot.lines = [second, first, *rest]
    assert check_of(snapshot) == "reserves_twice"


def test_a_pool_counted_twice() -> None:
    snapshot = Snapshot(vaults(6))
    assert isinstance(snapshot.lines[-1], PoolLine)
    snapshot.lines.append(snapshot.lines[-1])
    assert check_of(snapshot) == "reserves_twice"


def test_a_vault_left_out_of_the_tree() -> None:
    """Its tokens count as reserves, and nobody's claim on them as a liability."""
    honest = Snapshot(vaults(6))
    snapshot = Snapshot(honest.vaults[:5], lines=honest.lines)
    assert sums_alone_are_fine(snapshot)
    assert check_of(snapshot) == "left_out"


def test_a_balance_that_is_lower_in_the_tree() -> None:
    honest = Snapshot(vaults(6))
    poorer = MadeVault(honest.vaults[0].owner, (1, 1, 0, 0, 0))
    snapshot = Snapshot([poorer, *honest.vaults[1:]], lines=honest.lines)
    assert sums_alone_are_fine(snapshot)
    assert check_of(snapshot) == "left_out"


async def test_an_owner_whose_line_has_another_balance() -> None:
    """The sums agree, since another line has what is missing here."""
    honest = Snapshot(vaults(6))
    first, second, *rest = honest.lines
    assert isinstance(first, VaultLine)
    assert isinstance(second, VaultLine)
    honest.lines = [
        replaced(first, books=str(int(first.books) - 9)),
        replaced(second, books=str(int(second.books) + 9)),
        *rest,
    ]
    assert check_of(honest) is None
    index = [each.owner for each in honest.vaults].index(first.owner)
    assert await failed(honest.proof(index), reserves=honest.file) == {"left_out"}


@pytest.mark.parametrize(
    ("changes", "check"),
    [
        ({"amount": "1"}, "pool_cannot_pay"),
        ({"principal": "0"}, "pool_cannot_pay"),
        ({"pool": made_up("another pool")}, "pool_cannot_pay"),
        ({"slot": 999}, "reserves_stale"),
    ],
)
def test_a_pool_that_cannot_pay(changes: dict[str, Any], check: str) -> None:
    snapshot = Snapshot(vaults(6))
    assert isinstance(snapshot.lines[-1], PoolLine)
    snapshot.lines[-1] = replaced(snapshot.lines[-1], **changes)
    assert sums_alone_are_fine(snapshot)
    assert check_of(snapshot) == check


def test_a_position_that_does_not_hold_what_is_lent() -> None:
    snapshot = Snapshot(vaults(6))
    at = next(
        n for n, each in enumerate(snapshot.lines) if isinstance(each, VaultLine) and each.pool
    )
    checks = {"1": "pool_cannot_pay", None: "reserves_file"}
    for principal, check in checks.items():
        lines = list(snapshot.lines)
        lines[at] = replaced(lines[at], principal=principal)
        assert check_of(Snapshot(snapshot.vaults, lines=lines)) == check


def test_what_is_lent_to_an_unknown_program_counts_apart() -> None:
    lender = MadeVault(made_up("lender"), (90, 50, 0, 0, 40))
    unproven = line_of(lender, lent="40", amount="50")
    snapshot = Snapshot([lender], lines=[unproven])
    assert check_of(snapshot) is None
    assert snapshot.entry().reserves.unproven == "40"


@pytest.mark.parametrize(
    ("changes", "check"),
    [
        ({"slot": 999}, "reserves_stale"),
        ({"lent": "99999"}, "not_covered"),
        ({"owner": made_up("somebody else")}, "reserves_twice"),
        ({"amount": "18446744073709551616"}, "overflow"),
    ],
)
def test_a_line_that_cannot_be(changes: dict[str, Any], check: str) -> None:
    snapshot = Snapshot(vaults(6))
    entry = snapshot.entry()
    snapshot.lines = bent_lines(snapshot, **changes)
    with pytest.raises(ProofInvalid) as raised:
        for _ in verify_file(
            entry, snapshot.file, token_account_of=token_account_of(PROGRAM, MINT)
        ):
            pass
    assert raised.value.check == check


@pytest.mark.parametrize(
    "bend",
    [
        lambda file: file[:-1],
        lambda file: [*file, file[-1]],
        lambda file: [file[0].replace(b'"lamports":"2039280"', b'"lamports":"2039281"'), *file[1:]],
        lambda file: [file[0].replace(b'"kind":', b'"kind": '), *file[1:]],
        lambda file: [file[0][:-1], *file[1:]],
        lambda file: [b"x" * 3000 + b"\n", *file],
        lambda file: [file[-1], *file[:-1]],
        lambda file: [],
    ],
)
def test_another_file_than_the_one_of_the_entry(bend: Callable[[list[bytes]], list[bytes]]) -> None:
    snapshot = Snapshot(vaults(6))
    with pytest.raises(ProofInvalid) as raised:
        for _ in verify_file(
            snapshot.entry(), bend(snapshot.file), token_account_of=token_account_of(PROGRAM, MINT)
        ):
            pass
    assert raised.value.check in {"reserves_file", "reserves_twice"}


def test_the_entry_cannot_claim_other_sums_than_its_file_has() -> None:
    snapshot = Snapshot(vaults(6))
    reserves = snapshot.entry().reserves
    for name in ("tokens", "pools", "unproven"):
        more = replaced(reserves, **{name: str(int(getattr(reserves, name)) + 1)})
        with pytest.raises(ProofInvalid) as raised:
            for _ in verify_file(
                snapshot.entry(reserves=more),
                snapshot.file,
                token_account_of=token_account_of(PROGRAM, MINT),
            ):
                pass
        assert raised.value.check == "reserves_file"


def test_names_of_the_pool_and_the_key_are_addresses() -> None:
    for address in (ADDRESS, POOL):
        assert len(key_bytes(address)) == 32
    with pytest.raises(ProofInvalid):
        key_bytes("1111")


@pytest.mark.parametrize("name", ["genesis", "program", "mint", "blockhash"])
async def test_an_entry_whose_addresses_are_none(name: str) -> None:
    """Each has the characters of an address, and 40 bytes."""
    snapshot = Snapshot(vaults(6))
    proof = snapshot.proof(0, **{name: "1" * 40})
    assert await failed(proof, reserves=snapshot.file) == {"entry"}


@pytest.mark.parametrize(("at", "name"), [(0, "owner"), (-1, "pool"), (-1, "account")])
async def test_a_line_whose_addresses_are_none(at: int, name: str) -> None:
    snapshot = Snapshot(vaults(6))
    snapshot.lines[at] = replaced(snapshot.lines[at], **{name: "1" * 40})
    assert await failed(snapshot.proof(0), reserves=snapshot.file) == {"reserves_file"}


async def test_a_line_without_end_is_not_read_whole(tmp_path: Path) -> None:
    file = tmp_path / "reserves"
    with file.open("wb") as data:
        data.truncate(1 << 26)
    proof = msgspec.json.encode(Snapshot(vaults(6)).proof(0))
    given = Given(proof=proof, reserves=file, max_age=timedelta(hours=2), report=lambda _: None)
    tracemalloc.start()
    try:
        found = {each.name: each.outcome async for each in verify(given)}
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert found["reserves_file"] is Outcome.FAILED
    assert peak < 1 << 20


def test_a_fork_between_a_copy_that_ends_and_one_that_begins_later() -> None:
    """Neither copy has an entry of the other's numbers."""
    first = Snapshot(vaults(6))
    second = first.following()
    forked = Snapshot(vaults(5)).following()
    assert forked.number == second.number
    for old, new, check in ((first, second, None), (first, forked, "fork")):
        for one, other in (([old], [new]), ([new], [old])):
            found = None
            try:
                verify_same_log(*([each.signed() for each in log] for log in (one, other)))
            except ProofInvalid as error:
                found = error.check
            assert found == check
