"""Files of proofs of reserves that are given to commands."""

from __future__ import annotations

import stat
from pathlib import Path
from typing import TYPE_CHECKING

from cvms.errors import ConfigurationError, ProofInvalid

if TYPE_CHECKING:
    from cvms.proofs.log_entry import SignedEntry

MAX_LOG_BYTES = 1 << 30


def read_log(file: Path) -> list[SignedEntry]:
    """Return the entries of a copy of the log. Raises ConfigurationError if it is none."""
    from cvms.proofs.log_entry import SIGNED, decoded  # noqa: PLC0415

    try:
        lines = read_file(file, MAX_LOG_BYTES).splitlines()
        return [decoded(line, SIGNED, check="log") for line in lines]
    except ProofInvalid as error:
        raise ConfigurationError(f"{file} is no copy of the log of proofs: {error}") from None


def read_file(file: Path, limit: int) -> bytes:
    """Return the content of a file of at most so many bytes. Raises ConfigurationError."""
    try:
        with file.open("rb") as opened:
            data = opened.read(limit + 1)
    except OSError as error:
        raise ConfigurationError(f"cannot read {file}: {error.strerror}") from None
    if len(data) > limit:
        raise ConfigurationError(f"{file} has more than {limit} bytes")
    return data


def check_regular(file: Path) -> None:
    """Raise ConfigurationError unless it is a file that can be read more than once."""
    try:
        if not stat.S_ISREG(file.stat().st_mode):
            raise ConfigurationError(f"{file} is not a regular file, which is read twice")
        file.open("rb").close()
    except OSError as error:
        raise ConfigurationError(f"cannot read {file}: {error.strerror}") from None
