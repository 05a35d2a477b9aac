"""Charts show what moved, the total, and how long submissions took."""

from __future__ import annotations

import itertools
from datetime import UTC, datetime, timedelta

import pytest

from cvms.store.analytics import aggregates
from cvms.store.vaults.history import Kind
from tests.harness.service import Service
from tests.http.admin.console.asking import refused, shown
from tests.store.examples import history_row

PATH = "/api/admin/charts"
SUBMITTED = """
INSERT INTO submissions (
    message_hash, kind, owner, state, signature, message, wire, last_valid_block_height,
    signed_at, confirmed_at
)
SELECT decode(lpad(to_hex(n), 64, '0'), 'hex'), 'deposit', 'a', 'finalized', n::TEXT, '', '', 1,
       now() - n * INTERVAL '1 s', now()
FROM generate_series(1, 100) AS n
"""


async def test_the_charts_have_a_point_for_each_step(office: Service) -> None:
    now = datetime.now(UTC)
    moved = (
        (Kind.DEPOSIT, 1_000, 30),
        (Kind.DEPOSIT, 10, 0),
        (Kind.WITHDRAW, 4, 0),
        (Kind.EMERGENCY_WITHDRAW, 1, 0),
        (Kind.LOCK, 500, 0),
    )
    lines = [
        history_row(kind=kind, amount=amount, block_time=now - timedelta(hours=hours))
        for kind, amount, hours in moved
    ]
    async with office.database.transaction() as conn:
        await aggregates.count(conn, lines)
        await conn.execute(SUBMITTED)
    day = await shown(office, PATH)
    assert (day["step_seconds"], len(day["points"])) == (3600, 24)
    newest = day["points"][-1]
    assert (newest["deposits"], newest["withdrawals"]) == (10, 5)
    assert newest["total_value_locked"] == 1_005
    assert newest["confirmation_seconds_p95"] == pytest.approx(95, abs=1)
    before = day["points"][-2]
    assert (before["deposits"], before["total_value_locked"]) == (0, 1_000)
    assert before["confirmation_seconds_p95"] is None

    month = await shown(office, f"{PATH}?hours=720")
    assert (month["step_seconds"], len(month["points"])) == (4 * 3600, 180)
    assert sum(each["deposits"] for each in month["points"]) == 1_010
    assert month["points"][-1]["total_value_locked"] == 1_005
    times = [datetime.fromisoformat(each["at"]) for each in month["points"]]
    assert {after - at for at, after in itertools.pairwise(times)} == {timedelta(hours=4)}
    for hours in (1, 199, 200, 201, 401):
        points = (await shown(office, f"{PATH}?hours={hours}"))["points"]
        assert hours / 3 <= len(points) <= 200
    for query in ("hours=0", "hours=721", "hours=x", "hours=1e9", "days=1"):
        assert await refused(office, f"{PATH}?{query}") == (400, "invalid_request")
