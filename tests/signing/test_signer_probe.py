"""What /ready and the alerts say of signers, and what waits for one."""

from __future__ import annotations

import trio
from trio.testing import MockClock

from cvms.metrics import Metrics
from cvms.nursery.channels.status_board import StatusBoard
from cvms.nursery.supervision.signer_probe import CHECK_SECONDS, WARN_SECONDS, SignerProbe
from tests.signing.faulty_signer import FaultySigner, set_of


def probe_of(*signers: FaultySigner) -> SignerProbe:
    return SignerProbe(
        signers=set_of(*signers, seconds=3), board=StatusBoard(()), metrics=Metrics()
    )


def gauge(probe: SignerProbe, signer: FaultySigner) -> float | None:
    labels = {"address": str(signer.address)}
    return probe.metrics.registry.get_sample_value("cvms_operator_signer_available", labels)


async def test_the_service_is_not_ready_while_no_signer_signs(autojump_clock: MockClock) -> None:
    signer = FaultySigner()
    probe = probe_of(signer)
    await probe.run_once()
    assert probe.board.ready
    signer.fault = "dead"
    await trio.sleep(CHECK_SECONDS)
    await probe.run_once()
    component = probe.board.components["signer"]
    assert (component.ok, component.kind) == (False, "unavailable")
    assert f"faulty {signer.address}: it is unplugged" in component.detail
    assert gauge(probe, signer) == 0
    signer.fault = None
    await trio.sleep(1)
    await probe.run_once()
    assert probe.board.ready
    assert gauge(probe, signer) == 1


async def test_one_signer_is_enough_and_the_other_raises_an_alert_after_a_while(
    autojump_clock: MockClock,
) -> None:
    first, second = FaultySigner(fault="slow"), FaultySigner()
    probe = probe_of(first, second)
    await probe.run_once()
    assert probe.board.ready
    assert f"faulty {second.address} signs; faulty {first.address}: no signature" in (
        probe.board.components["signer"].detail
    )
    assert probe.board.warnings == {}
    await trio.sleep(WARN_SECONDS)
    await probe.run_once()
    assert str(first.address) in probe.board.warnings["operator_signer"]
    first.fault = None
    await trio.sleep(1)
    await probe.run_once()
    assert probe.board.warnings == {}


async def test_a_signer_that_has_just_signed_is_not_asked(autojump_clock: MockClock) -> None:
    signer = FaultySigner()
    probe = probe_of(signer)
    await probe.run_once()
    signer.asked = trio.Event()
    await probe.run_once()
    assert not signer.asked.is_set()
    await trio.sleep(CHECK_SECONDS)
    await probe.run_once()
    assert signer.asked.is_set()
