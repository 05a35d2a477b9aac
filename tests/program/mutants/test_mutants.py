"""The mutants are those that the sources say, and a sample of them fails tests.

`make mutants` examines all of them.
"""

import shutil
from pathlib import Path

import pytest

from tests.harness.debian_programs import missing
from tests.paths import ROOT
from tests.program.mutants.__main__ import report
from tests.program.mutants.combined import combine
from tests.program.mutants.equivalent import EQUIVALENT
from tests.program.mutants.examination import Result, Selection, examine
from tests.program.mutants.mutations import Mutant, derive, derive_from, flat
from tests.program.mutants.record import Record

SAMPLE = 4
SAMPLED = "yield_pool/"  # the smallest program: all others take three times as long to build
HARMLESS, HARMFUL = 'sdk::log::log("nothing");', "pool.set_rate_bps(0)?;"
COMPILERS = ("llvm-link-22", "opt-22", "llc-22", "llvm-ar-22", "bpf-ld")


def changed(source: str) -> set[tuple[str, str]]:
    mutants = derive_from(source.encode(), "sdk/src/lib.rs")
    return {(flat(mutant.before), flat(mutant.after)) for mutant in mutants}


@pytest.mark.parametrize(
    ("statement", "change"),
    [
        ("if a > b { return Err(E); }", ("if a > b { return Err(E); }", "")),
        ("if a > b { return Err(E); }", ("a > b", "a >= b")),
        ("signer(account)?;", ("signer(account)?;", "")),
        ("token::transfer(a, b);", ("token::transfer(a, b);", "")),
        ("a.count += 1;", ("a.count += 1;", "")),
        ("if a && b { c() }", ("a && b", "b")),
        ("if a && b { c() }", ("a && b", "true")),
        ("let c = a == b;", ("a == b", "true")),
        ("let c = a.checked_sub(b);", ("a.checked_sub(b)", "Some(a.wrapping_sub(b))")),
        ("let c = f(true);", ("true", "false")),
        ("if a { Ok(()) } else { Err(E) }", ("if a { Ok(()) } else { Err(E) }", "{ Ok(()) }")),
        ("check(a)", ("check(a)", "Ok(())")),
    ],
)
def test_a_mutant_breaks_a_statement(statement: str, change: tuple[str, str]) -> None:
    assert change in changed(f"fn f() -> Result {{ {statement} }}")


def test_a_constant_moves_by_one() -> None:
    assert changed("const LIMIT: u64 = 8;") == {("8", "(8) + 1"), ("8", "(8) - 1")}


def test_what_the_compiler_proves_has_no_mutants() -> None:
    assert changed("const fn f() -> bool { 1 < 2 } const _: () = { assert!(f()); };") == set()


def test_mutants_of_one_place_and_inside_each_other_are_combined() -> None:
    source = b"fn f() -> Result { if a < b { return Err(E); } Ok(()) }"
    every = dict(enumerate(derive_from(source, "sdk/src/lib.rs"), 1))
    assert [flat(each.after) for each in every.values()] == ["", "a <= b"]
    assert combine(source, every).decode() == (
        "fn f() -> Result { if crate::mutant::is(1) {  } else { "
        "if (if crate::mutant::is(2) { a <= b } else { a < b }) { return Err(E); } } Ok(()) }"
    )


def test_every_reviewed_mutant_exists() -> None:
    assert EQUIVALENT.keys() <= {mutant.key for mutant in derive(ROOT / "program")}


def test_every_mutant_has_been_examined() -> None:
    """After a change of a program, `make mutants` examines those of the changed files."""
    assert Record.read().missing(derive(ROOT / "program")) == []


@pytest.mark.slow(seconds=120)
def test_a_sample_fails_tests_and_what_no_test_notices_is_reported(
    capsys: pytest.CaptureFixture[str],
) -> None:
    """The sample changes only where the sources change.

    What no test notices shows that none fails because any byte or cost of a program changed.
    """
    found = [shutil.which(name) for name in COMPILERS] + [Path("/usr/bin/rustc").exists()]
    if not all(found):
        missing("the compilers that `program/build.sh --install` installs")
    every = derive(ROOT / "program")
    of_one = [each for each in every if each.file.startswith(SAMPLED)]
    mutants = [each for each in of_one if each.key not in EQUIVALENT]
    sample = sorted(mutants, key=lambda mutant: mutant.order)[:SAMPLE]
    harmless, harmful = map(after_the_rate_is_set, (HARMLESS, HARMFUL))
    examined = examine(
        [*sample, harmless, harmful],
        jobs=1,
        tests=lambda mutant: Selection("" if mutant in sample else "yield_pool"),
    )
    results = {result.mutant: result for result in examined}
    assert [str(each) for each in sample if results[each].survived] == []
    assert sum(results[each].outcome == "killed" for each in sample) >= SAMPLE / 2
    assert results[harmful].outcome == "killed"
    assert "yield_pool" in results[harmful].by
    assert results[harmless].survived
    assert report([results[harmless]], every=[*every, harmless]) == 1
    assert f"SURVIVED {harmless}" in capsys.readouterr().out


def test_a_reviewed_mutant_that_is_killed_is_reported(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    mutant = after_the_rate_is_set("other();")
    monkeypatch.setitem(EQUIVALENT, mutant.key, "it does nothing")
    every = [*derive(ROOT / "program"), mutant]
    assert report([Result(mutant, "killed", "a test")], every=every) == 1
    assert f"STALE in equivalent.py: {mutant.key}" in capsys.readouterr().out


def after_the_rate_is_set(statement: str) -> Mutant:
    """Return a mutant with one more statement."""
    file = "yield_pool/src/instructions/set_rate.rs"
    source = (ROOT / "program" / file).read_bytes()
    start = source.index(b"    Ok(())")
    line = source[:start].count(b"\n") + 1
    return Mutant(file, "process", line, start, start, "", statement)
