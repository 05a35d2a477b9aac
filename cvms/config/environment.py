"""The variables from which a command reads its settings."""

from __future__ import annotations

import os
from collections.abc import Mapping
from difflib import get_close_matches
from io import StringIO
from pathlib import Path

from dotenv import dotenv_values

from cvms.config.fields import settings_of
from cvms.config.settings import Config
from cvms.errors import ConfigurationError

DOTENV = Path(".env")
"""In the working directory."""
SIMILARITY = 0.85
"""Of names, by difflib: one wrong letter in six, or a missing `S` at the end."""
_OTHERS = frozenset({"DATA_DIR", "LOCALNET_PORT"})  # defaults of flags


def environment(dotenv: Path = DOTENV) -> dict[str, str]:
    """Return the environment and, for variables it does not have, those of the file.

    Empty values in the file are ignored. Raises ConfigurationError if it cannot be read.
    """
    return parsed_dotenv(dotenv_text(dotenv)) | dict(os.environ)


def dotenv_text(path: Path) -> str:
    """Return a file's text, empty if there is no file. Raises ConfigurationError."""
    try:
        return path.read_bytes().decode("utf-8-sig")
    except (FileNotFoundError, IsADirectoryError):
        return ""
    except UnicodeDecodeError as error:
        line = error.object[: error.start].count(b"\n") + 1
        raise ConfigurationError(f"{path} is not UTF-8 in line {line}") from None
    except OSError as error:
        raise ConfigurationError(f"{path} cannot be read: {error.strerror}") from None


def parsed_dotenv(text: str) -> dict[str, str]:
    """Return the variables that are not empty, with `${…}` replaced."""
    return {name: value for name, value in dotenv_values(stream=StringIO(text)).items() if value}


def misspelt(environ: Mapping[str, str]) -> dict[str, str]:
    """Return the names that are not settings but resemble one, each with the setting's name.

    A name with all words of a setting's and further ones is a variable of something else.
    """
    known = [setting.name for setting in settings_of(Config)]
    distinct = [name for name in known if len(name) > 4]  # many things resemble `HOST` and `PORT`
    meant: dict[str, str] = {}
    for name in sorted(environ.keys() - known - _OTHERS):
        for similar in get_close_matches(name.upper(), distinct, n=1, cutoff=SIMILARITY):
            if not set(similar.split("_")) < set(name.upper().split("_")):
                meant[name] = similar
    return meant
