"""A statement's balances can be held against the log of proofs."""

from __future__ import annotations

import msgspec

from cvms.proofs.inclusion import PROOF, InclusionProof
from tests.harness.service import Json, Service
from tests.nursery.reconciliation.test_reconciler import two_vaults
from tests.nursery.scheduled.test_proof_publisher import publisher, settled
from tests.nursery.world import World, address


def verified(proof: Json) -> InclusionProof:
    found = PROOF.decode(msgspec.json.encode(proof))
    found.verify()
    return found


async def test_both_balances_have_proofs_of_the_entries_before_them(
    front: Service, world: World
) -> None:
    alice, _ = await two_vaults(world)
    slots = []
    for amount in (100, 200):
        await world.act(alice, world.deposit(alice, amount))
        await settled(world)
        entry = await publisher(world).run_once()
        assert entry is not None
        slots.append(entry.read().slot)
    first, second = slots
    path = f"/api/vault/statement/{address(alice)}?proofs=true"
    between = (await front.get(f"{path}&from={first + 1}&to={second + 1}")).json()
    for side, number in (("opening", 1), ("closing", 2)):
        proof = between["proofs"][side]
        assert (proof["number"], proof["slot"], proof["exact"]) == (number, slots[number - 1], True)
        assert verified(proof["proof"]).balances.total == str(between[side]["total"])

    # Between two entries, the statement from the entry on shows what moved.
    late = (await front.get(f"{path}&from={second}&to={second + 1}")).json()["proofs"]["opening"]
    assert (late["number"], late["exact"]) == (1, True)
    before = (await front.get(f"{path}&to={first}")).json()
    assert before["proofs"]["closing"] is None
    whole = (await front.get(path)).json()
    assert whole["proofs"]["opening"] is None
    assert whole["proofs"]["closing"]["number"] == 2
    plain = (await front.get(path.replace("?proofs=true", ""))).json()
    assert plain["proofs"] is None


async def test_a_balance_that_moved_after_the_entry_is_not_exact(
    front: Service, world: World
) -> None:
    alice, _ = await two_vaults(world)
    await settled(world)
    assert await publisher(world).run_once() is not None
    await world.act(alice, world.deposit(alice, 100))
    await settled(world)
    statement = (await front.get(f"/api/vault/statement/{address(alice)}?proofs=true")).json()
    closing = statement["proofs"]["closing"]
    assert (closing["number"], closing["exact"]) == (1, False)
    rest = (
        await front.get(f"/api/vault/statement/{address(alice)}?from={closing['slot'] + 1}")
    ).json()
    proven = int(verified(closing["proof"]).balances.total)
    moved = sum(line["change"]["available"] for line in rest["lines"])
    assert proven + moved == statement["closing"]["total"]
