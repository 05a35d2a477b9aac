"""Errors of settings: all at once, with their bounds, and without contradicting themselves."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest
from solders.keypair import Keypair

from cvms.config.fields import Setting, settings_of
from cvms.config.loader import load_admin_secret, load_config, load_encryption_keys
from cvms.config.parsers import keypair_file
from cvms.config.settings import Config
from cvms.dev.data_folder import write_private
from cvms.errors import ConfigurationError, leaves

LARGE = str(10**30)


def problems(environ: dict[str, str]) -> list[str]:
    """Return the errors with which loading the settings fails."""
    with pytest.raises((ConfigurationError, ExceptionGroup)) as raised:
        load_config(environ)
    found = list(leaves(raised.value))
    assert all(isinstance(each, ConfigurationError) for each in found)
    return [str(each) for each in found]


def test_all_bad_settings_are_told_at_once() -> None:
    found = problems(
        {
            "DATABASE_URL": "postgresql://u:hunter2@db:0/cvms",
            "PORT": "eighty",
            "SOLANA_RPC_URL": "ftp://provider.example/hunter2",
            "RATE_LIMIT_OWNER": "60/0",
            "MAX_FEE_LAMPORTS": "-1",
            "USDT_MINT": "1",
            "VAULT_AUTHORITY_PUBKEY": "4QHVBbG3H8kbwvcSwPnze3sC91kdeYWxNf8S5hkZ9nbZ",
            "ALERT_WEBHOOK_URL": "https://hooks.example/hunter2",
            "WEBHOOK_PRIVATE_ADDRESSES": "yes",
        }
    )
    assert sorted(each.partition(" ")[0] for each in found) == [
        "ALERT_WEBHOOK_SECRET",
        "DATABASE_URL",
        "DEPLOYER_KEYPAIR_PATH",
        "MAX_FEE_LAMPORTS",
        "PORT",
        "RATE_LIMIT_OWNER",
        "SOLANA_RPC_URL",
        "USDT_MINT",
        "WEBHOOK_PRIVATE_ADDRESSES",
    ]
    assert "hunter2" not in "".join(found)


def numbers() -> list[Setting]:
    """Return the settings that are one number."""
    found = []
    for setting in settings_of(Config):
        refused = [value for value in ("-1", LARGE) if not accepts(setting, value)]
        if len(refused) == 2 and setting.default is not None and accepts(setting, "90"):
            found.append(setting)
    return found


def accepts(setting: Setting, value: str) -> bool:
    try:
        setting.parse(value)
    except ValueError:
        return False
    return True


@pytest.mark.parametrize("setting", numbers(), ids=lambda setting: setting.name)
@pytest.mark.parametrize("value", ["-1", LARGE, "many", "1.5e"])
def test_an_error_of_a_number_names_its_bounds(setting: Setting, value: str) -> None:
    with pytest.raises(ConfigurationError) as raised:
        setting.read({setting.name: value})
    message = str(raised.value)
    if whole := re.search(r"not a whole number from (\d+) to (\d+)", message):
        lowest, highest = map(int, whole.groups())
        assert accepts(setting, str(lowest))
        assert accepts(setting, str(highest))
        assert not accepts(setting, str(lowest - 1))
        assert not accepts(setting, str(highest + 1))
    else:
        bounds = re.search(r"not a number of seconds above (\d+) and below (\d+)", message)
        assert bounds, message
        for bound in bounds.groups():
            assert not accepts(setting, bound)
        assert accepts(setting, "0.001")
        assert accepts(setting, str(int(bounds[2]) - 1))


def test_most_numbers_are_covered() -> None:
    assert len(numbers()) > 20


def test_both_bounds_of_a_rate_are_named() -> None:
    setting = next(each for each in settings_of(Config) if each.name == "RATE_LIMIT_OWNER")
    for value, reason in (
        ("0/60", "whole number from 1 to 1000000"),
        ("60/0", "above 0 and below 1000000000"),
        ("60", "it has no /"),
    ):
        with pytest.raises(ConfigurationError, match=reason):
            setting.read({setting.name: value})


@pytest.mark.parametrize("load", [load_admin_secret, load_encryption_keys])
def test_what_a_command_needs_is_not_expected_to_be_unset(
    load: Callable[[Mapping[str, str]], object],
) -> None:
    with pytest.raises(ConfigurationError, match="is not set; expected") as raised:
        load({})
    assert "unset" not in str(raised.value)


@pytest.mark.parametrize(
    ("mode", "refused"),
    [(0o600, False), (0o400, False), (0o440, False), (0o644, True), (0o604, True), (0o660, True)],
)
def test_a_key_file_that_others_can_read_or_write_is_refused(
    tmp_path: Path, mode: int, refused: bool
) -> None:
    path, keypair = tmp_path / "operator.json", Keypair()
    write_private(path, json.dumps(list(bytes(keypair))))
    path.chmod(mode)
    if not refused:
        assert keypair_file(str(path)) == keypair
        return
    found = problems({"DATABASE_URL": "host=db", "DEPLOYER_KEYPAIR_PATH": str(path)})
    assert len(found) == 1
    assert "others can read or write the file; run `chmod 600" in found[0]
