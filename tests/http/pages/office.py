"""A whole service with something of everything that the console shows."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

from cryptography.fernet import Fernet
from solders.keypair import Keypair

from cvms.config.admin_settings import AdminSettings
from cvms.store.alerts import alerts, lifecycle
from cvms.store.alerts.alerts import Observation, Severity
from cvms.store.messaging import webhook_deliveries
from tests.harness.localnet import Localnet
from tests.harness.service import Served, whole_service
from tests.http.admin.test_admin_routes import SECRET
from tests.http.admin.two_people import token_of
from tests.http.wallets import USDT, deposit, funded, initialize, land, rows


@dataclass(frozen=True, slots=True)
class Office:
    """A service, an owner with a vault, and what was recorded about them."""

    served: Served
    owner: Keypair
    deposited: int
    alert: int
    submission: str
    delivery: str


@asynccontextmanager
async def office_of(
    database_url: str, localnet: Localnet, **settings: Any
) -> AsyncIterator[Office]:
    """Run a service in which two people have to agree."""
    own = {
        "admin_jwt_secret": SECRET,
        "data_encryption_keys": (Fernet.generate_key(),),
        "admin": AdminSettings(approvals=2),
    }
    async with whole_service(database_url, **(localnet.settings | own | settings)) as served:
        owner, deposited = await funded(served), 1_250 * USDT
        await land(served, owner, await initialize(served, owner))
        await land(served, owner, await deposit(served, owner, deposited))
        yield Office(
            served,
            owner,
            deposited,
            alert=await raise_alert(served),
            submission=await quarantined(served),
            delivery=await _give_up_delivery(served),
        )


async def raise_alert(served: Served, subject: str = "a withdrawal") -> int:
    """Raise an alert as the monitor does, and return its number."""
    observation = Observation(
        kind="large_withdrawal",
        subject=subject,
        severity=Severity.WARNING,
        summary="A withdrawal of 900 is more than a tenth of all value.",
        details={"amount": 900_000_000},
    )
    async with served.database.transaction() as conn:
        await alerts.lock(conn)
        await lifecycle.observe(conn, [observation], hook=None)
    found = await rows(served, "SELECT id FROM alerts WHERE kind = 'large_withdrawal' ORDER BY id")
    number: int = found[-1]["id"]
    return number


async def quarantined(served: Served) -> str:
    """Store another deposit whose outcome nobody knows, long after its last block.

    Return its id.
    """
    async with served.database.connection() as conn:
        await conn.execute(
            """
            INSERT INTO submissions (
                message_hash, kind, owner, state, signature, message, wire,
                last_valid_block_height, amount
            )
            SELECT sha256('quarantined'), kind, owner, 'quarantined', %(signature)s, message, wire,
                   1, amount
            FROM submissions
            WHERE kind = 'deposit'
            """,
            {"signature": str(Keypair().sign_message(b"never sent"))},
        )
    [row] = await rows(served, "SELECT message_hash FROM submissions WHERE state = 'quarantined'")
    return bytes(row["message_hash"]).hex()


async def _give_up_delivery(served: Served) -> str:
    async with served.database.connection() as conn:
        await webhook_deliveries.add_alert(conn, event="alert.raised", body="{}")
    [row] = await rows(served, "SELECT id FROM webhook_deliveries")
    return str(row["id"])


async def request_unfreezing(served: Served, by: str = "carol") -> None:
    """Request what a second administrator has to approve."""
    reply = await served.http.post(
        f"{served.url}/api/admin/freeze/set",
        json={"freeze": False},
        headers={"Authorization": f"Bearer {token_of(by)}"},
    )
    assert reply.status_code == 202, reply.text
