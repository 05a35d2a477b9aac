"""A remote signer that is slow, dead or wrong delays nobody, and nothing wrong is used."""

from __future__ import annotations

import pytest
import trio
from structlog.testing import capture_logs
from trio.testing import MockClock

from cvms.errors import SignerUnavailable, SponsorshipPaused
from cvms.signing.guarded_signer import CHECK_TEXT
from tests.signing.faulty_signer import Fault, FaultySigner

FAULTS: tuple[Fault, ...] = ("slow", "dead", "wrong")


async def test_a_good_signature_is_returned(autojump_clock: MockClock) -> None:
    signer = FaultySigner()
    signature = await signer.guarded().sign(b"text")
    assert signature.verify(signer.address, b"text")


@pytest.mark.parametrize("fault", FAULTS)
async def test_a_fault_opens_the_circuit_until_the_signer_signs_again(
    fault: Fault, autojump_clock: MockClock
) -> None:
    signer = FaultySigner(fault=fault)
    guarded = signer.guarded(seconds=3)
    with pytest.raises(SignerUnavailable) as raised:
        await guarded.sign(b"text")
    assert trio.current_time() <= autojump_clock.current_time()
    reasons = {"slow": "no signature within 3 s", "dead": "unplugged", "wrong": "not one of"}
    assert reasons[fault] in raised.value.reason
    assert reasons[fault] not in str(raised.value), "clients need not know"
    assert isinstance(raised.value, SponsorshipPaused)
    assert not guarded.available

    signer.fault, signer.asked = None, trio.Event()
    with pytest.raises(SignerUnavailable):
        await guarded.sign(b"text")
    assert not signer.asked.is_set(), "while the circuit is open it is not asked"
    await trio.sleep(1)
    assert await guarded.sign(b"text") == signer.keypair.sign_message(b"text")
    assert guarded.available


async def test_a_slow_signer_is_waited_for_no_longer_than_its_deadline(
    autojump_clock: MockClock,
) -> None:
    guarded, begin = FaultySigner(fault="slow").guarded(seconds=3), trio.current_time()
    with pytest.raises(SignerUnavailable):
        await guarded.sign(b"text")
    assert trio.current_time() - begin == pytest.approx(3)


async def test_while_it_is_away_one_caller_at_a_time_finds_out(autojump_clock: MockClock) -> None:
    signer = FaultySigner(fault="dead")
    guarded = signer.guarded(seconds=3)
    with pytest.raises(SignerUnavailable):
        await guarded.sign(b"text")
    await trio.sleep(1)
    signer.fault, signer.asked = "slow", trio.Event()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(_refused, guarded)
        await signer.asked.wait()
        begin = trio.current_time()
        with pytest.raises(SignerUnavailable):
            await guarded.sign(b"text")
        assert trio.current_time() == begin


async def _refused(guarded: object) -> None:
    with pytest.raises(SignerUnavailable):
        await guarded.sign(b"text")  # type: ignore[attr-defined]


async def test_a_caller_that_is_cancelled_says_nothing_of_the_signer() -> None:
    signer = FaultySigner(fault="slow")
    guarded = signer.guarded(seconds=60)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(guarded.sign, b"text")
        await signer.asked.wait()
        nursery.cancel_scope.cancel()
    assert guarded.available
    signer.fault = None
    await guarded.sign(b"text")


async def test_a_wrong_signature_is_logged_as_an_error(autojump_clock: MockClock) -> None:
    signer = FaultySigner(fault="wrong")
    with capture_logs() as logs, pytest.raises(SignerUnavailable):
        await signer.guarded().sign(b"text")
    assert [each["log_level"] for each in logs if each["event"] == "signature_wrong"] == ["error"]


async def test_a_check_finds_out_whether_signatures_are_always_the_same() -> None:
    signer = FaultySigner()
    guarded = signer.guarded()
    assert not guarded.deterministic
    await guarded.check()
    assert guarded.deterministic
    assert signer.signed == [], "only the text of checks"


async def test_the_text_of_a_check_is_no_transaction() -> None:
    required, read_only = CHECK_TEXT[0], CHECK_TEXT[1]
    assert read_only > required, "no message has more read-only signers than signers"
    assert required < 128, "it is no version either"
