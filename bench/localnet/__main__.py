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
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
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
from bench.report import Report, Row, add_arguments, finish, machine, row

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
class Measured:
    """The rate and the CPU time of one kind of request."""

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
    add_arguments(parser)
    options = parser.parse_args()
    signal.alarm(LONGEST_SECONDS)
    print(machine())
    measured = measure(options.seconds)
    finish(Report("localnet", tuple(rows(measured, solders_costs()))), options.json)
    for each in measured:
        if each.failures:
            print(f"{each.what}: {each.failures} of {each.count} failed")
    good = all(each.failures == 0 and each.rate >= (each.wanted or 0) for each in measured)
    sys.exit(0 if good else 1)


def measure(seconds: float) -> list[Measured]:
    with start("serve_echo") as echo:
        baseline = read("baseline: echo", echo, account_reads(), seconds / 2)
    with start("serve_chain") as chain:
        read("warm-up", chain, account_reads(), 0.5)
        return [
            baseline,
            read("getAccountInfo", chain, account_reads(), seconds, wanted=WANTED_READS),
            *(
                send(what, chain, step, seconds, wanted, skip_preflight=skip_preflight)
                for what, step, wanted, skip_preflight in (
                    ("sendTransaction, lamports", send_lamports, WANTED_SENDS, True),
                    ("sendTransaction, tokens", send_tokens, None, True),
                    ("sendTransaction, lamports, with preflight", send_lamports, None, False),
                )
            ),
        ]


def rows(measured: Sequence[Measured], costs: Mapping[str, float]) -> Iterator[Row]:
    first, *others = measured
    yield row(first.what, first.rate, "requests/s")
    yield row(f"{first.what}: CPU", first.cpu_microseconds, "µs")
    for each in others:
        yield row(each.what, each.rate, "requests/s", first.rate)
        yield row(f"{each.what}: CPU", each.cpu_microseconds, "µs", first.cpu_microseconds)
    for what, microseconds in costs.items():
        yield row(what, microseconds, "µs")


def solders_costs() -> dict[str, float]:
    costs: dict[str, float] = {}
    for what, step in (("lamports", send_lamports), ("tokens", send_tokens)):
        signature, run = machine_costs(_sign(step, Hash.default(), 1000))
        costs.setdefault("of it, solders: a signature", signature)
        costs[f"of it, LiteSVM: a transfer of {what}"] = run
    return costs


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
) -> Measured:
    answers, cpu = _load(server, requests, seconds)
    return Measured(what, answers.count, answers.rate, cpu, answers.failures, wanted)


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
) -> Measured:
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
    return Measured(what, landed, landed / answers.seconds, cpu, answers.failures + lost, wanted)


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
