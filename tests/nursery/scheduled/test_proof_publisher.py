"""Proofs are made from what is final, agree with the chain, and are made once."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from dataclasses import fields as fields_of
from dataclasses import replace
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any

import msgspec
import pytest
import trio
from based58 import b58encode
from solders.pubkey import Pubkey

from cvms.chain.program import instructions
from cvms.chain.program.addresses import token_account, vault_address
from cvms.chain.rpc.rpc_client import RpcClient
from cvms.chain.types import Commitment
from cvms.chain.yields.rates import ProtocolName
from cvms.chain.yields.sources import parse_yield_sources
from cvms.errors import ProofInvalid
from cvms.nursery.scheduled.proof_publisher import ProofPublisher
from cvms.nursery.scheduled.reserve_file import ReserveFile
from cvms.nursery.scheduled.reserve_reader import Reading, ReserveReader
from cvms.nursery.wiring.leader_tasks import build_operator_submitter, build_proof_publisher
from cvms.proofs.inclusion import InclusionProof
from cvms.proofs.log_entry import SignedEntry, verify_log
from cvms.proofs.stored_proofs import append_published, prove, signed_entry
from cvms.proofs.verification import Check, Given, Outcome, verify
from cvms.store.index import chain_genesis
from cvms.store.postgres.driver.connection import Connection
from cvms.store.postgres.row_mapping import fetch_value
from cvms.store.proofs import entries, reserves
from cvms.store.proofs.leaves import LeafRow
from cvms.store.security import audit_log
from tests.nursery.indexing.test_indexer import cancelled_after
from tests.nursery.indexing.test_reopened_vaults import deposit, other_mint, withdraw
from tests.nursery.program_steps import earn, pool_of
from tests.nursery.reconciliation.test_reconciler import DAMAGE, two_vaults
from tests.nursery.scheduled.test_auto_compound import LENT, lender
from tests.nursery.scheduled.test_timelock_notices import landed
from tests.nursery.world import World, address, finalize

SOON = timedelta(hours=2)


def publisher(
    world: World, *, interval: timedelta = timedelta(0), rpc: RpcClient | None = None
) -> ProofPublisher:
    sources = parse_yield_sources(f"{ProtocolName.YIELD_POOL}:{pool_of(world)}")
    resources = replace(world.resources, yield_sources=sources, rpc=rpc or world.rpc)
    operator = build_operator_submitter(resources)
    return replace(build_proof_publisher(resources, operator), interval=interval)


async def settled(world: World) -> None:
    """Index everything, and let it be final."""
    await world.indexer().catch_up()
    finalize(world)
    assert await world.indexer().catch_up()
    await world.finalizer().run_once()
    async with world.database.transaction() as conn:
        await chain_genesis.record(conn, await world.rpc.call("getGenesisHash", []))


async def published(world: World) -> SignedEntry:
    await settled(world)
    entry = await publisher(world).run_once()
    assert entry is not None
    return entry


async def outcomes(
    world: World, owner: str, folder: Path, *, rpc: RpcClient | None = None
) -> dict[str, Check]:
    """Return what `cvms verify` says of a proof from the newest entry."""
    async with world.database.snapshot() as conn:
        row = await entries.newest(conn)
        assert row is not None
        proof = await prove(conn, row, owner)
        log = [signed_entry(each) for each in await entries.after(conn, 0, limit=100)]
        (folder / "reserves").write_bytes(b"".join([part async for part in parts(conn, row)]))
    given = Given(
        proof=msgspec.json.encode(proof),
        key=signed_entry(row).key,
        program=str(world.programs.vault),
        mint=str(world.programs.mint),
        logs=[log],
        reserves=folder / "reserves",
        rpc=rpc or world.rpc,
        max_age=SOON,
        report=lambda _: None,
    )
    return {each.name: each async for each in verify(given)}


async def parts(conn: Connection, row: entries.EntryRow) -> AsyncIterator[bytes]:
    number = 0
    while part := await reserves.part_of(conn, row.file, number):
        yield part
        number += 1


async def failed(world: World, owner: str, folder: Path) -> set[str]:
    found = await outcomes(world, owner, folder)
    return {name for name, each in found.items() if each.outcome is not Outcome.OK}


async def test_each_owner_can_verify_what_was_published(world: World, tmp_path: Path) -> None:
    alice, bob = await two_vaults(world)
    carol = await lender(world)
    entry = (await published(world)).read()
    held = {alice: 527, bob: 90, carol: 2 * LENT}
    assert int(entry.liabilities.total) == sum(held.values())
    assert int(entry.liabilities.yield_deposited) == LENT
    assert (int(entry.reserves.pools), int(entry.reserves.unproven)) == (LENT, 0)
    assert int(entry.reserves.tokens) == sum(held.values()) - LENT
    for owner in held:
        found = await outcomes(world, address(owner), tmp_path)
        assert {each.outcome for each in found.values()} == {Outcome.OK}, found
        assert len(found) == 9


async def test_an_entry_follows_the_one_before_and_names_the_trails_head(
    world: World, tmp_path: Path
) -> None:
    alice, _ = await two_vaults(world)
    first = await published(world)
    assert await publisher(world).run_once() is None  # nothing new is final
    async with world.database.transaction() as conn:
        await audit_log.record(conn, actor="a", action="b", owner=None)
    await world.act(alice, world.deposit(alice, 5))
    second = await published(world)
    one, two = first.read(), second.read()
    assert (two.number, two.previous) == (2, first.hash)
    assert two.slot > one.slot
    assert two.audit.id == one.audit.id + 1
    assert int(two.liabilities.total) == int(one.liabilities.total) + 5
    assert await failed(world, address(alice), tmp_path) == set()


async def test_an_entry_is_made_when_it_is_due_or_requested(world: World) -> None:
    alice, _ = await two_vaults(world)
    await published(world)
    await world.act(alice, world.deposit(alice, 5))
    await settled(world)
    hourly = publisher(world, interval=timedelta(hours=1))
    assert await hourly.run_once() is None
    async with world.database.transaction() as conn:
        await entries.request(conn)
    assert await hourly.run_once() is not None
    await world.act(alice, world.deposit(alice, 5))
    await settled(world)
    assert await hourly.run_once() is None  # the request is fulfilled


async def test_what_moves_while_the_reserves_are_read_is_explained(
    world: World, tmp_path: Path
) -> None:
    alice, bob = await two_vaults(world)
    await settled(world)

    class Moving(RpcClient):
        """A node on which something moves just before the vaults are read."""

        moved = False

        async def get_accounts(self, *args: Any, **options: Any) -> Any:
            if not self.moved and options["commitment"] is Commitment.FINALIZED:
                self.moved = True
                await world.act(alice, world.withdraw(alice, 500))
                await settled(world)
            return await super().get_accounts(*args, **options)

    entry = await publisher(world, rpc=Moving(world.rpc._transport)).run_once()
    assert entry is not None
    assert int(entry.read().liabilities.total) == 527 + 90
    assert int(entry.read().reserves.tokens) == 27 + 90
    for owner in (alice, bob):
        assert await failed(world, address(owner), tmp_path) == set()


@pytest.mark.parametrize(
    "damage",
    [
        "UPDATE balance_history SET total = total - 7, available = available - 7 WHERE total = 527",
        "UPDATE balance_history SET total = total + 7, locked = locked + 7 WHERE total = 527",
        DAMAGE["balances are missing"],
    ],
)
async def test_books_that_are_not_the_chains_are_not_published(world: World, damage: str) -> None:
    await two_vaults(world)
    await settled(world)
    await world.execute(damage)
    if damage == DAMAGE["balances are missing"]:
        entry = await publisher(world).run_once()
        assert entry is not None
        assert entry.read().liabilities.vaults == 0
        return
    with pytest.raises(ProofInvalid) as raised:
        await publisher(world).run_once()
    assert raised.value.check == "books"
    async with world.database.connection() as conn:
        assert await entries.newest(conn) is None
        # It is tried again and again: what each attempt has written must not stay.
        assert await fetch_value(conn, "SELECT count(*) FROM proof_reserves", {}) == 0


async def test_tokens_that_are_gone_are_not_covered(world: World) -> None:
    alice, _ = await two_vaults(world)
    await settled(world)
    vault = vault_address(world.programs, alice.pubkey())
    params = [str(vault), str(world.programs.mint), {"amount": 526}]
    await world.rpc.call("surfnet_setTokenAccount", params)
    finalize(world)
    with pytest.raises(ProofInvalid, match="526 tokens for 527") as raised:
        await publisher(world).run_once()
    assert raised.value.check == "not_covered"


async def test_a_vault_that_was_left_out_is_found_on_the_chain(
    world: World, tmp_path: Path
) -> None:
    """A dishonest publisher forgets Bob everywhere; a node does not."""
    alice, bob = await two_vaults(world)
    await settled(world)
    await world.execute("DELETE FROM balance_history WHERE owner = %s", address(bob))
    entry = await publisher(world).run_once()
    assert entry is not None
    assert entry.read().liabilities.vaults == 1
    assert await failed(world, address(alice), tmp_path) == {"left_out"}
    await world.act(bob, world.withdraw(bob, 40))
    finalize(world)
    assert await failed(world, address(alice), tmp_path) == {"left_out"}


async def test_a_vault_that_was_empty_at_the_entrys_slot_is_not_left_out(
    world: World, tmp_path: Path
) -> None:
    """Carol's was open, and got its first tokens later. Dave's had been emptied before.

    Somebody had sent tokens to Erin's account, which are in no vault's balance.
    """
    alice, _ = await two_vaults(world)
    carol, dave, erin = await world.owner(), await world.owner(), await world.owner()
    await world.act(dave, world.deposit(dave, 5))
    await world.act(dave, world.withdraw(dave, 5))
    vault = vault_address(world.programs, erin.pubkey())
    sent = [str(vault), str(world.programs.mint), {"amount": 3}]
    await world.rpc.call("surfnet_setTokenAccount", sent)
    await published(world)
    for owner in (carol, dave, erin):
        await world.act(owner, world.deposit(owner, 5))
    finalize(world)
    found = await outcomes(world, address(alice), tmp_path)
    assert found["left_out"].outcome is Outcome.OK, found["left_out"]


async def test_a_vault_that_lent_all_or_was_emptied_since_is_found_if_it_was_left_out(
    world: World, tmp_path: Path
) -> None:
    """Neither has tokens in its account; the first later event tells what it held."""
    alice, _ = await two_vaults(world)
    lending, emptied = await world.owner(), await world.owner()
    for owner in (lending, emptied):
        await world.act(owner, world.deposit(owner, LENT))
    await earn(world, lending, LENT)
    await settled(world)
    for owner in (lending, emptied):
        await world.execute("DELETE FROM balance_history WHERE owner = %s", address(owner))
    assert await publisher(world).run_once() is not None
    await world.act(emptied, world.withdraw(emptied, LENT))
    finalize(world)
    for owner in (lending, emptied):
        await world.act(owner, world.deposit(owner, 5))
        finalize(world)
        found = await outcomes(world, address(alice), tmp_path)
        assert found["left_out"].outcome is Outcome.FAILED


async def test_a_vault_that_was_of_another_mint_at_the_entrys_slot_fails_no_check(
    world: World, tmp_path: Path
) -> None:
    """Anybody may make worthless tokens, and open a vault for them that is of ours later."""
    alice, _ = await two_vaults(world)
    forger = await world.wallet(1_000)
    other = await other_mint(world, forger)
    await world.act(forger, instructions.initialize_vault(other, forger.pubkey()))
    await world.act(forger, deposit(other, forger, 5))
    await published(world)
    await world.act(forger, withdraw(other, forger, 5))
    await world.act(forger, instructions.close_vault(other, forger.pubkey()))
    await world.act(forger, instructions.initialize_vault(world.programs, forger.pubkey()))
    await world.act(forger, world.deposit(forger, 5))
    finalize(world)
    found = await outcomes(world, address(alice), tmp_path)
    assert found["left_out"].outcome is Outcome.NOT_CHECKED
    assert "opened anew" in found["left_out"].detail


async def test_a_reserve_that_the_chain_did_not_have_is_found(world: World, tmp_path: Path) -> None:
    """The file and the entry agree; the account held something else at that slot."""
    alice, bob = await two_vaults(world)
    await published(world)
    vault = vault_address(world.programs, bob.pubkey())
    held = str(token_account(vault, world.programs.mint))
    found = await outcomes(world, address(alice), tmp_path)
    assert found["reserves"].outcome is Outcome.OK
    await world.act(bob, world.withdraw(bob, 40))
    finalize(world)
    assert await failed(world, address(alice), tmp_path) == set()  # by the account's history

    class Lying(RpcClient):
        async def call(self, method: str, params: Any, **options: Any) -> Any:
            answer = await super().call(method, params, **options)
            if method == "getTransaction" and answer is not None:
                for each in answer["meta"]["postTokenBalances"]:
                    each["uiTokenAmount"]["amount"] = "1"
            return answer

    lying = Lying(world.rpc._transport)
    found = await outcomes(world, address(alice), tmp_path, rpc=lying)
    assert found["reserves"].outcome is Outcome.FAILED
    assert held in found["reserves"].detail


async def test_a_stale_entry_and_one_of_another_block_are_refused(
    world: World, tmp_path: Path
) -> None:
    alice, _ = await two_vaults(world)
    await published(world)

    class Elsewhere(RpcClient):
        async def call(self, method: str, params: Any, **options: Any) -> Any:
            answer = await super().call(method, params, **options)
            return (
                answer | {"blockhash": str(Pubkey.new_unique())} if method == "getBlock" else answer
            )

    found = await outcomes(world, address(alice), tmp_path, rpc=Elsewhere(world.rpc._transport))
    assert found["chain"].outcome is Outcome.FAILED
    await world.rpc.call("surfnet_timeTravel", [{"absoluteTimestamp": 4_000_000_000_000}])
    finalize(world)
    assert "stale" in await failed(world, address(alice), tmp_path)


async def test_balances_corrected_later_give_no_proof_of_another_tree(world: World) -> None:
    alice, _ = await two_vaults(world)
    await published(world)
    await world.execute("UPDATE balance_history SET total = 528, available = 528 WHERE total = 527")
    async with world.database.snapshot() as conn:
        row = await entries.newest(conn)
        assert row is not None
        with pytest.raises(ProofInvalid, match="corrected"):
            await prove(conn, row, address(alice))


async def test_a_vault_that_was_indexed_after_its_entry_gives_no_proof_of_another_tree(
    world: World,
) -> None:
    _, bob = await two_vaults(world)
    await settled(world)
    await world.execute(
        "CREATE TABLE late AS SELECT * FROM balance_history WHERE owner = %s", address(bob)
    )
    await world.execute("DELETE FROM balance_history WHERE owner = %s", address(bob))
    assert await publisher(world).run_once() is not None
    await world.execute("INSERT INTO balance_history SELECT * FROM late")
    await world.execute("DROP TABLE late")
    # Its key may come before all of the tree's keys, or after some of them.
    for digit in ("0", "f"):
        await world.execute(
            "UPDATE proof_keys SET key = decode(repeat(%s, 64), 'hex') WHERE owner = %s",
            digit,
            address(bob),
        )
        async with world.database.snapshot() as conn:
            row = await entries.newest(conn)
            assert row is not None
            with pytest.raises(ProofInvalid, match="corrected"):
                await prove(conn, row, address(bob))


async def test_two_publishers_at_once_make_one_entry(world: World) -> None:
    await two_vaults(world)
    await settled(world)
    made: list[SignedEntry | None] = []

    async def publish() -> None:
        made.append(await publisher(world).run_once())

    async with trio.open_nursery() as together:
        together.start_soon(publish)
        together.start_soon(publish)
    assert len([each for each in made if each is not None]) == 1
    async with world.database.connection() as conn:
        assert len(await entries.page(conn, before=None, limit=10)) == 1


async def test_cancelled_at_any_point_no_entry_is_half_made(world: World, tmp_path: Path) -> None:
    alice, _ = await two_vaults(world)
    await settled(world)
    for step in range(5, 120, 10):
        await cancelled_after(step, partial(publisher(world).run_once))
    await publisher(world).run_once()
    assert await failed(world, address(alice), tmp_path) == set()
    async with world.database.connection() as conn:
        assert len(await entries.page(conn, before=None, limit=10)) == 1


async def test_keys_are_secret_and_stay(world: World) -> None:
    alice, _ = await two_vaults(world)
    await published(world)
    key, proof = await _key_and_proof(world, address(alice))
    assert key.hex() not in msgspec.json.encode(proof).decode()
    await world.act(alice, world.deposit(alice, 5))
    await published(world)
    later, again = await _key_and_proof(world, address(alice))
    assert later == key
    assert again.salt != proof.salt


async def _key_and_proof(world: World, owner: str) -> tuple[bytes, InclusionProof]:
    async with world.database.snapshot() as conn:
        row = await entries.newest(conn)
        assert row is not None
        found = await entries.key_and_shape(conn, row.number, owner)
        proof = await prove(conn, row, owner)
    assert found is not None
    assert proof is not None
    return found[0], proof


async def test_the_hash_of_an_entry_is_written_to_the_chain(world: World) -> None:
    await two_vaults(world)
    await settled(world)
    config = replace(world.resources.config, proof_memo=True)
    made = await publisher(world.with_resources(config=config)).run_once()
    assert made is not None
    async with world.database.connection() as conn:
        row = await entries.newest(conn)
    assert row is not None
    assert row.memo is not None
    assert signed_entry(row).memo == row.memo
    await landed(world)
    options = {"encoding": "json", "maxSupportedTransactionVersion": 0}
    found = await world.rpc.call("getTransaction", [row.memo, options])
    assert found["meta"]["err"] is None
    texts = [each["data"] for each in found["transaction"]["message"]["instructions"]]
    assert b58encode(f"cvms proof 1 {made.hash}".encode()).decode() in texts


async def test_entries_lost_with_a_database_are_added_from_a_copy_of_the_log(world: World) -> None:
    """Otherwise the next entry would have a number that another one was published with."""
    alice, _ = await two_vaults(world)
    made = [await published(world)]
    for _ in range(2):
        await world.act(alice, world.deposit(alice, 5))
        made.append(await published(world))
    await world.execute("DELETE FROM proof_entries WHERE number > 1")
    async with world.database.transaction() as conn:
        with pytest.raises(ProofInvalid, match="does not have entry 1"):
            await append_published(conn, made[1:])
        assert await append_published(conn, made) == 2
        assert await append_published(conn, made) == 0
    await world.act(alice, world.deposit(alice, 5))
    verify_log([*made, await published(world)])
    async with world.database.snapshot() as conn:
        [row, *_] = await entries.after(conn, 1, limit=1)
        with pytest.raises(ProofInvalid, match="lost with a database"):
            await prove(conn, row, address(alice))


async def test_a_new_database_takes_only_a_whole_copy_of_the_log(world: World) -> None:
    alice, _ = await two_vaults(world)
    made = [await published(world)]
    await world.act(alice, world.deposit(alice, 5))
    made.append(await published(world))
    await world.execute("DELETE FROM proof_entries")
    async with world.database.transaction() as conn:
        with pytest.raises(ProofInvalid, match="begins with entry 2"):
            await append_published(conn, made[1:])
        assert await append_published(conn, made) == 2


async def test_no_entry_is_made_that_does_not_follow_from_the_one_before(world: World) -> None:
    """A restored database's trail is shorter than an entry says that was added from a copy."""
    alice, _ = await two_vaults(world)
    async with world.database.transaction() as conn:
        await audit_log.record(conn, actor="a", action="b", owner=None)
    made = [await published(world)]
    await world.execute("UPDATE audit_head SET id = id - 1")
    await world.act(alice, world.deposit(alice, 5))
    await settled(world)
    with pytest.raises(ProofInvalid, match="the audit trail of entry 2 is shorter"):
        await publisher(world).run_once()
    await world.execute("UPDATE audit_head SET id = id + 1")
    entry = await publisher(world).run_once()
    assert entry is not None
    verify_log([*made, entry])


