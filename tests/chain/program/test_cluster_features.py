"""Features of a cluster, read from their accounts: recorded answers, and the local chain's."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import pytest
import trio
from solders.pubkey import Pubkey

from cvms.chain.program.cluster_features import (
    FEATURE_PROGRAM,
    REQUIRED_FEATURES,
    activation_slot,
    missing_features,
)
from cvms.chain.rpc.rpc_client import open_rpc
from cvms.chain.types import Account, Commitment, Lamports
from cvms.errors import DecodeError
from cvms.localnet import Running, serve
from tests.paths import DOCS, PROGRAMS

SYSTEM = Pubkey.default()
ACTIVE_SINCE_GENESIS = bytes([1]) + bytes(8)
"""As a `solana-test-validator` 4.2.2 answers for a feature that it activates at its start."""
PENDING = bytes(9)


def account(data: bytes, owner: Pubkey = FEATURE_PROGRAM) -> Account:
    return Account(Lamports(953_520), owner, data, executable=False)


def test_an_active_feature_has_the_slot_of_its_activation() -> None:
    data = bytes([1]) + (428_976_000).to_bytes(8, "little")
    assert activation_slot(account(data)) == 428_976_000
    assert activation_slot(account(ACTIVE_SINCE_GENESIS)) == 0


@pytest.mark.parametrize("absent", [None, account(b"", SYSTEM), account(PENDING)])
def test_a_feature_that_is_absent_or_pending_is_missing(absent: Account | None) -> None:
    assert activation_slot(absent) is None
    assert missing_features([absent]) == REQUIRED_FEATURES


@pytest.mark.parametrize("data", [b"", bytes(8), bytes(10), b"\2" + bytes(8)])
def test_other_data_are_refused(data: bytes) -> None:
    with pytest.raises(DecodeError):
        activation_slot(account(data))


def test_an_account_of_another_program_is_refused() -> None:
    with pytest.raises(DecodeError, match="belongs to"):
        activation_slot(account(ACTIVE_SINCE_GENESIS, Pubkey([7] * 32)))


async def test_the_local_chain_has_every_required_feature(nursery: trio.Nursery) -> None:
    addresses = [feature.address for feature in REQUIRED_FEATURES]
    chain: Running = await nursery.start(partial(serve, port=0, ledger=None))
    async with open_rpc([chain.rpc_url]) as rpc:
        found = await rpc.get_accounts(addresses, commitment=Commitment.CONFIRMED)
    assert missing_features(found.accounts) == ()


def test_the_document_names_every_required_feature() -> None:
    document = (DOCS / "programs.md").read_text()
    for feature in REQUIRED_FEATURES:
        for part in (str(feature.address), feature.name, *feature.proposals):
            assert part in document


@pytest.mark.parametrize("elf", sorted(PROGRAMS.glob("*.so")), ids=lambda path: path.stem)
def test_the_programs_are_of_the_version_that_the_feature_enables(elf: Path) -> None:
    flags = elf.read_bytes()[0x30:0x34]
    assert int.from_bytes(flags, "little") == 3
