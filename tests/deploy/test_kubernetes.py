"""The manifests in deploy/kubernetes are valid, and match the service: routes, settings, user."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import fields
from ipaddress import ip_address, ip_network
from typing import Any

import pytest
import yaml

from cvms.config.parsers import comma_separated
from cvms.config.settings import Config
from tests.deploy.examples import documented_settings, require_own_programs
from tests.paths import ROOT

KUBERNETES = ROOT / "deploy" / "kubernetes"
MIGRATION = KUBERNETES / "migration"
VERSIONS = ("1.27", "1.37")
"""The oldest and the newest release of Kubernetes for which the manifests are written."""
OTHERS = {
    "Kustomization": {"apiVersion", "kind", "namespace", "resources", "images"},
    "ServiceMonitor": {"apiVersion", "kind", "metadata", "spec"},
}
"""The fields of what Kubernetes itself does not know."""


def documents() -> Iterator[Any]:
    for path in sorted(KUBERNETES.rglob("*.yaml")):
        yield from yaml.safe_load_all(path.read_text())


@pytest.fixture(scope="module")
def schemas() -> Any:
    """The module with the schemas of Kubernetes."""
    # To import it takes seconds, and each test process imports this module.
    import kubernetes_validate

    return kubernetes_validate


def check(document: Any, schemas: Any) -> None:
    """Raise for a field that the kind does not have, or whose value is of another type."""
    if document["kind"] in OTHERS:
        assert set(document) <= OTHERS[document["kind"]]
        return
    for version in VERSIONS:
        schemas.validate(document, version, strict=True)


def test_every_manifest_is_valid(schemas: Any) -> None:
    kinds = []
    for document in documents():
        check(document, schemas)
        kinds.append(document["kind"])
    assert {"Deployment", "Job", "NetworkPolicy", "PodDisruptionBudget", *OTHERS} <= set(kinds)


@pytest.mark.parametrize(
    ("path", "wrong"),
    [
        (("spec", "replica"), 3),
        (("spec", "replicas"), "three"),
        (("spec", "template", "spec", "containers", 0, "readinesProbe"), {}),
        (("spec", "template", "spec", "securityContext", "runAsNonroot"), True),
    ],
)
def test_a_field_that_is_none_or_wrong_is_found(
    schemas: Any, path: tuple[str | int, ...], wrong: object
) -> None:
    document = part = manifest("deployment")
    for key in path[:-1]:
        part = part[key]
    part[path[-1]] = wrong
    with pytest.raises(schemas.ValidationError):
        check(document, schemas)


def manifest(name: str) -> Any:
    return yaml.safe_load((KUBERNETES / f"{name}.yaml").read_text())


def pod() -> Any:
    return manifest("deployment")["spec"]["template"]["spec"]


def container() -> Any:
    [only] = pod()["containers"]
    return only


def test_the_kustomizations_list_every_manifest_and_the_same_image() -> None:
    listed = set(manifest("kustomization")["resources"])
    there = {path.name for path in KUBERNETES.glob("*.yaml")}
    assert there - listed == {"kustomization.yaml", "secret.example.yaml"}
    migration = manifest("migration/kustomization")
    assert {path.name for path in MIGRATION.glob("*.yaml")} - set(migration["resources"]) == {
        "kustomization.yaml"
    }
    assert migration["images"] == manifest("kustomization")["images"]
    assert migration["namespace"] == manifest("kustomization")["namespace"]


def test_a_pod_drains_after_leaving_rotation_and_before_it_is_killed() -> None:
    [command, seconds] = container()["lifecycle"]["preStop"]["exec"]["command"]
    assert command == "sleep"
    [deadline] = [each.default for each in fields(Config) if each.name == "shutdown_deadline"]
    assert isinstance(deadline, float)
    assert pod()["terminationGracePeriodSeconds"] > int(seconds) + deadline
    readiness = container()["readinessProbe"]
    assert int(seconds) > readiness["periodSeconds"]


def test_the_configuration_trusts_the_ingress_controller_and_no_other_workload() -> None:
    [network] = comma_separated(ip_network)(manifest("configmap")["data"]["TRUSTED_PROXIES"])
    assert network.num_addresses <= 16


def test_no_pod_starts_with_an_address_of_the_local_chain() -> None:
    data = manifest("configmap")["data"]
    require_own_programs(data)
    assert data["MIGRATE"] == "off"


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


def test_an_outage_of_the_database_alone_takes_pods_out_of_rotation_and_restarts_none() -> None:
    probes = {
        name: container()[f"{name}Probe"]["httpGet"]["path"]
        for name in ("liveness", "startup", "readiness")
    }
    assert probes == {"liveness": "/health", "startup": "/health", "readiness": "/ready/traffic"}


def test_one_pod_may_be_evicted_while_at_least_two_stay() -> None:
    replicas = manifest("deployment")["spec"]["replicas"]
    assert manifest("poddisruptionbudget")["spec"]["minAvailable"] == replicas - 1 >= 2


def test_every_variable_is_a_setting_and_every_secret_has_an_example() -> None:
    environment = container()["env"]
    secrets = manifest("secret.example")["stringData"]
    [migrating] = job_container()["env"]
    assert migrating["name"] == "DATABASE_URL"
    keys = {
        each["valueFrom"]["secretKeyRef"]["key"]
        for each in (*environment, migrating)
        if "valueFrom" in each
    }
    [volume] = pod()["volumes"]
    keys |= {item["key"] for item in volume["secret"]["items"]}
    assert keys == set(secrets)
    named = {each["name"] for each in environment} | set(manifest("configmap")["data"])
    assert named <= documented_settings()


def job_container() -> Any:
    [only] = manifest("migration/job")["spec"]["template"]["spec"]["containers"]
    return only


def test_each_pod_runs_as_the_unprivileged_user_of_the_image() -> None:
    user = int(re.findall(r"--uid (\d+)", (ROOT / "Containerfile").read_text())[0])
    for each in (pod(), manifest("migration/job")["spec"]["template"]["spec"]):
        assert each["securityContext"]["runAsUser"] == user
        assert each["securityContext"]["runAsNonRoot"] is True
        assert each["automountServiceAccountToken"] is False
    for one in (container(), job_container()):
        assert one["securityContext"] == {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        }


def test_pods_reach_names_databases_and_public_https_only() -> None:
    service, migration = (manifest(name) for name in ("networkpolicy", "migration/networkpolicy"))
    for policy, template in ((service, pod_labels()), (migration, job_labels())):
        assert policy["spec"]["podSelector"]["matchLabels"] == template
        assert policy["spec"]["policyTypes"] == ["Ingress", "Egress"]
    ports = [[port["port"] for port in rule["ports"]] for rule in service["spec"]["egress"]]
    assert ports == [[53, 53], [5432, 6379], [443]]
    ports = [[port["port"] for port in rule["ports"]] for rule in migration["spec"]["egress"]]
    assert ports == [[53, 53], [5432]]
    assert "ingress" not in migration["spec"]
    blocks = [each["ipBlock"] for each in service["spec"]["egress"][2]["to"]]
    excluded = [ip_network(each) for block in blocks for each in block["except"]]
    for inside in ("10.1.2.3", "169.254.169.254", "192.168.0.1", "fd00::1"):
        found = [block for block in excluded if ip_address(inside) in block]
        assert len(found) == 1


def pod_labels() -> Any:
    return manifest("deployment")["spec"]["template"]["metadata"]["labels"]


def job_labels() -> Any:
    return manifest("migration/job")["spec"]["template"]["metadata"]["labels"]