async def test_a_balance_that_vanishes_from_its_line_is_found_by_a_node(
    world: World, tmp_path: Path
) -> None:
    """A publisher hides what is missing: the vault is said to have been emptied just now."""
    alice, bob = await two_vaults(world)
    vault = vault_address(world.programs, bob.pubkey())
    params = [str(vault), str(world.programs.mint), {"amount": 0}]
    await world.rpc.call("surfnet_setTokenAccount", params)
    await settled(world)

    class Hiding(ReserveReader):
        async def read_vaults(self, rows: Sequence[LeafRow]) -> list[Reading]:
            found = await super().read_vaults(rows)
            return [
                Reading(msgspec.structs.replace(each.line, total="0"), row.balances)
                if row.owner == address(bob)
                else each
                for row, each in zip(rows, found, strict=True)
            ]

    class Dishonest(ProofPublisher):
        def _file(self, slot: int) -> ReserveFile:
            honest = super()._file(slot)
            fields = {each.name: getattr(honest.reader, each.name) for each in fields_of(Hiding)}
            return replace(honest, reader=Hiding(**fields))

    honest = publisher(world)
    fields = {each.name: getattr(honest, each.name) for each in fields_of(ProofPublisher)}
    assert await Dishonest(**fields).run_once() is not None
    assert await failed(world, address(alice), tmp_path) == {"not_covered"}
