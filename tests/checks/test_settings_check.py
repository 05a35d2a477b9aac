"""Settings that cannot be used, names that are none, and secrets that can be guessed."""

from __future__ import annotations

import base64

import pytest

from tests.checks.conftest import JWT_SECRET, Setup


async def test_every_bad_setting_has_a_line(deployed: Setup) -> None:
    deployed.set(PORT="eighty", USDT_MINT="tether")
    checked = await deployed.check("--only", "settings")
    assert checked.status == 1
    seen = [each.seen for each in checked.lines_of("settings_loaded")]
    assert len(seen) == 2
    assert any("PORT holds 'eighty'" in each for each in seen)
    assert any("USDT_MINT holds 'tether'" in each for each in seen)


async def test_a_bad_setting_blocks_only_what_needs_it(deployed: Setup) -> None:
    deployed.set(DATABASE_URL="postgresql://%zz/", LOG_LEVEL="loud")
    checked = await deployed.check()
    assert checked.failures == {"settings_loaded"}
    skipped = {each.group: each.seen for each in checked.lines if each.level == "skipped"}
    assert skipped == {"database": "bad settings", "chain": "no database"}


async def test_a_key_that_others_can_read_says_how_to_mend_it(deployed: Setup) -> None:
    path = deployed.folder / "operator.json"
    path.chmod(0o644)
    checked = await deployed.check()
    assert checked.status == 1
    assert f"chmod 600 {path}" in checked.line("settings_loaded").seen
    assert checked.line("operator").seen == "bad settings"
    path.chmod(0o600)
    checked = await deployed.check()
    assert checked.status == 0
    assert checked.line("operator_key").seen.endswith("in a file with mode 0600")


async def test_a_name_that_resembles_a_setting_is_a_warning(deployed: Setup) -> None:
    deployed.set(ADMIN_JWT_SECRETT="7")
    line = (await deployed.check("--only", "settings")).line("settings_known")
    assert (line.level, line.subject) == ("warning", "ADMIN_JWT_SECRETT")
    assert line.advice is not None
    assert "ADMIN_JWT_SECRET " in line.advice


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("ADMIN_JWT_SECRET", "changeme" * 4),
        ("ADMIN_JWT_SECRETS", "new:" + "changeme" * 4),
        ("DATA_ENCRYPTION_KEYS", "A" * 43 + "="),
    ],
)
async def test_a_secret_that_can_be_guessed_fails(deployed: Setup, name: str, value: str) -> None:
    deployed.set(**{name: value})
    checked = await deployed.check("--only", "settings")
    assert checked.status == 1
    assert checked.line("settings_secrets", name).level == "failure"
    assert value not in checked.line("settings_secrets", name).seen


async def test_one_secret_for_two_purposes_fails(deployed: Setup) -> None:
    deployed.set(ADMIN_JWT_SECRETS=f"a:{JWT_SECRET}")
    assert (await deployed.check("--only", "settings")).status == 0
    deployed.set(
        ALERT_WEBHOOK_URL="https://alerts.example/",
        ALERT_WEBHOOK_SECRET=base64.b64encode(JWT_SECRET.encode()).decode(),
    )
    checked = await deployed.check("--only", "settings")
    assert "one secret has two purposes" in [each.seen for each in checked.lines]
    assert checked.status == 1


async def test_secrets_that_are_not_set_are_warnings(deployed: Setup) -> None:
    checked = await deployed.check("--only", "settings")
    assert (
        checked.line("settings_secrets", "ADMIN_JWT_SECRET").seen == f"set, {len(JWT_SECRET)} bytes"
    )
    deployed.set(ADMIN_JWT_SECRET="", DATA_ENCRYPTION_KEYS="")
    checked = await deployed.check("--only", "settings")
    for name in ("ADMIN_JWT_SECRET", "DATA_ENCRYPTION_KEYS", "ALERT_WEBHOOK_URL"):
        assert checked.line("settings_secrets", name).level == "warning"
    assert checked.status == 0
    deployed.set(ADMIN_JWT_SECRETS=f"new:{JWT_SECRET}")
    checked = await deployed.check("--only", "settings")
    subjects = [each.subject for each in checked.lines if each.level == "warning"]
    assert "ADMIN_JWT_SECRET" not in subjects
