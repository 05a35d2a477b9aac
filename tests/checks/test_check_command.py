"""`cvms check` prints what it has found, and ends with a status that scripts can use."""

from __future__ import annotations

import pytest

from cvms.checks.finding import GROUPS
from cvms.cli import main
from tests.checks.conftest import Setup
from tests.redis_server import RedisServer


async def test_what_is_in_order_ends_with_0(deployed: Setup, redis_server: RedisServer) -> None:
    deployed.set(REDIS_URL=redis_server.url)
    checked = await deployed.check()
    assert checked.failures == set()
    assert checked.status == 0
    assert {each.group for each in checked.lines} == set(GROUPS)
    assert not [each for each in checked.lines if each.level == "skipped"]
    # The chain of a test has one key for all, and no limits.
    assert checked.line("transfer_limits").level == "warning"
    assert (await deployed.check("--strict")).status == 1


async def test_a_line_has_what_was_seen_and_what_to_do(deployed: Setup) -> None:
    status, printed = await deployed.run("--only", "authority")
    assert status == 0
    lines = printed.splitlines()
    assert all(each.startswith(("ok ", "warning ")) and " authority " in each for each in lines[:5])
    [limits] = [each for each in lines if "transfer_limits" in each]
    assert "off: " in limits
    assert "POST /api/admin/transfer-limits/set" in limits
    assert lines[-1] == "3 ok, 2 warnings, 0 failures, 0 skipped"


async def test_what_cannot_be_checked_says_why(setup: Setup) -> None:
    checked = await setup.check()
    assert checked.status == 1
    skipped = {each.group: each.seen for each in checked.lines if each.level == "skipped"}
    assert skipped == {
        "database": "no database",
        "chain": "no chain",
        "programs": "no chain",
        "authority": "the programs could not be read",
        "mint": "the programs could not be read",
        "operator": "bad settings",
    }
    assert checked.failures == {
        "settings_loaded",  # no operator's key
        "database_reachable",
        "rpc_reachable",
        "pubsub_reachable",
    }


async def test_no_line_has_a_secret(setup: Setup) -> None:
    secret = "Zq7vXw2kLm9tRb4y"
    setup.set(
        SOLANA_RPC_URL=f"http://127.0.0.1:1/{secret},http://127.0.0.1:1/?key={secret}",
        SOLANA_WS_URL=f"ws://:{secret}@127.0.0.1:1/{secret}",
        REDIS_URL=f"redis://:{secret}@127.0.0.1:1",
        ALERT_WEBHOOK_URL=f"https://127.0.0.1:1/{secret}",
        ALERT_WEBHOOK_SECRET=f"whsec_{secret}",
        DEPLOYER_KEYPAIR_BASE64=secret,
        WEBHOOK_PRIVATE_ADDRESSES="on",
    )
    for arguments in ([], ["--json"]):
        status, printed = await setup.run(*arguments)
        assert status == 1
        assert "127.0.0.1:1" in printed
        assert secret not in printed


async def test_a_file_of_settings_that_cannot_be_read_is_a_failure_for_scripts_too(
    setup: Setup,
) -> None:
    (setup.folder / ".env").write_bytes(b"PORT=1\nX=\xff\n")
    checked = await setup.check()
    assert (checked.status, checked.failures) == (1, {"settings_loaded"})
    assert checked.line("settings_loaded").seen == ".env is not UTF-8 in line 2"
    assert {each.group for each in checked.lines if each.level == "skipped"} == {*GROUPS[1:]}
    assert (await setup.check("--only", "redis")).status == 1


@pytest.mark.parametrize("arguments", [["--only", "weather"], ["--loud"]], ids=" ".join)
def test_a_bad_argument_ends_with_2(
    arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit, match="2"):
        main(["check", *arguments])
    assert arguments[-1] in capsys.readouterr().err
