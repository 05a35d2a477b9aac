"""What one endpoint has of the blocks that could contain a transaction."""

from __future__ import annotations

import pytest

from cvms.chain.rpc.evidence.block_window import BlockWindow, read_window
from cvms.chain.rpc.evidence.chain_tips import Tip
from cvms.chain.rpc.rpc_client import open_rpc
from cvms.chain.types import BlockHeight, Slot
from tests.chain.rpc.evidence.test_absence_proof import Ledger
from tests.chain.rpc.scripted_node import nodes


async def window_of(ledger: Ledger, signature: str, *, through: int = 19) -> BlockWindow:
    window = BlockWindow()
    async with nodes(ledger) as [node], open_rpc([node.url]) as rpc:
        await read_window(
            rpc,
            signature,
            window,
            after=Slot(2),
            through=BlockHeight(through),
            tip=Tip(Slot(30), BlockHeight(30)),
        )
    return window


async def test_all_blocks_are_counted_and_the_one_that_holds_it_is_named() -> None:
    found = await window_of(Ledger(), "s11")
    assert found == BlockWindow(17, Slot(3), Slot(19), complete=True, containing=Slot(11))
    assert (await window_of(Ledger(), "x")).containing is None
    # Those before and behind are none of those in question.
    for outside in ("s2", "s20"):
        assert (await window_of(Ledger(), outside)).containing is None


@pytest.mark.parametrize("ledger", [Ledger(missing=7), Ledger(missing=3), Ledger(forked=7)])
async def test_a_gap_leaves_it_incomplete_and_what_follows_is_read(ledger: Ledger) -> None:
    found = await window_of(ledger, "s15")
    assert not found.complete
    assert found.containing == 15
    assert found.last == 19
    assert found.count >= 15


async def test_without_a_block_beyond_it_is_incomplete() -> None:
    found = await window_of(Ledger(), "x", through=30)
    assert (found.complete, found.last) == (False, 30)
