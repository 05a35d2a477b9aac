"""The numbered migrations, and what a database has of them.

A migration says in its second line what it means for code that does not know it. After an
`expansion` older code keeps working. After a `contraction` only code from some migration on does,
which the database remembers: older code does not start.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from importlib import resources

from cvms.errors import SchemaMismatch

FIRST_RELEASE = 27
"""The newest migration of the first release. Later ones declare what they mean for older code."""

# The second line of a file. What a contraction takes away, no code from that migration on uses.
_DECLARED = re.compile(
    r"^-- (?:expansion|contraction: code that knows migration (?P<oldest>\d+))$", re.MULTILINE
)


@dataclass(frozen=True, slots=True)
class Migration:
    """One file migrations/<version>_<subject>.sql; its first line is `-- <name>`."""

    version: int
    name: str
    sql: str
    file: str = ""

    @property
    def declared(self) -> bool:
        """True if it says whether older code keeps working."""
        return _DECLARED.search(self.sql) is not None

    @property
    def oldest_code(self) -> int | None:
        """The newest migration that code must know to work after this one; None for any code."""
        found = _DECLARED.search(self.sql)
        return int(found["oldest"]) if found and found["oldest"] else None

    @property
    def checksum(self) -> str:
        """SHA-256 of the text, without spaces at the ends of lines and lines at the ends of it."""
        lines = "\n".join(line.rstrip() for line in self.sql.splitlines())
        return hashlib.sha256(lines.strip().encode()).hexdigest()


@dataclass(frozen=True, slots=True)
class AppliedMigration:
    """A migration that a database has. The first release recorded no checksums."""

    version: int
    name: str
    checksum: str | None
    oldest_code: int | None


class MigrationState(StrEnum):
    """A database's schema beside that of this code."""

    BEHIND = "behind"
    EQUAL = "equal"
    NEWER_COMPATIBLE = "newer_compatible"
    NEWER_INCOMPATIBLE = "newer_incompatible"


@dataclass(frozen=True, slots=True)
class SchemaStatus:
    """The migrations of a database, beside those of this code."""

    applied: Sequence[AppliedMigration]
    known: Sequence[Migration]

    @property
    def pending(self) -> list[Migration]:
        """The migrations that the database lacks."""
        have = {each.version for each in self.applied}
        return [each for each in self.known if each.version not in have]

    @property
    def newer(self) -> list[AppliedMigration]:
        """The migrations that this code does not know."""
        known = {each.version for each in self.known}
        return [each for each in self.applied if each.version not in known]

    @property
    def changed(self) -> list[Migration]:
        """The migrations whose files are not what was applied."""
        applied = {each.version: each.checksum for each in self.applied}
        return [
            each for each in self.known if applied.get(each.version) not in (None, each.checksum)
        ]

    @property
    def recorded(self) -> bool:
        """True if the database has the checksum of every migration that this code knows."""
        known = {each.version for each in self.known}
        return all(each.checksum for each in self.applied if each.version in known)

    @property
    def code(self) -> int:
        """The newest migration that this code knows."""
        return max((each.version for each in self.known), default=0)

    @property
    def oldest_code(self) -> int:
        """The newest migration that code must know to work with this database."""
        return max((each.oldest_code or 0 for each in self.applied), default=0)

    @property
    def state(self) -> MigrationState:
        if self.oldest_code > self.code:
            return MigrationState.NEWER_INCOMPATIBLE
        if self.pending:
            return MigrationState.BEHIND
        return MigrationState.NEWER_COMPATIBLE if self.newer else MigrationState.EQUAL

    def check_applied(self) -> None:
        """Raise SchemaMismatch if migrations are pending, or `check` does."""
        self.check()
        if self.pending:
            raise SchemaMismatch(
                f"the database lacks {len(self.pending)} migrations of this release, up to "
                f"{self.pending[-1].file}, and MIGRATE is off: run `cvms migrate` with the role "
                "that owns the tables, then start again"
            )

    def check(self) -> None:
        """Raise SchemaMismatch if this code must not work with the database."""
        for each in self.changed:
            raise SchemaMismatch(
                f"migration {each.file or each.version} is not the one that was applied to this "
                "database: its text has changed since; put back the released file, and write what "
                "has to change as a new migration"
            )
        if self.state is MigrationState.NEWER_INCOMPATIBLE:
            raise SchemaMismatch(
                f"the database has migration {self.newer[-1].version}, after which only code that "
                f"knows migration {self.oldest_code} may run; this code knows {self.code}: "
                "start a newer release"
            )


def migrations() -> list[Migration]:
    """Return the migrations in order of their version."""
    files = [each for each in resources.files(__name__).iterdir() if each.name.endswith(".sql")]
    texts = {file.name: file.read_text(encoding="utf-8") for file in files}
    return [
        Migration(
            version=int(name.partition("_")[0]),
            name=text.partition("\n")[0].removeprefix("-- "),
            sql=text,
            file=name,
        )
        for name, text in sorted(texts.items())
    ]
