"""/health, /ready and /ready/traffic report the state of the service."""

from __future__ import annotations

import re
from typing import Any

from cvms.http.framework.admin_tokens import Role, mint
from tests.harness.service import Service, running

SECRET = b"s" * 32
VIEWER = Role.VIEWER


async def test_the_service_is_alive_while_nothing_else_is_ready(service: Service) -> None:
    reply = await service.get("/health")
    assert (reply.status_code, reply.json()) == (200, {"status": "ok"})


async def test_ready_names_each_part_that_is_not_ok(service: Service) -> None:
    service.board.set_component("database", ok=True, detail="answers")
    reply = await service.get("/ready")
    assert reply.status_code == 503
    assert reply.headers["Retry-After"] == "1"
    problem = reply.json()
    assert problem["code"] == "not_ready"
    assert problem["parts"]["database"]["ok"] is True
    assert problem["parts"]["rpc"]["ok"] is False
    assert "rpc" in problem["detail"]
    assert "database" not in problem["detail"]


async def test_the_service_is_ready_when_all_parts_are_ok(service: Service) -> None:
    for part in service.board.components:
        service.board.set_component(part, ok=True, detail="fine")
    reply = await service.get("/ready")
    assert reply.status_code == 200
    assert reply.json()["status"] == "ready"
    assert set(reply.json()["parts"]) == {"database", "rpc", "indexer"}


async def test_traffic_goes_on_while_reads_are_answered(service: Service) -> None:
    """The chain, the indexer and a task in a crash loop take no process out of the rotation."""
    unchecked = await service.get("/ready/traffic")
    assert (unchecked.status_code, unchecked.headers["Retry-After"]) == (503, "1")
    assert unchecked.json()["detail"] == "database: not checked"
    service.board.answers_reads = True
    for part in service.board.components:
        service.board.set_component(part, ok=False, detail="gone", trouble="disk_full")
    assert (await service.get("/ready")).status_code == 503
    reply = await service.get("/ready/traffic")
    assert (reply.status_code, reply.json()) == (200, {"status": "ready"})


async def test_no_traffic_goes_to_a_process_without_database_or_that_ends(service: Service) -> None:
    service.board.set_component("database", ok=False, detail="db.internal", trouble="refused")
    without = await service.get("/ready/traffic")
    assert (without.status_code, without.json()["code"]) == (503, "not_ready")
    assert without.json()["detail"] == "database: refused"
    service.board.answers_reads = service.board.stopping = True
    ending = await service.get("/ready/traffic")
    assert (ending.status_code, ending.json()["detail"]) == (503, "this process ends")


async def test_a_check_that_fails_is_named_and_leaves_the_service_ready(service: Service) -> None:
    for part in service.board.components:
        service.board.set_component(part, ok=True, detail="fine")
    assert (await service.get("/ready")).json()["checks"] == {}  # another replica runs them
    service.board.checks.expect({"listing": 600, "pass": 60})
    service.board.checks.completed("pass")
    service.board.checks.failed("listing", "not for you")
    reply = await service.get("/ready")
    assert reply.status_code == 200
    listing, full_pass = reply.json()["checks"]["listing"], reply.json()["checks"]["pass"]
    assert (listing["ok"], listing["detail"], listing["completed_at"]) == (
        False,
        "failed",
        None,
    )
    assert full_pass["ok"]
    assert full_pass["completed_at"] is not None
    text = (await service.get("/metrics")).text
    age = re.search(
        r'^cvms_reconciliation_check_age_seconds{check="pass"} (\S+)$', text, re.MULTILINE
    )
    assert age is not None
    assert 0 <= float(age[1]) < 60
    service.board.checks.forget()
    assert "cvms_reconciliation_check_age_seconds{" not in (await service.get("/metrics")).text


async def test_a_warning_is_shown_and_leaves_the_service_ready(service: Service) -> None:
    service.board.warnings["alert_webhook"] = "1 messages are not delivered: no reply within 10 s"
    refused = await service.get("/ready")
    for part in service.board.components:
        service.board.set_component(part, ok=True, detail="fine")
    ready = await service.get("/ready")
    assert (refused.status_code, ready.status_code) == (503, 200)
    for reply in (refused, ready):
        assert reply.json()["warnings"] == {"alert_webhook": "needs a person"}


async def test_hosts_and_reasons_are_shown_to_administrators_only(database_url: str) -> None:
    async with running(database_url, admin_jwt_secret=SECRET) as service:
        service.board.set_component(
            "database", ok=False, detail="db.internal:5432 refused", trouble="refused"
        )
        service.board.set_component("rpc", ok=True, detail="rpc.internal answers, at slot 7")
        service.board.set_component("indexer", ok=False, detail="lost tx of rpc.internal")
        service.board.checks.expect({"listing": 600})
        service.board.checks.failed("listing", "rpc.internal: plan expired")
        service.board.warnings["alert_webhook"] = "1 messages are not delivered"
        for token in (None, "forged", mint(b"x" * 32, subject="carol", role=VIEWER, seconds=60)):
            shown = await ready(service, token)
            assert "internal" not in str(shown)
            assert shown["detail"] == "database: refused, indexer: unavailable"
            assert {
                name: (each["ok"], each["kind"], each["detail"])
                for name, each in (shown["parts"] | shown["checks"]).items()
            } == {
                "database": (False, "refused", "refused"),
                "rpc": (True, "ok", "ok"),
                "indexer": (False, "unavailable", "unavailable"),
                "listing": (False, "failed", "failed"),
            }
        shown = await ready(service, mint(SECRET, subject="carol", role=VIEWER, seconds=60))
        assert shown["warnings"] == {"alert_webhook": "1 messages are not delivered"}
        assert "db.internal:5432 refused" in shown["detail"]
        assert shown["parts"]["database"]["kind"] == "refused"
        assert shown["parts"]["rpc"]["detail"] == "rpc.internal answers, at slot 7"
        assert shown["checks"]["listing"]["detail"] == "rpc.internal: plan expired"


async def ready(service: Service, token: str | None) -> Any:
    headers = {} if token is None else {"Authorization": f"Bearer {token}"}
    reply = await service.http.get(f"{service.url}/ready", headers=headers)
    assert reply.status_code == 503
    return reply.json()


async def test_administrators_need_no_database_to_see_the_details(database_url: str) -> None:
    async with running(database_url, admin_jwt_secret=SECRET) as service:
        service.board.set_component("database", ok=False, detail="db.internal refused")
        service.database.schema_ready = False
        token = mint(SECRET, subject="carol", role=VIEWER, seconds=60)
        assert "db.internal refused" in (await ready(service, token))["detail"]
