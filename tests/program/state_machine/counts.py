"""How often each instruction of each program ran, read from the logs of transactions."""

import re
from collections import Counter
from collections.abc import Mapping

from tests.program.harness.ledger import POSITION_IDL, VAULT_IDL, YIELD_IDL, Outcome

from .names import PROGRAMS, key

INVOKED = re.compile(r"Program (\w+) invoke \[\d+\]")
NAMED = re.compile(r"Program log: Instruction: (\w+)")
ENDED = re.compile(r"Program (\w+) (success|failed: .*)")

Name = tuple[str, str]
"""A program of an IDL and its instruction, such as `("yield_pool", "claim")`."""


class Counts:
    """Successes and refusals, also of instructions that other programs call.

    `instructions` are those that each program has; `programs` maps the address of each deployment
    to its program. An instruction that succeeds in a transaction that fails counts as neither.
    """

    def __init__(self, instructions: Mapping[str, list[str]], programs: Mapping[str, str]) -> None:
        self.programs = programs
        self.all = [(program, name) for program, names in instructions.items() for name in names]
        self.succeeded: Counter[Name] = Counter()
        self.refused: Counter[Name] = Counter()

    def add(self, outcome: Outcome) -> None:
        running: list[tuple[str, str]] = []
        succeeded = []
        for line in outcome.logs:
            if found := INVOKED.match(line):
                running.append((found[1], ""))
            elif (found := NAMED.match(line)) and running:
                running[-1] = (running[-1][0], snake_case(found[1]))
            elif found := ENDED.match(line):
                address, name = running.pop()
                if address not in self.programs or not name:
                    continue
                if found[2] == "success":
                    succeeded.append((self.programs[address], name))
                else:
                    self.refused[self.programs[address], name] += 1
        if outcome.error is None:
            self.succeeded.update(succeeded)

    def never_succeeded(self) -> set[Name]:
        return {name for name in self.all if not self.succeeded[name]}

    def table(self) -> str:
        lines = [f"{'instruction':<50}{'succeeded':>10}{'refused':>10}"]
        for program, name in self.all:
            succeeded, refused = self.succeeded[program, name], self.refused[program, name]
            what = f"{program} {name}"
            never = "" if succeeded else "  <- never succeeded"
            lines.append(f"{what:<50}{succeeded:>10}{refused:>10}{never}")
        return "\n".join(lines)


def snake_case(name: str) -> str:
    return re.sub(r"(?<!^)(?=[A-Z])", "_", name).lower()


def every_instruction() -> Counts:
    idls = {
        "collateral_vault": VAULT_IDL,
        "position_manager": POSITION_IDL,
        "yield_pool": YIELD_IDL,
    }
    addresses = {str(key(name)): program for program, names in PROGRAMS.items() for name in names}
    return Counts({program: sorted(idl.instructions) for program, idl in idls.items()}, addresses)
