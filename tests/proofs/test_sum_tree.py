"""The tree's root commits to every leaf and to every sum, whatever the number of leaves."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cvms.errors import ProofInvalid
from cvms.proofs import sum_tree
from cvms.proofs.sum_tree import CHUNK_LEAVES, NODE_BYTES, leaf, root_of_path, sums_of
from tests.proofs.publisher import Snapshot, vaults

LEAVES = Snapshot(vaults(300), lines=[]).leaves


@given(st.integers(1, 300), st.data())
def test_each_leaf_leads_to_the_root_and_no_other_index_does(
    count: int, data: st.DataObject
) -> None:
    leaves = LEAVES[:count]
    index = data.draw(st.integers(0, count - 1))
    root, path = sum_tree.root(leaves), sum_tree.path(leaves, index)
    assert root_of_path(leaves[index], index=index, count=count, siblings=path) == root
    assert sums_of(root) == tuple(map(sum, zip(*map(sums_of, leaves), strict=True)))
    other = data.draw(st.integers(0, count - 1))
    if other != index:
        try:
            reached = root_of_path(leaves[index], index=other, count=count, siblings=path)
        except ProofInvalid:
            return
        assert reached != root


@pytest.mark.parametrize("count", [0, 1, CHUNK_LEAVES, CHUNK_LEAVES + 1, 2 * CHUNK_LEAVES, 300])
def test_a_tree_built_in_chunks_proves_every_leaf(count: int) -> None:
    chunks = [
        LEAVES[:count][start : start + CHUNK_LEAVES] for start in range(0, count, CHUNK_LEAVES)
    ]
    top = sum_tree.top(count, [sum_tree.root(chunk) for chunk in chunks])
    assert (top.count, top.root) == (count, sum_tree.root(LEAVES[:count]))
    for index in range(count):
        chunk = index // CHUNK_LEAVES
        leaves = LEAVES[chunk * CHUNK_LEAVES : min((chunk + 1) * CHUNK_LEAVES, count)]
        own, *above = [
            top.nodes[place * NODE_BYTES : (place + 1) * NODE_BYTES]
            for place in (chunk, *sum_tree.places_above(count, chunk))
        ]
        assert own == sum_tree.root(leaves)
        path = [*sum_tree.path(leaves, index % CHUNK_LEAVES), *above]
        assert path == sum_tree.path(LEAVES[:count], index)


def test_a_path_that_is_not_the_trees_leads_elsewhere_or_is_refused() -> None:
    root, path = sum_tree.root(LEAVES), sum_tree.path(LEAVES, 7)
    for other in ([*path, path[-1]], path[:-1]):
        with pytest.raises(ProofInvalid, match="the path is too"):
            root_of_path(LEAVES[7], index=7, count=300, siblings=other)
    for level, sibling in enumerate(path):
        for node in (sibling[:32] + bytes(40), bytes(32) + sibling[32:]):
            bent = [*path[:level], node, *path[level + 1 :]]
            assert root_of_path(LEAVES[7], index=7, count=300, siblings=bent) != root


def test_sums_neither_wrap_nor_turn_negative() -> None:
    key, salt = bytes(32), bytes(32)
    most = leaf(key, [2**64 - 1, 2**64 - 1, 0, 0, 0], salt)
    with pytest.raises(ProofInvalid, match=r"2\^64") as raised:
        sum_tree.parent(most, leaf(key, [1, 1, 0, 0, 0], salt))
    assert raised.value.check == "overflow"
    for balances in ([-1, -1, 0, 0, 0], [2**64, 2**64, 0, 0, 0], [1, 1, 0, 0]):
        with pytest.raises(ProofInvalid) as raised:
            leaf(key, balances, salt)
        assert raised.value.check == "balances"
