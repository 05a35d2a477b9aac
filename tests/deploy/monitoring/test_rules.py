"""Each rule fires when it should, and only then; Debian's programs accept all files."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
import yaml

from tests.deploy.monitoring.rules import MONITORING, RULE_TESTS, RULES, AlertRule, alert_rules
from tests.harness.installed_tools import program
from tests.paths import ROOT

FIRES, SILENT = "fires", ("is silent", "ends")


def run(tool: str, *arguments: str | Path) -> None:
    done = subprocess.run(
        [program(tool), *arguments], capture_output=True, text=True, check=False, timeout=120
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_prometheus_accepts_the_configuration_and_every_rule() -> None:
    run("promtool", "check", "config", MONITORING / "prometheus.yml")


def test_the_alertmanager_accepts_its_configuration() -> None:
    run("amtool", "check-config", MONITORING / "alertmanager.yml")


@pytest.mark.parametrize("path", RULE_TESTS, ids=lambda path: path.stem)
def test_alerts_fire_and_stay_silent(path: Path) -> None:
    run("promtool", "test", "rules", path)


def test_each_alert_has_a_case_that_fires_and_one_that_stays_silent() -> None:
    cases = [
        case["name"].partition(" ")
        for path in RULE_TESTS
        for case in yaml.safe_load(path.read_text())["tests"]
    ]
    names = {rule.name for rule in alert_rules()}
    assert {path.name for path in RULE_TESTS} == {path.name for path in RULES}
    assert {name for name, _, words in cases if words.startswith(FIRES)} == names
    assert {name for name, _, words in cases if words.startswith(SILENT)} == names


@pytest.mark.parametrize("rule", alert_rules(), ids=lambda rule: f"{rule.name}-{rule.severity}")
def test_each_alert_says_how_bad_it_is_what_was_seen_and_what_to_do(rule: AlertRule) -> None:
    assert rule.severity in {"warning", "critical"}
    assert rule.annotations.keys() == {"summary", "description", "runbook_url"}
    assert "$value" in rule.annotations["summary"] or "absent" in rule.expression
    assert rule.annotations["runbook_url"] == f"docs/runbooks/{rule.page}"
    assert (ROOT / rule.annotations["runbook_url"]).exists()


def test_two_alerts_of_one_name_differ_in_severity() -> None:
    rules = [(rule.name, rule.severity) for rule in alert_rules()]
    assert len(rules) == len(set(rules))


def test_the_alertmanager_routes_by_severity_and_knows_every_name_that_it_inhibits() -> None:
    text = (MONITORING / "alertmanager.yml").read_text()
    names = {rule.name for rule in alert_rules()}
    for rule in yaml.safe_load(text)["inhibit_rules"]:
        for matcher in rule["source_matchers"] + rule["target_matchers"]:
            label, _, value = matcher.partition("=")
            if label.rstrip("!") == "alertname":
                assert set(value.strip('~"').split("|")) <= names, matcher
    for severity, receiver in (("critical", "pager"), ("warning", "desk")):
        done = subprocess.run(
            [
                program("amtool"),
                "config",
                "routes",
                "test",
                f"--config.file={MONITORING / 'alertmanager.yml'}",
                f"--verify.receivers={receiver}",
                f"severity={severity}",
            ],
            capture_output=True,
            text=True,
            check=False,
            timeout=30,
        )
        assert done.returncode == 0, done.stdout + done.stderr
