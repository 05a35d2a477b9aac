"""Each action of the console, done once in a browser, and what came of it."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import trio

from tests.harness.localnet import Localnet
from tests.harness.tcp_proxy import TcpProxy, tcp_proxy
from tests.http.admin.two_people import token_of
from tests.http.pages.office import Office, office_of, raise_alert
from tests.http.pages.visitor import Visitor, visiting
from tests.http.wallets import rows, until_settled

LARGE_WITHDRAWALS = """return [...document.querySelectorAll("main tbody tr")]
  .filter((row) => row.innerText.includes("large withdrawal")).length === {}"""


@pytest.mark.slow(seconds=14)
async def test_two_administrators_do_everything_that_the_console_offers(
    database_url: str, localnet: Localnet, tmp_path: Path
) -> None:
    async with (
        office_of(database_url, localnet) as office,
        tcp_proxy(partial(trio.open_tcp_stream, "127.0.0.1", office.served.port)) as proxy,
        visiting(tmp_path, office.served, port=proxy.port) as visitor,
    ):
        await visitor.sign_in("carol")
        await _handle_alerts(visitor, office)
        await _miss_nothing_while_cut_off(visitor, office, proxy)
        await heal_a_difference(visitor, office)
        await _send_again(visitor, office)
        await _verify_the_audit_trail(visitor)
        await _save_the_audit_trail(visitor, office, tmp_path)
        await _log_more(visitor)
        await _freeze(visitor, office)
        await _pause(visitor, office)
        await _request_unfreezing(visitor)
        await _withdraw_a_request(visitor)
        await _request_unfreezing(visitor)
        await _request_the_end_of_the_pause(visitor)
        await request_settlement(visitor, office)
        await visitor.press("Sign out")
        await visitor.sign_in("bob")
        await _unfreeze_and_stay_paused(visitor)
        await approve_settlement(visitor, office)
        assert visitor.tab.errors == []


async def _handle_alerts(visitor: Visitor, office: Office) -> None:
    alert = f"alert {office.alert}"
    await visitor.go(f"alerts/{office.alert}", "Alerts")
    await visitor.press(f"Acknowledge {alert}")
    await visitor.confirm("The alert is acknowledged.")
    await visitor.see("it is acknowledged", within="main")
    await visitor.press(f"Silence {alert}")
    await visitor.type("reason", "The owner has called.")
    await visitor.confirm("Silent until")
    await visitor.see("by admin:carol: The owner has called.", within="main")
    await visitor.press("End the silence")
    await visitor.confirm("The silence has ended.")

    await raise_alert(office.served, subject="another withdrawal")
    await visitor.see("warning alert, large withdrawal", within=".spoken")
    await visitor.until(LARGE_WITHDRAWALS.format(2))


async def _miss_nothing_while_cut_off(visitor: Visitor, office: Office, proxy: TcpProxy) -> None:
    """An alert that was raised while the stream was cut arrives once it goes on."""
    proxy.stop()
    proxy.cut()
    await visitor.see("Stale since", within=".live")
    await raise_alert(office.served, subject="a withdrawal that nobody sees")
    proxy.heal()
    await visitor.until(LARGE_WITHDRAWALS.format(3))
    await visitor.see("Live", within=".live")


async def heal_a_difference(visitor: Visitor, office: Office) -> None:
    await until_settled(office.served)
    async with office.served.database.connection() as conn:
        await conn.execute("UPDATE vaults SET total = total + 7, available = available + 7")
    await visitor.go("reconciliation", "Reconciliation")
    await visitor.press("Reconcile all vaults")
    await visitor.confirm("Queued.")
    await visitor.until(
        f"""return [...document.querySelectorAll("tbody tr")].some((row) =>
          row.innerText.includes("{office.owner.pubkey()}")
          && row.querySelector(".badge").innerText === "healed")"""
    )
    [row] = await rows(office.served, "SELECT total FROM vaults")
    assert row["total"] == office.deposited


async def _send_again(visitor: Visitor, office: Office) -> None:
    await visitor.go("deliveries", "Deliveries")
    await visitor.press(f"Send again {office.delivery}")
    await visitor.confirm("The message is pending.")
    [row] = await rows(office.served, "SELECT resent_at FROM webhook_deliveries")
    assert row["resent_at"] is not None


async def _verify_the_audit_trail(visitor: Visitor) -> None:
    await visitor.go("audit", "Audit")
    await visitor.press("Verify the audit trail")
    await visitor.confirm("entries agree with their hashes")


async def _save_the_audit_trail(visitor: Visitor, office: Office, folder: Path) -> None:
    await visitor.tab.keep_downloads(folder)
    await visitor.press("Export as NDJSON")
    saved = [json.loads(line) for line in (await visitor.tab.downloaded()).splitlines()]
    entries = await rows(office.served, "SELECT id FROM audit_logs ORDER BY id DESC")
    assert [each["id"] for each in saved] == [each["id"] for each in entries[-len(saved) :]]
    assert saved[-1]["id"] == 1


async def _log_more(visitor: Visitor) -> None:
    await visitor.go("logs", "Logs")
    await visitor.press("Change the level")
    await visitor.type("level", "error")
    await visitor.type("minutes", "2")
    await visitor.confirm("The level is error until")
    await visitor.see("The level is error, until", within="main")


async def _freeze(visitor: Visitor, office: Office) -> None:
    """One administrator alone may make money safer; the page shows it once the chain has it."""
    await visitor.go("programs", "Programs and governance")
    await visitor.press("Freeze")
    await visitor.confirm("Submitted as")
    [kept] = await rows(office.served, "SELECT count(*) AS keys FROM idempotency_keys")
    assert kept["keys"] == 1
    await visitor.see("Unfreeze", within="main")


async def _pause(visitor: Visitor, office: Office) -> None:
    await visitor.press("Pause withdrawals")
    await visitor.type("hours", "2")
    await visitor.confirm("Submitted as")
    await visitor.see("End the pause", within="main")
    authorization = {"Authorization": f"Bearer {token_of('carol')}"}
    reply = await office.served.http.get(
        f"{office.served.url}/api/admin/governance", headers=authorization
    )
    until = datetime.fromisoformat(reply.json()["withdrawals_paused_until"])
    assert timedelta(hours=1) < until - datetime.now(UTC) <= timedelta(hours=2, minutes=1)


async def _request_unfreezing(visitor: Visitor) -> None:
    await visitor.go("programs", "Programs and governance")
    await visitor.press("Unfreeze")
    await visitor.confirm("It waits for a second administrator")


async def _request_the_end_of_the_pause(visitor: Visitor) -> None:
    await visitor.press("End the pause")
    await visitor.confirm("It waits for a second administrator")


async def _withdraw_a_request(visitor: Visitor) -> None:
    await visitor.go("approvals", "Approvals")
    await visitor.press("Withdraw set freeze flag")
    await visitor.confirm("The request is withdrawn.")
    await visitor.see("Nothing waits for a second person.", within="main")


async def _unfreeze_and_stay_paused(visitor: Visitor) -> None:
    """The second administrator approves one request, and rejects the other."""
    await visitor.go("approvals", "Approvals")
    await visitor.press("Approve set freeze flag")
    await visitor.confirm("Submitted as")
    await visitor.press("Reject pause withdrawals")
    await visitor.confirm("The request is rejected.")
    await visitor.go("programs", "Programs and governance")
    await visitor.see("not frozen", within="main")
    await visitor.see("End the pause", within="main")


async def request_settlement(visitor: Visitor, office: Office) -> None:
    await visitor.go(f"submissions/{office.submission}", "Submissions")
    await visitor.press("Settle")
    await visitor.type("reason", "The same message has landed.")
    await visitor.confirm("It waits for a second administrator")
    await visitor.go("approvals", "Approvals")
    await visitor.see("Another administrator has to approve it.", within="main")
    assert await _state(office) == "quarantined"


async def approve_settlement(visitor: Visitor, office: Office) -> None:
    await visitor.go("approvals", "Approvals")
    await visitor.press("Approve submission settle")
    await visitor.confirm("Approved.")
    await visitor.see("Nothing waits for a second person.", within="main")
    assert await _state(office) == "finalized"


async def _state(office: Office) -> Any:
    text = "SELECT state FROM submissions WHERE message_hash = sha256('quarantined')"
    [row] = await rows(office.served, text)
    return row["state"]
