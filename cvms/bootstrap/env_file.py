"""`.env`: what a deployment adds to it. Values that are there stay, unless somebody agrees."""

from __future__ import annotations

import re
import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from io import StringIO
from pathlib import Path

from cryptography.fernet import Fernet
from dotenv import dotenv_values

from cvms.bootstrap.key_files import replace_file
from cvms.bootstrap.steps import Report, Step
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
NO_DATABASE = "# DATABASE_URL=postgresql://user:password@host/database"
_PLAIN = re.compile(r"[-A-Za-z0-9_./:@,+=%?&]*")
Ask = Callable[[str], bool]


@dataclass(frozen=True, slots=True)
class EnvFile:
    """The file at `path`. `values` must hold; `defaults` are for settings that are not there."""

    path: Path
    values: Mapping[str, str]
    defaults: Mapping[str, str]

    def text(self) -> str:
        """Return the file's text, empty if there is no file. Raises ConfigurationError."""
        try:
            return self.path.read_text()
        except FileNotFoundError:
            return ""
        except (OSError, UnicodeDecodeError) as error:
            raise ConfigurationError(f"{self.path} cannot be read: {error}") from None

    def step(self, *, ask: Ask, report: Report) -> Step:
        """Return the step that writes what is missing, and asks about what differs."""
        text = self.text()
        present, missing, differing = self._compare(text)
        state = f"{self.path} has {len(present)} settings" if text else f"{self.path} is not there"
        actions = [f"write {name}" for name in missing]
        actions += ["say what is to be put into DATABASE_URL"] if self._lacks_database(text) else []
        actions += [f"ask about {name}, which differs" for name in differing]

        async def run() -> None:
            self.write(ask=ask, report=report)

        return Step(".env", state, tuple(actions), run=run)

    def write(self, *, ask: Ask, report: Report) -> None:
        """Write what is missing. Raises StepFailed if a value that differs stays."""
        text = self.text()
        present, missing, differing = self._compare(text)
        kept = []
        for name, value in differing.items():
            shown = _difference(name, present[name], value)
            report(f"      {self.path}: {shown}")
            if ask(f"Replace {name} in {self.path}?"):
                text = _with_value(text, name, value)
            else:
                kept.append(name)
        lines = [f"{name}={_quoted(value)}" for name, value in missing.items()]
        lines += [NO_DATABASE] if self._lacks_database(text) else []
        if text and not text.endswith("\n"):
            text += "\n"
        replace_file(self.path, text + "".join(f"{line}\n" for line in lines))
        if kept:
            raise StepFailed(
                f"{self.path} keeps another {', '.join(kept)} than this deployment has; "
                "change it, or run the command again and agree"
            )

    def _compare(self, text: str) -> tuple[dict[str, str], dict[str, str], dict[str, str]]:
        """Return what is there, what is missing, and the wanted values of what differs."""
        parsed = dotenv_values(stream=StringIO(text), interpolate=False)
        present = {name: value for name, value in parsed.items() if value}
        wanted = {**self.defaults, **self.values}
        if present.keys() & OTHER_SIGNERS:
            wanted.pop("DEPLOYER_KEYPAIR_PATH", None)
        missing = {name: value for name, value in wanted.items() if name not in present}
        missing |= {name: make() for name, make in MAKERS.items() if name not in present}
        differing = {
            name: value for name, value in self.values.items() if present.get(name, value) != value
        }
        return present, missing, differing

    def _lacks_database(self, text: str) -> bool:
        known = {**self.defaults, **self.values}
        return "DATABASE_URL" not in known and "DATABASE_URL" not in text


def _difference(name: str, present: str, value: str) -> str:
    if name in {setting.name for setting in settings_of(Config) if setting.secret}:
        return f"{name} is another than the given one"
    return f"{name} is {present}, and this deployment's is {value}"


def _with_value(text: str, name: str, value: str) -> str:
    line = re.compile(rf"^[ \t]*(export[ \t]+)?{name}[ \t]*=.*$", re.MULTILINE)
    return line.sub(lambda _: f"{name}={_quoted(value)}", text)


def _quoted(value: str) -> str:
    if _PLAIN.fullmatch(value):
        return value
    escaped = value.replace("\\", "\\\\").replace("'", "\\'")
    return f"'{escaped}'"
