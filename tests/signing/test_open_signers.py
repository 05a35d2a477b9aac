"""OPERATOR_SIGNER names keys by schemes, to which other packages add theirs."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from solders.keypair import Keypair
from solders.pubkey import Pubkey

from cvms.config.loader import load_operators
from cvms.config.operator_settings import SignerSettings, SignerUri
from cvms.errors import ConfigurationError
from cvms.signing.open_signers import open_signers
from tests.paths import ROOT
from tests.signing.conftest import install
from tests.signing.faulty_signer import FaultySigner

SETTINGS = SignerSettings(seconds=0.05)
PAGE = ROOT / "docs" / "operations" / "keys.md"


def key_file(folder: Path, name: str = "operator.json") -> tuple[Path, Keypair]:
    key, path = Keypair(), folder / name
    path.write_text(json.dumps(list(bytes(key))))
    path.chmod(0o600)
    return path, key


async def test_keys_of_files_are_in_the_order_of_the_setting(tmp_path: Path) -> None:
    (one, first), (two, second) = key_file(tmp_path, "one"), key_file(tmp_path, "two")
    environ = {"OPERATOR_SIGNER": f"file:{one}, file:{two}#{second.pubkey()}"}
    async with open_signers(load_operators(environ), SETTINGS) as signers:
        assert signers.addresses == (first.pubkey(), second.pubkey())
        assert signers.remote == ()
        assert (await signers.preferred.sign(b"text")).verify(first.pubkey(), b"text")


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        ("/path/without/scheme", "not of the form scheme:location"),
        ("file:/nowhere/key.json", "No such file"),
        ("file:{path}#11111111111111111111111111111111", "holds the key of"),
        ("pkcs11:object=SECRET#nothing", "not an address"),
    ],
)
def test_a_bad_value_is_refused(tmp_path: Path, value: str, reason: str) -> None:
    path, _ = key_file(tmp_path)
    with pytest.raises(ConfigurationError, match=reason) as raised:
        load_operators({"OPERATOR_SIGNER": value.format(path=path)})
    assert "SECRET" not in str(raised.value)
    assert str(raised.value).startswith("OPERATOR_SIGNER holds a value of")


def test_one_setting_has_the_operators_keys(tmp_path: Path) -> None:
    path, key = key_file(tmp_path)
    environ = {"OPERATOR_SIGNER": f"file:{path}", "DEPLOYER_KEYPAIR_PATH": str(path)}
    with pytest.raises(ConfigurationError, match="is set beside DEPLOYER_KEYPAIR_PATH"):
        load_operators(environ)
    assert load_operators({"OPERATOR_SIGNER": f"file:{path}"}) == (key,)
    assert load_operators({"DEPLOYER_KEYPAIR_PATH": str(path)}) == (key,)


def test_others_must_not_be_able_to_read_the_file(tmp_path: Path) -> None:
    path, _ = key_file(tmp_path)
    path.chmod(0o644)
    with pytest.raises(ConfigurationError, match="chmod 600"):
        load_operators({"OPERATOR_SIGNER": f"file:{path}"})


async def test_a_key_twice_is_a_mistake() -> None:
    key = Keypair()
    with pytest.raises(ConfigurationError, match=f"has the key {key.pubkey()} twice"):
        async with open_signers([key, key], SETTINGS):
            pass


async def test_an_unknown_scheme_is_told_with_those_that_are_known() -> None:
    with pytest.raises(ConfigurationError, match="expected one of file, pkcs11, vault-transit"):
        async with open_signers([SignerUri("ledger", "somewhere")], SETTINGS):
            pass


async def test_a_signer_that_does_not_sign_at_the_start_needs_an_address(
    faulty: FaultySigner,
) -> None:
    faulty.fault = "dead"
    with pytest.raises(ConfigurationError, match="does not sign: it is unplugged"):
        async with open_signers([SignerUri("faulty", "one")], SETTINGS):
            pass
    known = SignerUri("faulty", "one", faulty.address)
    async with open_signers([known], SETTINGS) as signers:
        assert not signers.preferred.available
    with pytest.raises(ConfigurationError, match=f"has the key of {faulty.address}, not of"):
        async with open_signers([SignerUri("faulty", "one", Pubkey.new_unique())], SETTINGS):
            pass


async def test_the_documented_example_is_a_signer_of_another_package(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The module and the entry point of the page are installed as they are there."""
    page = PAGE.read_text()
    [module] = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    [entry] = re.findall(r'\[project\.entry-points\."cvms\.signers"\]\n(.*?)\n```', page, re.DOTALL)
    (tmp_path / "example_signer.py").write_text(module)
    name, _, value = entry.partition(" = ")
    install(tmp_path, f"{name} = {json.loads(value)}")
    monkeypatch.syspath_prepend(tmp_path)
    key = Keypair()
    monkeypatch.setenv("EXAMPLE_SEED", bytes(key)[:32].hex())
    async with open_signers([SignerUri(name, "EXAMPLE_SEED")], SignerSettings()) as signers:
        assert signers.addresses == (key.pubkey(),)
        assert await signers.preferred.sign(b"text") == key.sign_message(b"text")
    with pytest.raises(ConfigurationError, match="NOWHERE is not set"):
        async with open_signers([SignerUri(name, "NOWHERE")], SignerSettings()):
            pass
