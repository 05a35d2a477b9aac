"""Key files: made where they are missing, private, never overwritten, on the disk before use."""

from __future__ import annotations

import json
import os
import stat
from dataclasses import dataclass, field
from pathlib import Path

from solders.keypair import Keypair
from solders.pubkey import Pubkey

from cvms.config.parsers import keypair_file
from cvms.errors import ConfigurationError


@dataclass(frozen=True, slots=True)
class KeyFile:
    """A key and the file that holds it, or will hold it once it is written."""

    path: Path
    key: Keypair = field(repr=False)
    is_new: bool

    @property
    def address(self) -> Pubkey:
        return self.key.pubkey()

    def write(self) -> None:
        """Write the key unless its file exists. It is on the disk afterwards, come what may."""
        if self.is_new:
            write_new(self.path, json.dumps(list(bytes(self.key))))

    def saved(self) -> KeyFile:
        """Write the key, and return it as one whose file exists."""
        self.write()
        return KeyFile(self.path, self.key, is_new=False)


def key_in(path: Path) -> KeyFile:
    """Return the key of a file, or a new one in memory if the file does not exist.

    Raises ConfigurationError if the file is no keypair, or others can read it.
    """
    if path.exists():
        return KeyFile(path, existing_key(path), is_new=False)
    return KeyFile(path, Keypair(), is_new=True)


def existing_key(path: Path) -> Keypair:
    """Return the key of a file. Raises ConfigurationError; as `key_in`."""
    try:
        return keypair_file(str(path))
    except ValueError as error:
        raise ConfigurationError(f"{path}: {error}; expected a Solana keypair file") from None


def check_private(folder: Path) -> None:
    """Raise ConfigurationError if others can read a folder's files, or replace them."""
    if folder.exists():
        if not folder.is_dir():
            raise ConfigurationError(f"{folder} is not a folder; name another one with --keys")
        if folder.stat().st_mode & (stat.S_IRWXO | stat.S_IWGRP):
            raise ConfigurationError(
                f"{folder}: others can read or write the folder of the keys; "
                f"run `chmod 700 {folder}`"
            )


def write_new(path: Path, text: str) -> None:
    """Write a file that only its owner may read, and that does not exist yet, to the disk.

    It appears complete or not at all. Raises ConfigurationError if it exists or cannot be written.
    """
    draft = path.with_name(f"{path.name}.new")
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        draft.unlink(missing_ok=True)  # of a run that was killed
        write_draft(draft, text)
        os.link(draft, path)
        draft.unlink()
        sync_folder(path.parent)
    except OSError as error:
        raise ConfigurationError(f"{path} cannot be written: {error.strerror}") from None


def replace_file(path: Path, text: str) -> None:
    """Write a file that only its owner may read in place of another. Raises ConfigurationError."""
    draft = path.with_name(f"{path.name}.new")
    try:
        draft.unlink(missing_ok=True)
        write_draft(draft, text)
        draft.replace(path)
        sync_folder(path.parent)
    except OSError as error:
        raise ConfigurationError(f"{path} cannot be written: {error.strerror}") from None


def write_draft(draft: Path, text: str) -> None:
    """Write a new file with mode 0600 to the disk. Raises OSError."""
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())


def sync_folder(folder: Path) -> None:
    """Write a folder's names to the disk. Raises OSError."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
