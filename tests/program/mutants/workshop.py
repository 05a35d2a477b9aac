"""A copy of the programs' sources in which mutants are built, one at a time."""

import shutil
import subprocess
from pathlib import Path

from tests.paths import ROOT
from tests.program.mutants.mutations import PROGRAMS, SOURCES, Mutant

SECONDS_TO_BUILD = 1_200  # the first build makes core
KEPT = (*SOURCES, "compiler_builtins", "build.sh", "sbpf.ld", "toolchain.txt")


class Workshop:
    """A folder with the sources, the ELFs that tests load, and those of the sources unchanged."""

    def __init__(self, folder: Path) -> None:
        self.sources = folder / "program"
        self.elfs = folder / "cvms" / "programs"
        self.unchanged = folder / "unchanged"

    def set_up(self) -> None:
        """Copy the sources and build them; `target` is shared, so that core is built only once."""
        self.sources.mkdir(parents=True)
        for name in KEPT:
            place = ROOT / "program" / name
            copy = shutil.copytree if place.is_dir() else shutil.copy2
            copy(place, self.sources / name)
        shared = ROOT / "program" / "target"
        shared.mkdir(exist_ok=True)
        (self.sources / "target").symlink_to(shared)
        failure = self.build(PROGRAMS)
        assert failure is None, failure
        shutil.copytree(self.elfs, self.unchanged)

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

    def same_bytes(self) -> bool:
        return all(
            (self.elfs / elf.name).read_bytes() == elf.read_bytes()
            for elf in self.unchanged.iterdir()
        )

    def restore(self) -> None:
        shutil.copytree(self.unchanged, self.elfs, dirs_exist_ok=True)
