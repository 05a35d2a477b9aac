"""One source that holds many mutants. A number in the ELF, which is patched, chooses one of them.

A build of the programs takes longer than the test that fails. So they are built once, instead of
once for each mutant.
"""

import re
from collections.abc import Mapping, Sequence
from itertools import groupby
from pathlib import Path

from tests.program.mutants.mutations import Mutant
from tests.program.mutants.reach import EVERY
from tests.program.mutants.reach import MARK as REACHED

ALONE = {("collateral_vault/src/state/list.rs", "len"), ("sdk/src/token.rs", "is_mint")}
# The bound of `len` keeps this from overflowing, which the compiler cannot see among all mutants;
# and there is no product of 128 bits with which it could check.
CHECKED, UNCHECKED = b"index * self.stride", b"index.wrapping_mul(self.stride)"
MARK = b"here is a mutant"
MODULE = f"""
pub mod mutant {{
    #[repr(C)]
    struct Chosen {{
        mark: [u8; {len(MARK)}],
        number: u32,
    }}
    #[used]
    static CHOSEN: Chosen = Chosen {{ mark: *b"{MARK.decode()}", number: 0 }};

    #[allow(unsafe_code)]
    #[inline(never)]
    pub fn is(number: u32) -> bool {{
        // Volatile, so that no compiler takes it for 0.
        let chosen = unsafe {{ core::ptr::read_volatile(&raw const CHOSEN.number) }};
        if chosen == {EVERY} {{
            reached(number);
        }}
        chosen == number
    }}

    #[allow(unsafe_code)]
    #[cold]
    #[inline(never)]
    fn reached(number: u32) {{
        type Syscall = unsafe extern "C" fn(u64, u64, u64, u64, u64);
        // The hash of sol_log_64_, which the virtual machine resolves.
        let log: Syscall = unsafe {{ core::mem::transmute(0x5c2a_3178usize) }};
        unsafe {{ log({REACHED}, number as u64, 0, 0, 0) }}
    }}
}}
"""
PLACE = re.compile(r"--> (\S+\.rs):(\d+):")
NUMBER = re.compile(r"mutant::is\((\d+)\)")


def can_be_chosen(mutant: Mutant) -> bool:
    """Return False for a constant, and where code generation needs to know what is not mutated."""
    return not mutant.function.isupper() and (mutant.file, mutant.function) not in ALONE


def combine(source: bytes, mutants: Mapping[int, Mutant]) -> bytes:
    """Return the source of a file with these mutants, by number, beside what they replace."""
    by_place = sorted(mutants.items(), key=lambda each: (each[1].start, -each[1].end))
    groups = [
        list(each) for _, each in groupby(by_place, lambda each: (each[1].start, each[1].end))
    ]

    def text(start: int, end: int) -> bytes:
        """Take the groups of mutants that lie in this part of the source, and write it."""
        parts = []
        while groups and groups[0][0][1].end <= end:
            group = groups.pop(0)
            mutant = group[0][1]
            parts += [source[start : mutant.start], choice(group, text(mutant.start, mutant.end))]
            start = mutant.end
        return b"".join([*parts, source[start:end]])

    return text(0, len(source)).replace(CHECKED, UNCHECKED)


def choice(group: Sequence[tuple[int, Mutant]], original: bytes) -> bytes:
    """Return code that does what the chosen mutant does, or the original."""
    crate = "crate" if group[0][1].file.startswith("sdk/") else "sdk"
    branches = "".join(
        f"if {crate}::mutant::is({number}) {block(mutant.after)} else " for number, mutant in group
    ).encode()
    mutant = group[0][1]
    whole = branches + b"{ " + original + b" }"
    is_statement = any(not each.after for _, each in group)
    return whole if is_statement or mutant.before.startswith("if ") else b"(" + whole + b")"


def block(code: str) -> str:
    return code if code.startswith("{") else f"{{ {code} }}"


def refused(root: Path, messages: str) -> set[int]:
    """Return the numbers on the lines that the compiler complains about."""
    numbers = set()
    for file, line in PLACE.findall(messages):
        lines = (root / file.removeprefix("program/")).read_text().splitlines()
        numbers |= {int(number) for number in NUMBER.findall(lines[int(line) - 1])}
    return numbers


def choose(elf: bytes, number: int) -> bytes:
    """Return the ELF in which this mutant is chosen; with 0, none."""
    at = elf.index(MARK) + len(MARK)
    return elf[:at] + number.to_bytes(4, "little") + elf[at + 4 :]
