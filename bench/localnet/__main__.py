"""Reads and sends that the local chain answers on one core, beside a server that only echoes.

    .venv/bin/python -m bench.localnet [--seconds 4] [--json FILE]

The chain, with its ledger on disk and its clock running, and the baseline (trio, httptools and
msgspec) are processes of their own; this one makes the load over keep-alive connections. The
transactions are signed before and all of them execute; those count that landed without an error.
Last it shows what solders alone takes of a send, which nothing here can save.
It ends after 40 seconds. The exit code is 1 if any request failed or a goal is not met.
"""

from __future__ import annotations

import argparse
import base64
import itertools
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
from solders.hash import Hash
from solders.instruction import Instruction
from solders.keypair import Keypair
from solders.message import MessageV0
from solders.system_program import TransferParams, transfer
from solders.transaction import VersionedTransaction
from spl.token.constants import TOKEN_PROGRAM_ID
from spl.token.instructions import transfer as transfer_tokens
from spl.token.models import TransferParams as TokenTransferParams

from bench.localnet.closed_loop import Answers, load, post
from bench.localnet.machine_costs import machine_costs
from bench.localnet.serve_chain import OWNERS, holding

LONGEST_SECONDS = 40
MOST_SENDS = 7_000
"""Each second: more than the chain can run."""

WANTED_READS, WANTED_SENDS = 8_000, 4_000
STATUSES = 256


@dataclass(frozen=True, slots=True)
class Server:
    """A server in a process of its own."""

    port: int
    process: psutil.Process

    def cpu_seconds(self) -> float:
        times = self.process.cpu_times()
        return float(times.user + times.system)

    def call(self, method: str, *params: Any) -> Any:
        answers = load(self.port, iter([request(method, *params)]), seconds=5, keep=True)
        return json.loads(answers.bodies[0])["result"]


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the table."""

    what: str
    count: int
    rate: float
    cpu_microseconds: float
    """The server's own, user and system, for each request."""
    failures: int
    wanted: int | None = None


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--seconds", type=float, default=4.0)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    signal.alarm(LONGEST_SECONDS)
    print(f"load of the machine {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores")
    print("| | requests | a second | to the baseline | server's CPU µs each | failed |")
    print("|---|---|---|---|---|---|")
    rows = measure(options.seconds)
    costs = solders_costs()
    for what, microseconds in costs.items():
        print(f"| {what} | | | | {microseconds:.0f} | |")
    if options.json is not None:
        options.json.write_text(json.dumps(report(rows, costs)))
    met = all(row.failures == 0 and row.rate >= (row.wanted or 0) for row in rows)
    sys.exit(0 if met else 1)


def measure(seconds: float) -> list[Row]:
    rows: list[Row] = []

    def show(row: Row) -> None:
        rows.append(row)
        share = row.rate / rows[0].rate
        print(
            f"| {row.what} | {row.count} | {row.rate:.0f} | {share:.2f} "
            f"| {row.cpu_microseconds:.0f} | {row.failures} |",
            flush=True,
        )

    with start("serve_echo") as echo:
        show(read("baseline: echo", echo, account_reads(), seconds / 2))
    with start("serve_chain") as chain:
        read("warm-up", chain, account_reads(), 0.5)
        show(read("getAccountInfo", chain, account_reads(), seconds, wanted=WANTED_READS))
        for what, step, wanted, skip_preflight in (
            ("sendTransaction, lamports", send_lamports, WANTED_SENDS, True),
            ("sendTransaction, tokens", send_tokens, None, True),
            ("sendTransaction, lamports, with preflight", send_lamports, None, False),
        ):
            show(send(what, chain, step, seconds, wanted, skip_preflight=skip_preflight))
    return rows


def solders_costs() -> dict[str, float]:
    costs: dict[str, float] = {}
    for what, step in (("lamports", send_lamports), ("tokens", send_tokens)):
        signature, run = machine_costs(_sign(step, Hash.default(), 1000))
        costs.setdefault("of it, solders: a signature", signature)
        costs[f"of it, LiteSVM: a transfer of {what}"] = run
    return costs


def report(rows: Sequence[Row], costs: Mapping[str, float]) -> dict[str, Any]:
    first = rows[0]
    found = [line(row.what, row.rate, "requests/s", baseline=first.rate) for row in rows] + [
        line(what, cost, "CPU µs", baseline=first.cpu_microseconds) for what, cost in costs.items()
    ]
    return {"name": "localnet", "rows": found}


