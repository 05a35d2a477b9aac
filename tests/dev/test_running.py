"""Commands in other terminals find the environments that run, and only those."""

from __future__ import annotations

import os
import subprocess
from contextlib import ExitStack
from pathlib import Path

import pytest

from cvms.cli.arguments import data_folder
from cvms.dev.data_folder import locked_folder
from cvms.dev.running import (
    RunningEnvironment,
    find_data_folder,
    find_running,
    recorded,
    running_environments,
)
from cvms.errors import ConfigurationError


@pytest.fixture(autouse=True)
def records(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache" / "cvms" / "running"


def environment(data: Path, pid: int | None = None) -> RunningEnvironment:
    url = f"http://service.{data.name}"
    return RunningEnvironment(str(data), pid or os.getpid(), url, f"http://chain.{data.name}")


def test_the_one_that_runs_is_found_until_it_ends(tmp_path: Path, records: Path) -> None:
    data = tmp_path / "data"
    assert find_data_folder("") == Path(".cvms")
    with locked_folder(data, "dev"), recorded(environment(data)) as found:
        assert found
        assert find_data_folder("") == data
        assert find_running("") == find_running(str(data)) == environment(data)
        assert find_data_folder("elsewhere") == Path("elsewhere")
        with pytest.raises(ConfigurationError, match="no `cvms dev` runs in /elsewhere"):
            find_running("/elsewhere")
        [record] = records.iterdir()
        assert record.stat().st_mode & 0o077 == 0
    assert find_running("") is None
    assert list(records.iterdir()) == []


def test_with_two_the_choice_is_asked_for(tmp_path: Path) -> None:
    one, two = tmp_path / "one", tmp_path / "two"
    with ExitStack() as stack:
        for data in (one, two):
            stack.enter_context(locked_folder(data, "dev"))
            stack.enter_context(recorded(environment(data)))
        with pytest.raises(ConfigurationError) as refused:
            find_data_folder("")
        assert str(refused.value) == (
            f"several `cvms dev` run: {one} (http://service.one), {two} (http://service.two); "
            "choose one with --data-dir"
        )
        with pytest.raises(Exception, match="choose one with --data-dir"):
            data_folder("")
        assert find_running(str(two)) == environment(two)
    assert data_folder("") == Path(".cvms")


def test_what_a_killed_one_left_is_dropped(tmp_path: Path, records: Path) -> None:
    """Also if another process has its number by now."""
    ended = subprocess.Popen(["true"])
    ended.wait()
    data = tmp_path / "data"
    data.mkdir()
    (data / "dev.lock").touch()
    with ExitStack() as stack:
        for pid in (ended.pid, os.getpid()):
            stack.enter_context(recorded(environment(data, pid)))
            assert running_environments() == []
            assert list(records.iterdir()) == []


def test_a_record_that_cannot_be_read_or_written_is_no_failure(
    tmp_path: Path, records: Path
) -> None:
    records.mkdir(parents=True)
    (records / "broken.json").write_text("{")
    (records / "strange.json").write_text('{"data": 1}')
    (records / "gone.json").write_text(
        f'{{"data": "{tmp_path}/gone", "pid": {os.getpid()}, "url": "", "rpc_url": ""}}'
    )
    assert running_environments() == []
    for each in records.iterdir():
        each.unlink()
    records.rmdir()
    records.touch()
    with recorded(environment(tmp_path / "data")) as found:
        assert not found
