"""`cvms bootstrap`: the plan with its cost, the question, and the steps."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import trio
from solders.keypair import Keypair

from cvms.bootstrap.cluster import Cluster, open_cluster
from cvms.bootstrap.deployment import DeploymentPlan, Keys, Request, read_keys
from cvms.bootstrap.env_file import Ask
from cvms.bootstrap.key_files import KeyFile, locked
from cvms.bootstrap.steps import (
    Report,
    Step,
    ask_first,
    describe,
    describe_cost,
    run_steps,
    sol,
    total_cost,
)
from cvms.bootstrap.transactions import TransactionSender
from cvms.chain.rpc.rpc_client import open_rpc
from cvms.chain.transactions.priority_fees import PriorityFees
from cvms.chain.types import Programs
from cvms.errors import ChainUnavailable, ConfigurationError, RpcError, StepFailed
from cvms.metrics import Metrics

RPC_TIMEOUT = 20.0
AIRDROP_SPARE = 1_000_000_000
"""Lamports that an airdrop brings beyond the cost, for the operator's first fees."""


@dataclass(frozen=True, slots=True)
class Terminal:
    """The person at a command: `confirm` is asked before it spends, `ask` in between.

    `read` returns a typed line, empty at the end of the input.
    """

    report: Report
    confirm: Callable[[], bool]
    ask: Ask
    read: Callable[[str], str]


@dataclass(frozen=True, slots=True)
class Pace:
    """The highest price of a compute unit that a command pays, and the times of its sender."""

    max_price: int = 100_000
    poll_seconds: float = 0.4
    resend_seconds: float = 2.0
    patience: float = 180.0


@asynccontextmanager
async def connected(urls: Sequence[str]) -> AsyncIterator[Cluster]:
    """Connect to a cluster. Raises ConfigurationError for URLs that are none.

    Raises StepFailed for what the endpoints raise meanwhile.
    """
    async with open_rpc(urls, timeout=RPC_TIMEOUT) as rpc:
        try:
            await rpc.probe()  # which finds endpoints of another cluster
            yield await open_cluster(rpc)
        except (ChainUnavailable, RpcError) as error:
            raise StepFailed(
                f"{error}; check the endpoint (--rpc-url or SOLANA_RPC_URL), and run the command "
                "again, which goes on from here"
            ) from None


def sender_for(
    cluster: Cluster, payer: Keypair, programs: Programs, pace: Pace
) -> TransactionSender:
    """Return a sender of transactions that `payer` pays."""
    return TransactionSender(
        cluster.rpc,
        payer,
        PriorityFees(cluster.rpc, Metrics()),
        programs,
        pace.max_price,
        pace.poll_seconds,
        pace.resend_seconds,
        pace.patience,
    )


async def bootstrap(
    cluster: Cluster,
    request: Request,
    terminal: Terminal,
    *,
    dry_run: bool = False,
    airdrop: bool = False,
    pace: Pace = Pace(),
) -> None:
    """Show every step and its cost and, unless it is a dry run, ask and do them.

    Raises StepFailed, ConfigurationError, or what the endpoints raise. A later run goes on.
    """
    if cluster.is_mainnet and (request.make_mint or airdrop):
        flag = "--make-mint" if request.make_mint else "--airdrop"
        raise ConfigurationError(f"{flag} is for test clusters; this is mainnet-beta")
    keys = await read_keys(request, cluster)
    plan = DeploymentPlan(
        cluster,
        request,
        keys,
        lambda programs: sender_for(cluster, keys.payer.key, programs, pace),
        terminal.report,
        terminal.ask,
    )
    keys_step, *others = await plan.steps()
    balance = await cluster.rpc.get_balance(keys.payer.address)
    funding = Funding(cluster, keys.payer, airdrop=airdrop, pace=pace)
    steps = [keys_step, await funding.step(total_cost(others).total, balance), *others]
    shown = _without_new_keys(describe(steps), keys)
    await carry_out(cluster, steps, shown, balance, terminal, folder=request.keys, dry_run=dry_run)


async def carry_out(
    cluster: Cluster,
    steps: Sequence[Step],
    shown: Sequence[str],
    balance: int,
    terminal: Terminal,
    *,
    folder: Path,
    dry_run: bool,
) -> None:
    """Show steps and their cost and, unless it is a dry run, ask and do them.

    `folder` has the keys, which no other command may use meanwhile.
    """
    terminal.report(f"Cluster {cluster.name}, genesis {cluster.genesis}\n")
    for line in shown:
        terminal.report(line)
    if not any(step.actions for step in steps):
        terminal.report("\nNothing to do.")
        return
    terminal.report(f"\n{describe_cost(steps)}. The payer has {sol(balance)}.")
    if dry_run:
        return
    if not terminal.confirm():
        raise StepFailed("nothing was done")
    await _check_cluster(cluster)
    ask_first(steps)
    with locked(folder):
        await run_steps(steps, terminal.report)
    terminal.report("Done.")


async def _check_cluster(cluster: Cluster) -> None:
    """Raise StepFailed if the endpoints serve another cluster than the one that was shown."""
    genesis = (await open_cluster(cluster.rpc)).genesis
    if genesis != cluster.genesis:
        raise StepFailed(
            f"the endpoints serve another cluster now, with genesis {genesis}, so nothing was "
            "done; name endpoints of one cluster with --rpc-url"
        )


@dataclass(frozen=True, slots=True)
class Funding:
    """The payer's balance, and an airdrop where it is too low and one is asked for."""

    cluster: Cluster
    payer: KeyFile
    airdrop: bool
    pace: Pace

    async def step(self, cost: int, balance: int) -> Step:
        """Return the step after which the payer has what the others cost, or which fails."""
        # An account keeps the rent of its own bytes, or nothing.
        missing = cost + await self.cluster.rent(0) - balance if cost else 0

        async def run() -> None:
            if self.airdrop:
                await self._request(missing + AIRDROP_SPARE)
                return
            raise StepFailed(
                f"the payer {self.payer.address} ({self.payer.path}) lacks {sol(missing)}; send it "
                "that much and some for the service's fees, and run the command again"
            )

        state = f"{self.payer.address} ({self.payer.path}), {sol(balance)}"
        if missing <= 0:
            return Step("payer", state)
        action = f"get {sol(missing)} and some more from the faucet"
        if not self.airdrop:
            action = f"stop here until it has {sol(missing)} more"
        return Step("payer", state, (action,), run=run)

    async def _request(self, lamports: int) -> None:
        rpc, address = self.cluster.rpc, self.payer.address
        before = await rpc.get_balance(address)
        try:
            await rpc.call("requestAirdrop", [str(address), lamports])
        except RpcError as error:
            raise StepFailed(
                f"the faucet gives nothing ({error}); send SOL to {address} by other means"
            ) from None
        with trio.move_on_after(self.pace.patience):
            while True:
                if await rpc.get_balance(address) > before:
                    return
                await trio.sleep(self.pace.poll_seconds)
        raise StepFailed(f"the airdrop to {address} has not arrived; run the command again")


def _without_new_keys(lines: Sequence[str], keys: Keys) -> list[str]:
    """Name new keys by their files: what a dry run makes up is gone with it."""
    text = "\n".join(lines)
    for each in keys.files:
        if each.is_new:
            text = text.replace(str(each.address), f"(new key {each.path.name})")
    return text.split("\n")
