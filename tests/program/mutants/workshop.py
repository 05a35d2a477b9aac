"""A copy of the programs' sources in which mutants are built, alone or all together."""

import shutil
import subprocess
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

from tests.paths import ROOT
from tests.program.mutants import combined
from tests.program.mutants.mutations import PROGRAMS, SOURCES, Mutant

SECONDS_TO_BUILD = 1_200  # the first build makes core
KEPT = (*SOURCES, "compiler_builtins", "build.sh", "sbpf.ld", "toolchain.txt")


class Workshop:
    """A folder with the sources, the ELFs that tests load, and those without a mutant.

    These are built of the sources unchanged, or `combined`, with all mutants of which none is
    chosen.
    """

    def __init__(self, folder: Path) -> None:
        self.sources = folder / "program"
        self.elfs = folder / "cvms" / "programs"
        self.unchanged = folder / "unchanged"
        self.combined = folder / "combined"

    def set_up(self, mutants: Sequence[Mutant]) -> None:
        """Copy the sources and build what has mutants; the other programs are those that ship.

        `target` is shared, so that core is built only once.
        """
        self.sources.mkdir(parents=True)
        for name in KEPT:
            place = ROOT / "program" / name
            copy = shutil.copytree if place.is_dir() else shutil.copy2
            copy(place, self.sources / name)
        shared = ROOT / "program" / "target"
        shared.mkdir(exist_ok=True)
        (self.sources / "target").symlink_to(shared)
        shutil.copytree(ROOT / "cvms" / "programs", self.elfs)
        failure = self.build(tuple({program for each in mutants for program in each.programs}))
        assert failure is None, failure
        shutil.copytree(self.elfs, self.unchanged)

    def combine(self, mutants: Sequence[Mutant]) -> dict[Mutant, int]:
        """Build these mutants together. Return their numbers, without those that must be alone."""
        numbers = dict(enumerate(mutants, 1))
        left = {number: each for number, each in numbers.items() if combined.can_be_chosen(each)}
        while True:
            originals = self.write_combined(left)
            try:
                failure = self.build(PROGRAMS)
                if failure is None:
                    shutil.copytree(self.elfs, self.combined)
                    return {mutant: number for number, mutant in left.items()}
                refused = combined.refused(self.sources, failure)
            finally:
                for place, original in originals.items():
                    place.write_bytes(original)
            assert refused, failure
            left = {number: each for number, each in left.items() if number not in refused}

    def write_combined(self, mutants: dict[int, Mutant]) -> dict[Path, bytes]:
        """Write the sources with these mutants. Return what was there before."""
        library = "sdk/src/lib.rs"
        files: defaultdict[str, dict[int, Mutant]] = defaultdict(dict, {library: {}})
        for number, mutant in mutants.items():
            files[mutant.file][number] = mutant
        originals = {self.sources / file: (self.sources / file).read_bytes() for file in files}
        for file, some in files.items():
            place = self.sources / file
            module = combined.MODULE if file == library else ""
            place.write_bytes(combined.combine(originals[place], some) + module.encode())
        return originals

    def build(self, programs: tuple[str, ...]) -> str | None:
        """Build the programs. Return the compiler's messages if it refuses."""
        done = subprocess.run(
            [self.sources / "build.sh", "--lax", *programs],
            capture_output=True,
            text=True,
            timeout=SECONDS_TO_BUILD,
            check=False,
        )
        return done.stderr or done.stdout if done.returncode else None

    def build_mutant(self, mutant: Mutant) -> str | None:
        self.restore()
        place = self.sources / mutant.file
        source = place.read_bytes()
        place.write_bytes(mutant.apply(source))
        try:
            return self.build(mutant.programs)
        finally:
            place.write_bytes(source)

    def choose(self, number: int) -> None:
        """Place the combined ELFs with this mutant; with 0, without any."""
        for elf in self.combined.iterdir():
            (self.elfs / elf.name).write_bytes(combined.choose(elf.read_bytes(), number))

    def same_bytes(self) -> bool:
        return all(
            (self.elfs / elf.name).read_bytes() == elf.read_bytes()
            for elf in self.unchanged.iterdir()
        )

    def restore(self) -> None:
        shutil.copytree(self.unchanged, self.elfs, dirs_exist_ok=True)
