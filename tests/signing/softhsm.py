"""Tokens of SoftHSM 2, Debian's software for what is otherwise a hardware security module."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pkcs11
from pkcs11 import Attribute, KeyType, Mechanism
from pkcs11.util.ec import encode_named_curve_parameters

from tests.harness.debian_programs import missing
from tests.paths import ROOT

PIN = "74-31 PIN"
ED25519 = encode_named_curve_parameters("1.3.101.112")  # RFC 8410
CONFIGURATION = "SOFTHSM2_CONF"


@dataclass(frozen=True, slots=True)
class SoftHsm:
    """A token in a folder. `environ` leads the module to it, in processes that start then."""

    folder: Path
    module: Path
    label: str

    @property
    def environ(self) -> dict[str, str]:
        return {CONFIGURATION: str(self.folder / "softhsm2.conf")}

    @property
    def pin_file(self) -> Path:
        return self.folder / "pin"

    def uri(self, key: str, *, pin: str | None = None) -> str:
        """Return the location of a key, for `pkcs11:`."""
        pin = pin or f"pin-source=file:{self.pin_file}"
        token = self.label.replace(" ", "%20")
        return f"token={token};object={key}?module-path={self.module}&{pin}"

    def make_key(self, label: str) -> bytes:
        """Make an Ed25519 key in the token, in another process; return its public key."""
        code = "import sys; from tests.signing.softhsm import make_key; make_key(*sys.argv[1:])"
        made = subprocess.run(
            [sys.executable, "-c", code, str(self.module), self.label, label],
            cwd=ROOT,
            env=os.environ | self.environ,
            check=True,
            capture_output=True,
        )
        return bytes.fromhex(made.stdout.decode())

    def remove(self) -> None:
        """Take the token away."""
        self._tokens.rename(self.folder / "removed")
        self._tokens.mkdir()

    def put_back(self) -> None:
        self._tokens.rmdir()
        (self.folder / "removed").rename(self._tokens)

    @property
    def _tokens(self) -> Path:
        return self.folder / "tokens"


def start_softhsm(folder: Path) -> SoftHsm:
    """Make a token, or skip the test."""
    module = Path("/usr/lib/softhsm/libsofthsm2.so")
    if not module.exists():
        missing("the Debian package softhsm2")
    hsm = SoftHsm(folder, module, label=f"cvms {os.urandom(4).hex()}")
    (folder / "tokens").mkdir(parents=True)
    hsm.pin_file.write_text(PIN + "\n")
    hsm.pin_file.chmod(0o600)
    (folder / "softhsm2.conf").write_text(
        f"directories.tokendir = {folder / 'tokens'}\nlog.level = ERROR\n"
    )
    pins = ("--pin", PIN, "--so-pin", PIN)
    subprocess.run(
        ["softhsm2-util", "--init-token", "--free", "--label", hsm.label, *pins],
        env=os.environ | hsm.environ,
        check=True,
        capture_output=True,
    )
    return hsm


def make_key(module: str, token_label: str, label: str) -> None:
    """Make a key in the token, and print its public key in hexadecimal."""
    token = pkcs11.lib(module).get_token(token_label=token_label)
    with token.open(rw=True, user_pin=PIN) as session:
        curve = session.create_domain_parameters(
            KeyType.EC_EDWARDS, {Attribute.EC_PARAMS: ED25519}, local=True
        )
        public, _ = curve.generate_keypair(
            mechanism=Mechanism.EC_EDWARDS_KEY_PAIR_GEN, store=True, label=label
        )
        print(bytes(public[Attribute.EC_POINT])[2:].hex())  # noqa: T201 - its output
