"""A token of SoftHSM 2, and signers that another package has added."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.signing.faulty_signer import SIGNERS, FaultySigner
from tests.signing.softhsm import SoftHsm, start_softhsm


@pytest.fixture
def hsm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> SoftHsm:
    """A token without a key, to which this process's module leads."""
    hsm = start_softhsm(tmp_path / "hsm")
    for name, value in hsm.environ.items():
        monkeypatch.setenv(name, value)
    return hsm


@pytest.fixture
def faulty(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[FaultySigner]:
    """The signer that `faulty:one` opens, by the entry point of an installed package."""
    with_entry_points(tmp_path, monkeypatch)
    SIGNERS["one"] = FaultySigner()
    yield SIGNERS["one"]
    SIGNERS.clear()


def with_entry_points(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let `faulty:` and `hedged:` be schemes of another package."""
    install(
        tmp_path,
        "faulty = tests.signing.faulty_signer:open_faulty\n"
        "hedged = tests.signing.hedged_signer:open_hedged",
    )
    monkeypatch.syspath_prepend(tmp_path)


def install(folder: Path, entry_point: str) -> None:
    """Make a package that is installed in the folder, with an entry point for a signer."""
    about = folder / "example_signer-1.0.dist-info"
    about.mkdir()
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: example-signer\nVersion: 1.0\n")
    (about / "entry_points.txt").write_text(f"[cvms.signers]\n{entry_point}\n")
