"""Arguments that several commands have, and types of arguments."""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, TypeAlias, TypeVar

from cvms.errors import ConfigurationError

Number = TypeVar("Number", int, float)
T = TypeVar("T")
Commands: TypeAlias = "argparse._SubParsersAction[argparse.ArgumentParser]"


class CommandParser(argparse.ArgumentParser):
    """A parser of a command that takes a name of its own, or else one of `subcommands` first."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.subcommands: dict[str, argparse.ArgumentParser] = {}

    def add_subcommand(self, name: str, text: str) -> argparse.ArgumentParser:
        """Add a command that takes the place of this one, if its name comes first."""
        description = f"{text[0].upper()}{text[1:]}."
        parser = argparse.ArgumentParser(prog=f"{self.prog} {name}", description=description)
        self.subcommands[name] = parser
        return parser

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:
        """Leave the arguments to the command that they begin with, if there is one."""
        if args and args[0] in self.subcommands:
            return self.subcommands[args[0]].parse_known_args(args[1:], namespace)
        return super().parse_known_args(args, namespace)


def add_command(
    commands: Commands, name: str, text: str, description: str | None = None
) -> argparse.ArgumentParser:
    formatter = argparse.RawDescriptionHelpFormatter if description else argparse.HelpFormatter
    description = description or f"{text[0].upper()}{text[1:]}."
    return commands.add_parser(name, help=text, description=description, formatter_class=formatter)


def add_port(
    parser: argparse.ArgumentParser, flag: str, variable: str, default: str, text: str
) -> None:
    parser.add_argument(
        flag,
        type=number(int, lambda port: 0 <= port <= 65535, "a TCP port (0 to 65535)"),
        default=os.environ.get(variable, default),
        help=f"{text} (%(default)s)",
    )


def add_own_data_dir(parser: argparse.ArgumentParser) -> None:
    """Add the folder that the command keeps its data in."""
    parser.add_argument(
        "--data-dir",
        type=Path,
        default=os.environ.get("DATA_DIR", ".cvms"),
        help="folder of all data (%(default)s)",
    )


def add_data_dir(parser: argparse.ArgumentParser) -> None:
    """Add the folder of the `cvms dev` that the command is about."""
    parser.add_argument(
        "--data-dir",
        type=data_folder,
        default=os.environ.get("DATA_DIR", ""),
        help="data folder of a `cvms dev` (DATA_DIR, else that of the one that runs)",
    )


def data_folder(text: str) -> Path:
    """Return the data folder, if none is given that of the `cvms dev` that runs."""
    from cvms.dev.running import find_data_folder  # noqa: PLC0415

    try:
        return find_data_folder(text)
    except ConfigurationError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def add_running(parser: argparse.ArgumentParser) -> None:
    """Add the choice of the running `cvms dev` whose service and chain the command uses."""
    parser.add_argument(
        "--data-dir",
        default=os.environ.get("DATA_DIR", ""),
        help="data folder of a running `cvms dev`, if there are several (DATA_DIR)",
    )


def add_log_format(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--log-format", choices=("console", "json"), default="console", help="(%(default)s)"
    )


def number(
    parse: Callable[[str], Number], is_valid: Callable[[Number], bool], what: str
) -> Callable[[str], Number]:
    """Return an argument type that accepts valid numbers. `what` ends its error message."""

    def parse_valid(text: str) -> Number:
        if not is_valid(value := parse(text)):
            raise ValueError
        return value

    return parsed(parse_valid, what)


def parsed(parse: Callable[[str], T], what: str) -> Callable[[str], T]:
    """Return an argument type of what `parse` accepts, which raises ValueError for the rest."""

    def convert(text: str) -> T:
        with suppress(ValueError):
            return parse(text)
        raise argparse.ArgumentTypeError(f"{text} is not {what}")

    return convert
