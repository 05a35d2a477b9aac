"""compose.yaml is valid and can be reached, and its secrets are made by a command."""

from __future__ import annotations

import os
import re
import shutil
import stat
import subprocess
from collections.abc import Mapping
from ipaddress import ip_address, ip_network
from pathlib import Path
from typing import Any

import psycopg.conninfo
import pytest
import yaml
from compose_spec import PyCompose
from dotenv import dotenv_values
from solders.keypair import Keypair

from cvms.config.loader import load_config
from tests.deploy.examples import PROGRAMS, documented_settings, require_own_programs
from tests.paths import ROOT

DEPLOY = ROOT / "deploy"
TEXT = (DEPLOY / "compose.yaml").read_text()
USER = 10001


def compose() -> Any:
    return yaml.safe_load(TEXT)


def services() -> Mapping[str, Any]:
    found: Mapping[str, Any] = compose()["services"]
    return found


def test_the_file_is_one_of_the_compose_specification() -> None:
    assert set(PyCompose.from_yaml(TEXT).service_names()) == set(services())


@pytest.mark.parametrize(
    ("right", "wrong", "named"),
    [
        ("read_only: true", "readonly: true", "readonly"),
        ("condition: service_healthy", "condition: healthy", "healthy"),
        ("start_period: 30s", "start_period: a while", "start_period"),
        ('ports: ["80:8080"', 'ports: ["eighty:8080"', "eighty"),
    ],
)
def test_a_fault_in_the_file_is_found(right: str, wrong: str, named: str) -> None:
    assert right in TEXT
    with pytest.raises(ValueError, match=named):
        PyCompose.from_yaml(TEXT.replace(right, wrong, 1))


def test_what_publishes_a_port_has_a_network_that_leads_out() -> None:
    """An engine publishes no port of a container whose networks are all internal."""
    outside = {name for name, each in compose()["networks"].items() if not each.get("internal")}
    published = {name: each["ports"] for name, each in services().items() if "ports" in each}
    assert published == {"proxy": ["80:8080", "443:8443"]}
    assert outside & set(services()["proxy"]["networks"])
    listened = set(re.findall(r"listen (\d+)", (DEPLOY / "nginx.conf").read_text()))
    assert {port.rpartition(":")[2] for port in published["proxy"]} == listened


def test_only_proxy_and_service_reach_other_networks() -> None:
    reaching = {name for name, each in services().items() if "outside" in each["networks"]}
    assert reaching == {"proxy", "cvms"}
    assert all("inside" in each["networks"] for each in services().values())


def test_each_service_has_a_health_check_or_ends_by_itself() -> None:
    for name, each in services().items():
        if each["restart"] == "no":
            waiting = [
                other["depends_on"].get(name)
                for other in services().values()
                if "depends_on" in other
            ]
            assert {"condition": "service_completed_successfully"} in waiting
        else:
            assert each["healthcheck"]["test"][0] in {"CMD", "CMD-SHELL"}, name
    for each in services().values():
        for name, how in each.get("depends_on", {}).items():
            ends = services()[name]["restart"] == "no"
            assert how["condition"] == (
                "service_completed_successfully" if ends else "service_healthy"
            )


def test_the_health_check_asks_the_port_for_probes() -> None:
    service = services()["cvms"]
    assert f":{service['environment']['ADMIN_PORT']}/health" in service["healthcheck"]["test"][-1]


def test_the_service_trusts_the_proxy_and_no_other_container() -> None:
    [inside] = compose()["networks"]["inside"]["ipam"]["config"]
    proxy = services()["proxy"]["networks"]["inside"]["ipv4_address"]
    assert services()["cvms"]["environment"]["TRUSTED_PROXIES"] == proxy
    assert ip_address(proxy) in ip_network(inside["subnet"])
    assert ip_address(proxy) not in ip_network(inside["ip_range"])


def test_the_service_can_write_nothing_and_has_no_capabilities() -> None:
    for name in ("cvms", "migrate"):
        service = services()[name]
        assert (service["read_only"], service["cap_drop"]) == (True, ["ALL"])
    assert (services()["migrate"]["command"], services()["cvms"]["command"]) == (
        ["migrate"],
        ["serve"],
    )
    assert set(services()["cvms"]["environment"]) <= documented_settings()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A copy of deploy/ and an operator's key beside it."""
    if os.geteuid() != 0:
        pytest.skip("only root can give a file to another user")
    copy = tmp_path / "deploy"
    shutil.copytree(DEPLOY, copy, ignore=shutil.ignore_patterns("secrets", "cvms.env"))
    (tmp_path / "key.json").write_text(Keypair().to_json())
    return copy


def make_secrets(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [str(folder / "make-secrets"), *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False, cwd="/")


def contents(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in [folder / "cvms.env", *sorted((folder / "secrets").rglob("*.*"))]
    }


def test_a_command_makes_the_secrets_once(folder: Path) -> None:
    done = make_secrets(folder, str(folder.parent / "key.json"))
    assert done.returncode == 0, done.stderr
    made = contents(folder)
    again = make_secrets(folder)
    assert (again.returncode, again.stdout, again.stderr) == (0, "", "")
    assert contents(folder) == made
    modes = {
        name: (stat.S_IMODE((at := (folder / name).stat()).st_mode), at.st_uid)
        for name in (
            "cvms.env",
            "secrets/operator.json",
            "secrets/postgres_password",
            "secrets/tls/privkey.pem",
        )
    }
    assert modes == {
        "cvms.env": (0o600, 0),
        "secrets/operator.json": (0o400, USER),
        "secrets/postgres_password": (0o400, 0),
        "secrets/tls/privkey.pem": (0o400, 0),
    }
    referred = {each["file"].removeprefix("./") for each in compose()["secrets"].values()}
    assert referred <= {"secrets/postgres_password", *made}


def test_the_service_starts_with_the_secrets_that_the_command_made(folder: Path) -> None:
    assert make_secrets(folder, str(folder.parent / "key.json")).returncode == 0
    environ = {name: value or "" for name, value in dotenv_values(folder / "cvms.env").items()}
    assert set(environ) <= documented_settings()
    require_own_programs(environ)
    addresses = {name: str(Keypair().pubkey()) for name in PROGRAMS}
    key = {"DEPLOYER_KEYPAIR_PATH": str(folder / "secrets" / "operator.json")}
    config = load_config(environ | addresses | key)
    assert config.admin_jwt_secret is not None
    assert len(config.data_encryption_keys) == 1
    password = psycopg.conninfo.conninfo_to_dict(config.database_url)["password"]
    assert password == (folder / "secrets" / "postgres_password").read_text()


def test_without_an_operators_key_nothing_is_made(folder: Path) -> None:
    refused = make_secrets(folder)
    assert refused.returncode == 2
    assert "cvms bootstrap" in refused.stderr
    assert not (folder / "secrets").exists()
