"""Priority fees, also of providers that refuse the call or answer something else."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import trio
from solders.hash import Hash
from solders.message import MessageV0
from solders.pubkey import Pubkey
from structlog.testing import capture_logs

from cvms.chain.program import instructions
from cvms.chain.rpc.rpc_client import open_rpc
from cvms.chain.transactions.priority_fees import ANSWER_SECONDS, PriorityFees, price_among
from cvms.chain.types import Programs
from cvms.metrics import Metrics
from tests.chain.rpc.scripted_node import Reply, error, nodes, result

FEES = [{"slot": slot, "prioritizationFee": slot} for slot in range(100)]


@pytest.fixture
def message(programs: Programs) -> MessageV0:
    owner = Pubkey.new_unique()
    step = instructions.deposit(programs, authority=owner, owner=owner, amount=1)
    return MessageV0.try_compile(owner, [step], [], Hash.new_unique())


@pytest.mark.parametrize(
    ("fees", "price"),
    [([], 0), ([0, 0, 0], 0), ([5], 5), ([1, 2, 3, 4], 4), ([4, 1, 3, 2, 0, 0, 0, 0], 3)],
)
def test_the_price_is_what_most_recent_slots_took(fees: list[int], price: int) -> None:
    assert price_among(fees, 1000) == price


def test_a_price_is_capped_whatever_others_pay() -> None:
    assert price_among([10**12] * 150, 1000) == 1000


REFUSALS: dict[str, Callable[[Any], Reply]] = {
    "403": lambda _: Reply(b'{"error": "not in your plan"}', status=403),
    "405": lambda _: Reply(b"", status=405),
    "410": lambda _: Reply(b"Gone", status=410),
    "500": lambda _: Reply(b"<html>", status=500),
    "-32601": lambda request: error(request, -32601, "Method not found"),
    "-32603": lambda request: error(request, -32603, "Internal error"),
    "-32000": lambda request: error(request, -32000, "method is not available"),
    "a page": lambda _: Reply(b"<html>Welcome</html>"),
    "cut": lambda _: Reply(cut=True),
    "null": lambda request: result(request, None),
    "an object": lambda request: result(request, {"low": 1}),
    "numbers": lambda request: result(request, [1, 2]),
    "no fee": lambda request: result(request, [{"slot": 5}]),
    "negative": lambda request: result(request, [{"slot": 5, "prioritizationFee": -1}]),
    "words": lambda request: result(request, [{"slot": 5, "prioritizationFee": "5"}]),
}


@pytest.mark.parametrize("refusal", REFUSALS.values(), ids=REFUSALS.keys())
async def test_without_an_answer_the_price_is_0_which_is_logged_once(
    message: MessageV0, refusal: Callable[[Any], Reply]
) -> None:
    answer = refusal

    async def script(request: Any) -> Reply:
        return answer(request)

    metrics = Metrics()

    def known() -> float | None:
        return metrics.registry.get_sample_value("cvms_priority_fees_known")

    with capture_logs() as logs:
        async with nodes(script) as [node], open_rpc([node.url]) as rpc:
            fees = PriorityFees(rpc, metrics)
            for _ in range(3):
                assert await fees.price(message, cap=1000) == 0
            assert known() == 0
            answer = lambda request: result(request, FEES)  # noqa: E731
            with trio.fail_after(5):
                while await fees.price(message, cap=1000) != 75:
                    await trio.lowlevel.checkpoint()
            assert known() == 1
    told = [each for each in logs if each["event"].startswith("priority_fees")]
    assert [each["event"] for each in told] == ["priority_fees_unknown", "priority_fees_known"]
    assert told[0]["reason"]


async def test_a_slow_answer_does_not_hold_up_a_transaction(message: MessageV0) -> None:
    async def silent(_: Any) -> Reply:
        await trio.sleep_forever()
        raise AssertionError

    metrics = Metrics()
    async with nodes(silent) as [node], open_rpc([node.url]) as rpc:
        began = trio.current_time()
        assert await PriorityFees(rpc, metrics).price(message, cap=1000) == 0
        assert trio.current_time() - began >= ANSWER_SECONDS
    assert metrics.registry.get_sample_value("cvms_priority_fees_known") == 0
