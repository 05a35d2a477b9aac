"""The manifests in deploy/ match the service: its routes, settings, deadlines and user."""

from __future__ import annotations

import re
from dataclasses import fields
from ipaddress import ip_address, ip_network
from typing import Any

import yaml

from cvms.config.parsers import comma_separated
from cvms.config.settings import Config
from tests.paths import ROOT

KUBERNETES = ROOT / "deploy" / "kubernetes"


def manifest(name: str) -> Any:
    return yaml.safe_load((KUBERNETES / f"{name}.yaml").read_text())


def pod() -> Any:
    return manifest("deployment")["spec"]["template"]["spec"]


def container() -> Any:
    [only] = pod()["containers"]
    return only


def settings() -> set[str]:
    """Return the settings that the README documents."""
    table = re.findall(r"^\| (`[A-Z_`, ]+`)", (ROOT / "README.md").read_text(), flags=re.MULTILINE)
    return {name for row in table for name in re.findall(r"[A-Z_]{4,}", row)}


def test_the_kustomization_lists_every_manifest() -> None:
    listed = set(manifest("kustomization")["resources"])
    there = {path.name for path in KUBERNETES.glob("*.yaml")}
    assert there - listed == {"kustomization.yaml", "secret.example.yaml"}


def test_a_pod_drains_after_leaving_rotation_and_before_it_is_killed() -> None:
    [command, seconds] = container()["lifecycle"]["preStop"]["exec"]["command"]
    assert command == "sleep"
    [deadline] = [each.default for each in fields(Config) if each.name == "shutdown_deadline"]
    assert isinstance(deadline, float)
    assert pod()["terminationGracePeriodSeconds"] > int(seconds) + deadline
    readiness = container()["readinessProbe"]
    assert int(seconds) > readiness["periodSeconds"]


def test_the_configuration_trusts_the_proxy_and_no_other_workload() -> None:
    [network] = comma_separated(ip_network)(manifest("configmap")["data"]["TRUSTED_PROXIES"])
    assert network.num_addresses <= 16
    compose = yaml.safe_load((ROOT / "deploy" / "compose.yaml").read_text())
    services, [inside] = compose["services"], compose["networks"]["inside"]["ipam"]["config"]
    proxy = services["proxy"]["networks"]["inside"]["ipv4_address"]
    assert services["cvms"]["environment"]["TRUSTED_PROXIES"] == proxy
    assert ip_address(proxy) in ip_network(inside["subnet"])
    assert ip_address(proxy) not in ip_network(inside["ip_range"])


def test_probes_and_metrics_have_a_port_that_the_ingress_controller_does_not_reach() -> None:
    [admin] = [each for each in container()["ports"] if each["name"] == "admin"]
    assert str(admin["containerPort"]) == manifest("configmap")["data"]["ADMIN_PORT"]
    probes = [container()[f"{name}Probe"] for name in ("liveness", "startup", "readiness")]
    assert {probe["httpGet"]["port"] for probe in probes} == {"admin"}
    assert [each["port"] for each in manifest("servicemonitor")["spec"]["endpoints"]] == ["admin"]
    assert "admin" in {each["targetPort"] for each in manifest("service")["spec"]["ports"]}
    reached = {
        source["namespaceSelector"]["matchLabels"]["kubernetes.io/metadata.name"]: [
            port["port"] for port in rule["ports"]
        ]
        for rule in manifest("networkpolicy")["spec"]["ingress"]
        for source in rule["from"]
    }
    assert reached == {"ingress-nginx": ["http"], "monitoring": ["admin"]}


def test_an_outage_takes_a_pod_out_of_rotation_and_does_not_restart_it() -> None:
    probes = {
        name: container()[f"{name}Probe"]["httpGet"]["path"]
        for name in ("liveness", "startup", "readiness")
    }
    assert probes == {"liveness": "/health", "startup": "/health", "readiness": "/ready"}


def test_one_pod_may_be_evicted_while_at_least_two_stay() -> None:
    replicas = manifest("deployment")["spec"]["replicas"]
    assert manifest("poddisruptionbudget")["spec"]["minAvailable"] == replicas - 1 >= 2


def test_every_variable_is_a_setting_and_every_secret_has_an_example() -> None:
    environment = container()["env"]
    secrets = manifest("secret.example")["stringData"]
    keys = {each["valueFrom"]["secretKeyRef"]["key"] for each in environment if "valueFrom" in each}
    [volume] = pod()["volumes"]
    keys |= {item["key"] for item in volume["secret"]["items"]}
    assert keys == set(secrets)
    named = {each["name"] for each in environment} | set(manifest("configmap")["data"])
    assert named <= settings()
    example = (ROOT / "deploy" / "cvms.env.example").read_text()
    assert set(re.findall(r"^([A-Z_]+)=", example, flags=re.MULTILINE)) <= settings()


def test_the_pod_runs_as_the_unprivileged_user_of_the_image() -> None:
    user = int(re.findall(r"--uid (\d+)", (ROOT / "Containerfile").read_text())[0])
    assert pod()["securityContext"]["runAsUser"] == user
    assert container()["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    compose = yaml.safe_load((ROOT / "deploy" / "compose.yaml").read_text())
    service = compose["services"]["cvms"]
    assert (service["read_only"], service["cap_drop"]) == (True, ["ALL"])
    assert service["secrets"][0]["uid"] == str(user)
