"""`.env`: what a deployment adds to it. Values that are there stay, unless somebody agrees."""

from __future__ import annotations

import os
import re
import secrets
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from cryptography.fernet import Fernet

from cvms.bootstrap.key_files import replace_file
from cvms.bootstrap.steps import Report, Step
from cvms.config.environment import dotenv_text, parsed_dotenv
from cvms.config.fields import settings_of
from cvms.config.settings import Config
from cvms.errors import ConfigurationError, StepFailed

MAKERS: Mapping[str, Callable[[], str]] = {
    "ADMIN_JWT_SECRET": lambda: secrets.token_urlsafe(32),
    "DATA_ENCRYPTION_KEYS": lambda: Fernet.generate_key().decode(),
}
"""Makers of the secrets that a service needs."""

OTHER_SIGNERS = frozenset({"OPERATOR_SIGNER", "DEPLOYER_KEYPAIR_BASE64"})
"""Settings that name the operator's key in place of DEPLOYER_KEYPAIR_PATH."""
OTHER_SECRETS = {"ADMIN_JWT_SECRET": ("ADMIN_JWT_SECRETS",)}
"""Settings in place of which none is made."""
ENDPOINTS = frozenset({"SOLANA_RPC_URL", "SOLANA_WS_URL"})
NO_DATABASE = "# DATABASE_URL=postgresql://user:password@host/database"
_PLAIN = re.compile(r"[-A-Za-z0-9_./:@,+=%?&]*")
Ask = Callable[[str], bool]


@dataclass(frozen=True, slots=True)
class EnvFile:
    """The file at `path`. `values` must hold; `defaults` are for settings that are not there."""

    path: Path
    values: Mapping[str, str]
    defaults: Mapping[str, str]

    def step(self, *, ask: Ask, report: Report) -> Step:
        """Return the step that writes what is missing, and asks about what differs.

        Raises ConfigurationError if the file cannot be written, or cannot hold a value.
        """
        text = dotenv_text(self.path)
        self._check_place()
        present, missing, differing = self._compare(text)
        self._check_readable(self._changed(text, missing, differing), missing | differing)
        state = f"{self.path} has {len(present)} settings" if text else f"{self.path} is not there"
        actions = [f"write {name}" for name in missing]
        actions += ["say what is to be put into DATABASE_URL"] if self._lacks_database(text) else []
        actions += [f"ask about {name}, which differs" for name in differing]
        agreed: list[str] = []

        def before() -> None:
            agreed.extend(self.agreed(ask=ask, report=report))

        async def run() -> None:
            self.write(agreed)

        return Step(".env", state, tuple(actions), run=run, before=before)

    def agreed(self, *, ask: Ask, report: Report) -> list[str]:
        """Ask about each value that differs, and return the names. Raises StepFailed for a no."""
        present, _, differing = self._compare(dotenv_text(self.path))
        kept = []
        for name, value in differing.items():
            report(f"      {self.path}: {_difference(name, present[name], value)}")
            if not ask(f"Replace {name} in {self.path}?"):
                kept.append(name)
        if kept:
            raise self._keeps_another(kept)
        return list(differing)

    def write(self, agreed: Collection[str] = ()) -> None:
        """Write what is missing, and the agreed values.

        Raises StepFailed if another value differs, and ConfigurationError; see `step`.
        """
        text = dotenv_text(self.path)
        _, missing, differing = self._compare(text)
        if kept := differing.keys() - agreed:
            raise self._keeps_another(sorted(kept))
        replace_file(self.path, self._changed(text, missing, differing))

    def _keeps_another(self, names: Sequence[str]) -> StepFailed:
        return StepFailed(
            f"{self.path} has another {', '.join(names)} than this deployment, so nothing was "
            "done; change it, name another file with --env-file, or run the command without --yes "
            "and agree"
        )

    def _compare(self, text: str) -> tuple[dict[str, str], dict[str, str], dict[str, str]]:
        """Return what is there, what is missing, and the wanted values of what differs."""
        present = parsed_dotenv(text)
        wanted = {**self.defaults, **self.values}
        if present.keys() & OTHER_SIGNERS:
            wanted.pop("DEPLOYER_KEYPAIR_PATH", None)
        missing = {name: value for name, value in wanted.items() if name not in present}
        missing |= {
            name: make()
            for name, make in MAKERS.items()
            if not present.keys() & {name, *OTHER_SECRETS.get(name, ())}
        }
        differing = {
            name: value
            for name, value in self.values.items()
            if name in present and not _is_same(name, present[name], value)
        }
        return present, missing, differing

    def _changed(self, text: str, missing: Mapping[str, str], differing: Mapping[str, str]) -> str:
        """Return the text with what is missing, and with other values of what differs."""
        added = [f"{NO_DATABASE}\n"] if self._lacks_database(text) else []
        for name, value in differing.items():
            text = _with_value(text, name, value)
        present = parsed_dotenv(text)
        lost = {name: value for name, value in differing.items() if present.get(name) != value}
        lines = {**missing, **lost}  # where the old line was not found, the last one counts
        ended = text if not text or text.endswith("\n") else f"{text}\n"
        return ended + "".join([*(_line(*each) for each in lines.items()), *added])

    def _check_readable(self, text: str, values: Mapping[str, str]) -> None:
        """Raise ConfigurationError unless a start would read these values from the file."""
        read = parsed_dotenv(text)
        for name, value in values.items():
            if read.get(name) != value:
                raise ConfigurationError(
                    f"{self.path} cannot hold this {name}: `${{...}}` in it would be replaced; "
                    "write %24 for the `$` in a URL"
                )

    def _check_place(self) -> None:
        path = self.path.resolve()
        if path.is_dir():
            raise ConfigurationError(f"{self.path} is a folder; name a file with --env-file")
        if not os.access(path.parent, os.W_OK | os.X_OK):
            raise ConfigurationError(
                f"{self.path} cannot be written: its folder is not there, or not yours; make it, "
                "or name another file with --env-file"
            )

    def _lacks_database(self, text: str) -> bool:
        known = {**self.defaults, **self.values}
        return "DATABASE_URL" not in known and "DATABASE_URL" not in text


def _is_same(name: str, present: str, wanted: str) -> bool:
    """Return whether a setting is as wanted. Endpoints may stand beside further ones."""
    if name in ENDPOINTS:
        return {each.strip() for each in wanted.split(",")} <= {
            each.strip() for each in present.split(",")
        }
    if name == "SIWS_CHAIN_ID":
        return present.removeprefix("solana:") == wanted
    return present == wanted


def _line(name: str, value: str) -> str:
    return f"{name}={_quoted(value)}\n"


def _difference(name: str, present: str, value: str) -> str:
    if name in {setting.name for setting in settings_of(Config) if setting.secret}:
        return f"{name} is another than the given one"
    return f"{name} is {present}, and this deployment's is {value}"


def _with_value(text: str, name: str, value: str) -> str:
    line = re.compile(rf"^[ \t]*(export[ \t]+)?{name}[ \t]*=[^\r\n]*", re.MULTILINE)
    return line.sub(lambda _: f"{name}={_quoted(value)}", text)


def _quoted(value: str) -> str:
    if _PLAIN.fullmatch(value):
        return value
    escaped = value.replace("\\", "\\\\").replace("'", "\\'")
    return f"'{escaped}'"