def line(what: str, value: float, unit: str, *, baseline: float) -> dict[str, Any]:
    ratio = value / baseline
    return {"what": what, "value": value, "unit": unit, "baseline": baseline, "ratio": ratio}


# --- reads ---------------------------------------------------------------------------------------


def request(method: str, *params: Any) -> bytes:
    call = {"jsonrpc": "2.0", "id": 1, "method": method, "params": params}
    return post(json.dumps(call, separators=(",", ":")).encode())


def account_reads() -> Iterator[bytes]:
    keys = [str(key) for owner in OWNERS for key in (owner.pubkey(), holding(owner))]
    config = {"encoding": "base64", "commitment": "confirmed"}
    return itertools.cycle([request("getAccountInfo", key, config) for key in keys])


def read(
    what: str,
    server: Server,
    requests: Iterator[bytes],
    seconds: float,
    *,
    wanted: int | None = None,
) -> Row:
    answers, cpu = _load(server, requests, seconds)
    return Row(what, answers.count, answers.rate, cpu, answers.failures, wanted)


def _load(server: Server, requests: Iterator[bytes], seconds: float) -> tuple[Answers, float]:
    """Return the answers, and the server's CPU microseconds for each."""
    before = server.cpu_seconds()
    answers = load(server.port, requests, seconds=seconds)
    return answers, (server.cpu_seconds() - before) / answers.count * 1e6


# --- sends ---------------------------------------------------------------------------------------

numbers = itertools.count(1)
"""Amounts, so that no two transactions are equal."""


def send_lamports(payer: Keypair, payee: Keypair) -> Instruction:
    return transfer(
        TransferParams(from_pubkey=payer.pubkey(), to_pubkey=payee.pubkey(), lamports=next(numbers))
    )


def send_tokens(payer: Keypair, payee: Keypair) -> Instruction:
    return transfer_tokens(
        TokenTransferParams(
            program_id=TOKEN_PROGRAM_ID,
            source=holding(payer),
            dest=holding(payee),
            owner=payer.pubkey(),
            amount=next(numbers),
        )
    )


def send(
    what: str,
    server: Server,
    step: Callable[[Keypair, Keypair], Instruction],
    seconds: float,
    wanted: int | None,
    *,
    skip_preflight: bool,
) -> Row:
    """Send transactions with one signature, and count those that landed without an error."""
    latest = server.call("getLatestBlockhash", {"commitment": "confirmed"})
    signed = _sign(step, Hash.from_string(latest["value"]["blockhash"]), int(seconds * MOST_SENDS))
    config = {
        "encoding": "base64",
        "skipPreflight": skip_preflight,
        "preflightCommitment": "processed",
    }
    requests = [
        request("sendTransaction", base64.b64encode(bytes(each)).decode(), config)
        for each in signed
    ]
    answers, cpu = _load(server, iter(requests), seconds)
    landed = _landed(server, [str(each.signatures[0]) for each in signed[: answers.count]])
    lost = answers.count - landed
    return Row(what, landed, landed / answers.seconds, cpu, answers.failures + lost, wanted)


def _sign(
    step: Callable[[Keypair, Keypair], Instruction], blockhash: Hash, count: int
) -> list[VersionedTransaction]:
    pairs = itertools.cycle(zip(OWNERS, [*OWNERS[1:], OWNERS[0]], strict=True))
    return [
        VersionedTransaction(
            MessageV0.try_compile(payer.pubkey(), [step(payer, payee)], [], blockhash), [payer]
        )
        for payer, payee in itertools.islice(pairs, count)
    ]


def _landed(server: Server, signatures: Sequence[str]) -> int:
    landed = 0
    for first in range(0, len(signatures), STATUSES):
        statuses = server.call("getSignatureStatuses", signatures[first : first + STATUSES])
        landed += sum(each is not None and each["err"] is None for each in statuses["value"])
    return landed


@contextmanager
def start(module: str) -> Iterator[Server]:
    """Start a module of this package, which prints its port."""
    command = [sys.executable, "-m", f"bench.localnet.{module}"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stdin=subprocess.PIPE) as done:
        assert done.stdout is not None
        assert done.stdin is not None
        try:
            yield Server(int(done.stdout.readline()), psutil.Process(done.pid))
        finally:
            done.stdin.close()  # it stops when nobody holds it any more


if __name__ == "__main__":
    main()
