"""The mutants that were examined and did not survive, in `record.txt`.

All of them take more than an hour, and few depend on a change: a run goes on after those before it.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from hashlib import sha256
from pathlib import Path

from tests.paths import ROOT
from tests.program.mutants.mutations import Mutant

FILE = Path(__file__).with_name("record.txt")
DIGITS = 12


@dataclass(slots=True, eq=False)
class Record:
    """Hashes of mutants together with their sources: another source has other mutants."""

    hashes: set[str]
    file: Path

    @classmethod
    def read(cls, file: Path = FILE) -> Record:
        return cls(set(file.read_text().split()), file)

    def missing(self, mutants: Iterable[Mutant]) -> list[Mutant]:
        """Return those that have not been examined, or survived."""
        return [each for each in mutants if hash_of(each) not in self.hashes]

    def add(self, mutant: Mutant) -> None:
        """Add a mutant at once, so that a run may be stopped."""
        self.hashes.add(hash_of(mutant))
        with self.file.open("a") as file:
            file.write(f"{hash_of(mutant)}\n")

    def prune(self, every: Sequence[Mutant]) -> None:
        """Keep only those of mutants that there are, in order."""
        self.hashes &= {hash_of(each) for each in every}
        self.file.write_text("".join(f"{each}\n" for each in sorted(self.hashes)))


def hash_of(mutant: Mutant) -> str:
    text = f"{mutant.key} {mutant.start} {_hash_of_source(mutant.file)}"
    return sha256(text.encode()).hexdigest()[:DIGITS]


@cache
def _hash_of_source(file: str) -> str:
    return sha256((ROOT / "program" / file).read_bytes()).hexdigest()
