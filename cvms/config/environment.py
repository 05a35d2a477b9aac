"""The variables from which a command reads its settings."""

from __future__ import annotations

import os

from dotenv import dotenv_values


def environment() -> dict[str, str]:
    """Return the environment and, for variables it does not have, `.env` of the working directory.

    Empty values in `.env` are ignored.
    """
    from_file = {name: value for name, value in dotenv_values(".env").items() if value}
    return from_file | dict(os.environ)
