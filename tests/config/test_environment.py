"""Reading of the environment and of `.env`, and names that resemble a setting's."""

from __future__ import annotations

from pathlib import Path

import pytest

from cvms.config.environment import environment, misspelt
from cvms.config.fields import settings_of
from cvms.config.settings import Config
from cvms.errors import ConfigurationError

NAMES = [setting.name for setting in settings_of(Config)]


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("DATABSE_URL", "DATABASE_URL"),
        ("DATABASE_URI", "DATABASE_URL"),
        ("RECONCILIATION_INTERVAL_SECOND", "RECONCILIATION_INTERVAL_SECONDS"),
        ("RECONCILIATION_INTERVAL", "RECONCILIATION_INTERVAL_SECONDS"),
        ("SOLANA_RPC_URLS", "SOLANA_RPC_URL"),
        ("ADMIN_JWT_SECRETE", "ADMIN_JWT_SECRET"),
        ("REDIS_URLS", "REDIS_URL"),
        ("database_url", "DATABASE_URL"),
    ],
)
def test_a_misspelt_setting_is_found(name: str, meant: str) -> None:
    assert misspelt({name: "1"}) == {name: meant}


@pytest.mark.parametrize("name", NAMES)
def test_a_name_without_one_of_its_letters_is_found(name: str) -> None:
    if len(name) > 5:
        assert misspelt({f"{name[:3]}{name[4:]}": "1"}) == {f"{name[:3]}{name[4:]}": name}


def test_variables_of_other_programs_are_not_taken_for_settings() -> None:
    others = """
        PATH HOME HOSTNAME HOSTS HOSTTYPE SHELL SHLVL PORTS LOGNAME LOG_LEVEL LANG LC_ALL PWD
        OLDPWD TERM EDITOR PGHOST PGPORT PGPASSWORD POSTGRES_HOST POSTGRES_PASSWORD
        REDIS_PORT REDIS_HOST REDIS_SERVICE_PORT REDIS_SERVICE_HOST DATABASE_HOST DATABASE_PORT
        DATABASE_NAME TEST_DATABASE_URL DATABASE_URL_RO OLD_DATABASE_URL KUBERNETES_PORT
        CVMS_PORT CVMS_SERVICE_PORT CVMS_PORT_8080_TCP_PORT SSL_CERT_FILE XDG_RUNTIME_DIR
        DATA_DIR LOCALNET_PORT PYTHONPATH VIRTUAL_ENV PROGRAM_FILES SOLANA_HOME HTTPS_PROXY
    """
    assert misspelt(dict.fromkeys([*others.split(), *NAMES], "1")) == {}


def test_dotenv_must_be_utf_8(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    file = tmp_path / ".env"
    file.write_bytes("CVMS_A=1\nCVMS_B=Zürich\n".encode("latin-1"))
    with pytest.raises(ConfigurationError, match=r"^\.env is not UTF-8 in line 2$"):
        environment()
    file.write_text("CVMS_A=Zürich\n", encoding="utf-8-sig")  # as some editors save it
    assert environment()["CVMS_A"] == "Zürich"
    file.write_text("CVMS_A=1\n", encoding="utf-16")
    with pytest.raises(ConfigurationError, match="line 1"):
        environment()


def test_dotenv_that_cannot_be_read_is_named(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / ".env").symlink_to(".env")
    with pytest.raises(ConfigurationError, match=r"^\.env cannot be read: Too many levels"):
        environment()
