"""Key files: made where they are missing, private, never overwritten, on the disk before use."""

from __future__ import annotations

import fcntl
import json
import os
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from solders.keypair import Keypair
from solders.pubkey import Pubkey

from cvms.config.parsers import keypair_file
from cvms.errors import ConfigurationError, StepFailed


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
    if os.path.lexists(path):  # a link that leads nowhere is no place for a new key
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


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Keep other commands from using a folder's keys meanwhile. It is made if it is missing.

    Raises StepFailed if one does, and ConfigurationError if the folder cannot be locked.
    """
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    except OSError as error:
        raise ConfigurationError(f"{folder} cannot be opened: {error.strerror}") from None
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise StepFailed(
                f"another command uses the keys in {folder}, so nothing was done; let it end, "
                "then run this one again"
            ) from None
        except OSError as error:
            raise ConfigurationError(
                f"{folder} cannot be locked: {error.strerror}; name a folder on a local disk "
                "with --keys"
            ) from None
        yield
    finally:
        os.close(descriptor)


def write_new(path: Path, text: str) -> None:
    """Write a file that only its owner may read, and that does not exist yet, to the disk.

    It appears complete or not at all. Raises ConfigurationError if it exists or cannot be written.
    """
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with written_draft(path, text) as draft:
            os.link(draft, path)
        sync_folder(path.parent)
    except FileExistsError:
        raise ConfigurationError(
            f"{path} was made by another run meanwhile; let that one end, then run the command "
            "again"
        ) from None
    except OSError as error:
        raise ConfigurationError(f"{path} cannot be written: {error.strerror}") from None


def replace_file(path: Path, text: str) -> None:
    """Write a private file in place of another, whose owner it keeps. Raises ConfigurationError.

    Only the owner may read it, and the group if it might before and others might not. Of a link it
    replaces the file that it leads to.
    """
    path = path.resolve()
    try:
        before = path.stat() if path.exists() else None
        with written_draft(path, text) as draft:
            if before is not None:
                os.chown(draft, before.st_uid, before.st_gid)
                draft.chmod(0o600 if before.st_mode & stat.S_IRWXO else before.st_mode & 0o660)
            draft.replace(path)
        sync_folder(path.parent)
    except OSError as error:
        raise ConfigurationError(f"{path} cannot be written: {error.strerror}") from None


@contextmanager
def written_draft(path: Path, text: str) -> Iterator[Path]:
    """Write a file with mode 0600 beside `path` to the disk, under a name that no other run has.

    It is removed at the end, unless it has got another name. Raises OSError.
    """
    descriptor, name = tempfile.mkstemp(prefix=f"{path.name}.", suffix=".new", dir=path.parent)
    draft = Path(name)
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        yield draft
    finally:
        draft.unlink(missing_ok=True)


def sync_folder(folder: Path) -> None:
    """Write a folder's names to the disk. Raises OSError."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
