"""Each action of the console, done once in a browser, and what came of it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.harness.localnet import Localnet
from tests.http.pages.office import Office, office_of, raise_alert
from tests.http.pages.visitor import Visitor, visiting
from tests.http.wallets import rows


@pytest.mark.slow(seconds=12)
async def test_two_administrators_do_everything_that_the_console_offers(
    database_url: str, localnet: Localnet, tmp_path: Path
) -> None:
    async with (
        office_of(database_url, localnet) as office,
        visiting(tmp_path, office.served) as visitor,
    ):
        await visitor.sign_in("carol")
        await _handle_alerts(visitor, office)
        await heal_a_difference(visitor, office)
        await _send_again(visitor, office)
        await _verify_the_audit_trail(visitor)
        await _freeze(visitor, office)
        await request_settlement(visitor, office)
        await visitor.press("Sign out")
        await visitor.sign_in("bob")
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
    await visitor.until("return document.querySelectorAll('main tbody tr').length >= 2")


async def heal_a_difference(visitor: Visitor, office: Office) -> None:
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


async def _freeze(visitor: Visitor, office: Office) -> None:
    """One administrator alone may make money safer."""
    await visitor.go("programs", "Programs and governance")
    await visitor.press("Freeze")
    await visitor.confirm("Submitted as")
    [kept] = await rows(office.served, "SELECT count(*) AS keys FROM idempotency_keys")
    assert kept["keys"] == 1


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
