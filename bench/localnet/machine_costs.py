"""What a sent transaction costs in solders alone: its signature, and LiteSVM's run."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

from solders.transaction import VersionedTransaction

from bench.localnet.serve_chain import fill
from cvms.localnet.ledger.sqlite_ledger import Ledger
from cvms.localnet.serve import open_chain
from cvms.localnet.types import Timing
from cvms.localnet.vm.message import is_signed


def machine_costs(transactions: Sequence[VersionedTransaction]) -> tuple[float, float]:
    """Return the CPU microseconds for the signature of a transaction, and for its run."""
    ledger = Ledger(None)
    chain = open_chain(ledger, programs=(), timing=Timing())
    fill(chain)
    assert chain.vm.execute(transactions[0]).err is None
    costs = _each(is_signed, transactions), _each(chain.vm.execute, transactions)
    ledger.close()
    return costs


def _each(
    act: Callable[[VersionedTransaction], object], given: Sequence[VersionedTransaction]
) -> float:
    before = time.process_time()
    for transaction in given:
        act(transaction)
    return (time.process_time() - before) / len(given) * 1e6
