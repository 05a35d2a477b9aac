"""Key files are private, and stay as they are."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from cvms.bootstrap.key_files import (
    check_private,
    existing_key,
    key_in,
    replace_file,
    write_new,
    written_draft,
)
from cvms.errors import ConfigurationError


def test_a_new_key_is_written_once_for_its_owner_only(tmp_path: Path) -> None:
    path = tmp_path / "keys" / "operator.json"
    file = key_in(path)
    assert not path.exists(), "only `write` writes"
    file.write()
    assert existing_key(path) == file.key
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    assert [each.name for each in path.parent.iterdir()] == ["operator.json"]
    again = key_in(path)
    assert (again.address, again.is_new) == (file.address, False)


def test_a_file_that_appears_meanwhile_is_not_overwritten(tmp_path: Path) -> None:
    path = tmp_path / "operator.json"
    late = key_in(path)
    first = key_in(path).saved()
    with pytest.raises(ConfigurationError, match="another run"):
        late.write()
    assert existing_key(path) == first.key


def test_two_runs_at_once_do_not_mix_their_keys(tmp_path: Path) -> None:
    """What is in a file is what the run that made it uses."""
    path = tmp_path / "operator.json"
    with written_draft(path, "theirs") as draft:
        ours = key_in(path).saved()
        with pytest.raises(FileExistsError):
            os.link(draft, path)
    assert existing_key(path) == ours.key
    assert [each.name for each in tmp_path.iterdir()] == ["operator.json"]


def test_the_draft_of_a_killed_run_is_no_obstacle(tmp_path: Path) -> None:
    (tmp_path / "operator.json.new").write_text("[1,2")
    write_new(tmp_path / "operator.json", "text")
    assert (tmp_path / "operator.json").read_text() == "text"


def test_a_failure_leaves_no_draft(tmp_path: Path) -> None:
    folder = tmp_path / "operator.json"
    folder.mkdir()
    for write in (write_new, replace_file):
        with pytest.raises(ConfigurationError):
            write(folder, "secret")
    assert [*tmp_path.iterdir()] == [folder]


def test_a_link_that_leads_nowhere_is_no_place_for_a_key(tmp_path: Path) -> None:
    (tmp_path / "operator.json").symlink_to(tmp_path / "safe" / "operator.json")
    with pytest.raises(ConfigurationError, match="No such file"):
        key_in(tmp_path / "operator.json")


@pytest.mark.parametrize("mode", [0o644, 0o604, 0o620])
def test_a_key_that_others_can_read_or_write_is_refused(tmp_path: Path, mode: int) -> None:
    path = tmp_path / "operator.json"
    key_in(path).write()
    path.chmod(mode)
    with pytest.raises(ConfigurationError, match=f"chmod 600 {path}"):
        key_in(path)


@pytest.mark.parametrize("mode", [0o755, 0o770, 0o701])
def test_a_folder_of_keys_that_others_can_open_is_refused(tmp_path: Path, mode: int) -> None:
    folder = tmp_path / "keys"
    folder.mkdir()
    folder.chmod(mode)
    with pytest.raises(ConfigurationError, match=f"chmod 700 {folder}"):
        check_private(folder)
    folder.chmod(0o700)
    check_private(folder)


def test_a_file_without_a_key_is_refused_and_not_quoted(tmp_path: Path) -> None:
    path = tmp_path / "operator.json"
    write_new(path, "very secret")
    with pytest.raises(ConfigurationError) as refused:
        key_in(path)
    assert "very secret" not in str(refused.value)
