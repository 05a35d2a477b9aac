"""What was released stays as it is, and the last release works with what comes after it."""

from __future__ import annotations

from cvms.store.postgres.migrations import FIRST_RELEASE, migrations
from tests.releases.last_release import released_migrations


def test_no_released_migration_has_changed() -> None:
    released = released_migrations()
    assert len(released) >= FIRST_RELEASE
    assert {each.file: each.sql for each in migrations() if each.file in released} == released


def test_the_last_release_may_run_after_every_migration() -> None:
    """A contraction has to wait until no release that needs what it removes is the last one."""
    newest = max(int(name.partition("_")[0]) for name in released_migrations())
    too_new = [each.file for each in migrations() if (each.oldest_code or 0) > newest]
    assert too_new == []
