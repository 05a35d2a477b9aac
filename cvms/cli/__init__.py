"""The `cvms` command."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence

from cvms.cli.parser import build_parser
from cvms.errors import ConfigurationError, leaves


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return the exit status, which is 2 for bad settings."""
    options = build_parser().parse_args(arguments)
    run: Callable[[argparse.Namespace], int] = options.run
    try:
        return run(options)
    except KeyboardInterrupt:
        return 130
    except BaseException as error:
        problems = list(leaves(error))
        if not all(isinstance(problem, ConfigurationError) for problem in problems):
            raise
        for problem in problems:
            print(f"cvms: {problem}", file=sys.stderr)
        return 2
