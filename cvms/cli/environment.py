"""The environment of a command, with a warning for each variable that resembles a setting."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path

from cvms.config.environment import DOTENV, environment, misspelt


def read_environment(dotenv: Path = DOTENV) -> dict[str, str]:
    """Return the variables of the environment and the file, and warn of misspelt settings."""
    environ = environment(dotenv)
    print_misspelt(environ)
    return environ


def print_misspelt(environ: Mapping[str, str]) -> None:
    """Print a warning for each variable that is not a setting but resembles one."""
    for name, setting in misspelt(environ).items():
        print(f"cvms: {name} is not a setting; is {setting} meant?", file=sys.stderr)
