"""A request whose transaction collides with another is answered, and takes effect once."""

from __future__ import annotations

import pytest

from tests.harness.service import Service
from tests.http.wallets import USDT, deposit, rows, submit, with_vault

COLLIDE = """
CREATE SEQUENCE tries;
CREATE FUNCTION collide() RETURNS TRIGGER LANGUAGE plpgsql AS $$
BEGIN
    IF nextval('tries') <= 2 THEN
        RAISE EXCEPTION 'on purpose' USING ERRCODE = '{}';
    END IF;
    RETURN NULL;
END
$$;
CREATE TRIGGER collide AFTER INSERT ON audit_logs EXECUTE FUNCTION collide();
"""


async def collide(service: Service, state: str) -> None:
    """Let the next two transactions that append to the audit trail fail."""
    async with service.database.dedicated() as conn:
        await conn.execute("DROP SEQUENCE IF EXISTS tries CASCADE")
        await conn.execute("DROP FUNCTION IF EXISTS collide CASCADE")
        await conn.execute(COLLIDE.format(state).encode())


@pytest.mark.parametrize("state", ["40001", "40P01"])
async def test_a_collision_costs_the_client_nothing(front: Service, state: str) -> None:
    wallet = await with_vault(front)
    await collide(front, state)
    built = await deposit(front, wallet, USDT)
    assert built.status_code == 200, built.text
    await collide(front, state)
    submitted = await submit(front, wallet, built)
    assert submitted.status_code == 202, submitted.text
    [row] = await rows(front, "SELECT state FROM submissions WHERE kind = 'deposit'")
    assert row["state"] == "pending"
    trail = await rows(front, "SELECT action FROM audit_logs ORDER BY id DESC LIMIT 2")
    assert [each["action"] for each in trail] == ["submit", "deposit"]
    metrics = (await front.get("/metrics")).text
    assert "cvms_database_transaction_repeats_total 4.0" in metrics
