"""Where the settings of a command come from."""

from __future__ import annotations

import os

from dotenv import dotenv_values


def environment() -> dict[str, str]:
    """The environment over `.env` of the working directory."""
    from_file = {name: value for name, value in dotenv_values(".env").items() if value}
    return from_file | dict(os.environ)
