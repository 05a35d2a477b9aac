"""Secrets of the development environment, made at the first start and kept in the data folder.

With them the routes of administrators and second factors work, too. They are never printed.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from cvms.bootstrap.env_file import MAKERS
from cvms.config.parsers import private_text
from cvms.dev.data_folder import write_private
from cvms.errors import ConfigurationError


def make_secrets(folder: Path) -> None:
    """Make the missing secrets, readable by their owner only."""
    for name, make in MAKERS.items():
        if not (path := _path(folder, name)).exists():
            write_private(path, make())


def with_secrets(environ: Mapping[str, str], folder: Path) -> dict[str, str]:
    """Return the settings, with the folder's secrets for those that are unset.

    Raises ConfigurationError for a secret that cannot be read, or that others can read.
    """
    unset = (name for name in MAKERS if not environ.get(name))
    kept = {name: _read(path) for name in unset if (path := _path(folder, name)).exists()}
    return dict(environ) | kept


def _read(path: Path) -> str:
    try:
        return private_text(path)
    except OSError as error:
        raise ConfigurationError(f"{path}: {error.strerror}") from None
    except ValueError as error:
        raise ConfigurationError(f"{path}: {error}") from None


def _path(folder: Path, name: str) -> Path:
    return folder / name.lower()
