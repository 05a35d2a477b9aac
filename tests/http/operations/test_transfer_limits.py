"""What administrators may transfer: at once, within a day on all replicas, and to whom."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from functools import partial

import httpx
import pytest
import trio
from solders.keypair import Keypair
from solders.pubkey import Pubkey

from cvms.config.admin_settings import AdminSettings
from cvms.errors import TransferNotAllowed
from cvms.http.operations.transfer_limits import check_transfer
from tests.harness.localnet import Localnet
from tests.harness.service import Json, Service
from tests.http.admin.test_admin_routes import ask
from tests.http.admin.two_people import alert_kinds, decide, requested, token_of, two_people
from tests.http.wallets import USDT, rows, sent, signed, with_vault

TRANSFER = "/api/internal/transfer-collateral"


async def locked_vault(office: Service, amount: int) -> Keypair:
    wallet = await with_vault(office, amount=amount)
    body = await signed(office, wallet, "pm_lock", ("amount", amount))
    await sent(office, wallet, await office.post("/api/pm/lock", body))
    return wallet


async def bodies(office: Service, *amounts: int) -> list[Json]:
    """Return transfers of these amounts out of one vault, which has enough for all."""
    giver, taker = await locked_vault(office, sum(amounts)), await with_vault(office)
    owners = {"from_owner": str(giver.pubkey()), "to_owner": str(taker.pubkey())}
    return [owners | {"amount": amount} for amount in amounts]


async def transfer(office: Service, body: Json) -> httpx.Response:
    return await ask(office, "POST", TRANSFER, body, token_of("carol"))


async def age(office: Service, hours: float) -> None:
    async with office.database.connection() as conn:
        await conn.execute(
            "UPDATE submissions SET created_at = created_at - %(by)s",
            {"by": timedelta(hours=hours)},
        )


def test_a_transfer_is_limited_by_amount_and_destination() -> None:
    friend, stranger = Pubkey.new_unique(), Pubkey.new_unique()
    settings = AdminSettings(transfer_limit=5, transfer_destinations=(friend,))
    check_transfer(settings, to_owner=friend, amount=5)
    check_transfer(AdminSettings(), to_owner=stranger, amount=2**63 - 1)
    for to_owner, amount, said in (
        (friend, 6, "ADMIN_TRANSFER_LIMIT is 5"),
        (stranger, 1, "ADMIN_TRANSFER_DESTINATIONS"),
    ):
        with pytest.raises(TransferNotAllowed, match=said):
            check_transfer(settings, to_owner=to_owner, amount=amount)
    with pytest.raises(TransferNotAllowed, match="ADMIN_TRANSFER_LIMIT_PER_DAY is 5"):
        check_transfer(AdminSettings(transfer_limit_per_day=5), to_owner=friend, amount=6)


async def test_a_day_s_transfers_are_limited_until_the_oldest_is_a_day_old(
    database_url: str, localnet: Localnet
) -> None:
    async with two_people(
        database_url, localnet, approvals=1, transfer_limit_per_day=10 * USDT
    ) as office:
        four, five, two, one = await bodies(office, 4 * USDT, 5 * USDT, 2 * USDT, 1 * USDT)
        assert (await transfer(office, four)).status_code == 202
        await age(office, 10)
        assert (await transfer(office, five)).status_code == 202
        refused = await transfer(office, two)
        problem = refused.json()
        assert (refused.status_code, problem["code"]) == (429, "transfer_limit_reached")
        assert (problem["limit"], problem["used"]) == (10 * USDT, 9 * USDT)
        available_at = datetime.fromisoformat(problem["available_at"])
        left = available_at - datetime.now(UTC)
        assert timedelta(hours=13, minutes=55) < left < timedelta(hours=14, minutes=5)
        assert 0 <= int(refused.headers["Retry-After"]) - left.total_seconds() < 60
        assert (await transfer(office, one)).status_code == 202, "there is room for it"
        assert (await transfer(office, one)).json()["used"] == 10 * USDT
        await age(office, 14.1)
        assert (await transfer(office, two)).status_code == 202, "the first is a day old"
        raised = await rows(office, "SELECT kind, severity FROM alerts ORDER BY id")
        assert [(each["kind"], each["severity"]) for each in raised] == [
            ("admin_act_executed", "critical"),
            ("admin_act_executed", "critical"),
            ("admin_act_refused", "warning"),
            ("admin_act_executed", "critical"),
            ("admin_act_refused", "warning"),
            ("admin_act_executed", "critical"),
        ]
        trail = await rows(
            office, "SELECT action, details FROM audit_logs WHERE outcome = 'refused'"
        )
        assert {row["action"] for row in trail} == {"transfer_collateral"}
        assert {row["details"]["problem"] for row in trail} == {"transfer_limit_reached"}


async def test_what_never_happened_does_not_count(database_url: str, localnet: Localnet) -> None:
    async with two_people(database_url, localnet, approvals=1, transfer_limit_per_day=5) as office:
        body, again = await bodies(office, 5, 5)
        assert (await transfer(office, body)).status_code == 202
        assert (await transfer(office, again)).status_code == 429
        for state, status in (("quarantined", 429), ("expired", 202)):
            async with office.database.connection() as conn:
                await conn.execute("UPDATE submissions SET state = %(to)s", {"to": state})
            assert (await transfer(office, again)).status_code == status, state


async def test_replicas_share_the_limit_however_many_transfer_at_once(
    database_url: str, localnet: Localnet
) -> None:
    limited = partial(two_people, database_url, localnet, approvals=1)
    async with (
        limited(transfer_limit_per_day=5) as office,
        limited(transfer_limit_per_day=5) as replica,
    ):
        given = await bodies(office, *[2] * 8)
        replies: list[httpx.Response] = []

        async def send(service: Service, body: Json) -> None:
            replies.append(await transfer(service, body))

        async with trio.open_nursery() as nursery:
            for number, body in enumerate(given):
                nursery.start_soon(send, (office, replica)[number % 2], body)
        assert sorted(reply.status_code for reply in replies) == [202] * 2 + [429] * 6
        [total] = await rows(
            office,
            "SELECT sum(amount)::BIGINT AS moved FROM submissions "
            "WHERE kind = 'transfer_collateral'",
        )
        assert total["moved"] == 4


async def test_an_approved_transfer_beyond_the_limit_waits_for_room(
    database_url: str, localnet: Localnet
) -> None:
    async with two_people(database_url, localnet, transfer_limit_per_day=5) as office:
        first, second = [
            await requested(office, TRANSFER, body) for body in await bodies(office, 5, 4)
        ]
        assert (await decide(office, first)).status_code == 202
        refused = await decide(office, second)
        assert (refused.status_code, refused.json()["used"]) == (429, 5), refused.text
        kinds = [kind for kind, _ in await alert_kinds(office, second)]
        assert kinds == ["admin_act_requested", "admin_act_refused"]
        await age(office, 25)
        assert (await decide(office, second)).status_code == 202


async def test_an_approval_does_not_lead_to_another_destination(
    database_url: str, localnet: Localnet
) -> None:
    friend = Pubkey.new_unique()
    async with two_people(database_url, localnet, transfer_destinations=(friend,)) as office:
        [body] = await bodies(office, 5)
        approval = await requested(office, TRANSFER, body)
        reply = await decide(office, approval)
        assert (reply.status_code, reply.json()["code"]) == (422, "transfer_not_allowed")
        assert (
            await rows(office, "SELECT 1 FROM submissions WHERE amount = 5 AND kind LIKE 't%'")
            == []
        )
