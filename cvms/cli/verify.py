"""`cvms verify`: checks of a proof of reserves that need neither the service nor its database."""

from __future__ import annotations

import argparse
import sys
import tempfile
from contextlib import AsyncExitStack
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import trio
from solders.pubkey import Pubkey

from cvms.cli.arguments import Commands, add_command, number, parsed
from cvms.cli.proof_files import MAX_LOG_BYTES, check_regular, read_file, read_log
from cvms.config import parsers
from cvms.errors import ConfigurationError, ProofInvalid
from cvms.secret_urls import host_of

if TYPE_CHECKING:
    from cvms.proofs.verification import Check

HELP = """\
Check a proof of reserves: that a vault's balances are in the sum that the service has signed, that
the log of these sums was neither changed nor forked, and that the vaults' tokens were there. It
reads the files that are given, and any node of the chain. Nothing of the service is trusted, and
no settings are needed. docs/proofs.md says what each check means.

PROOF is the reply of GET /api/proofs/latest/{owner}. Take --key, --program and --mint from a place
that the service does not control. --service fetches the log and the file of reserves, where they
are not given. Keep copies of the log: two that differ prove a fork.

Exit status: 0 if no check failed and, with --strict, none was left out; 1 if one failed or, with
--strict, was left out; 2 for a bad argument.
"""

MAX_PROOF_BYTES = 1 << 20
MAX_RESERVES_BYTES = 1 << 34
REQUEST_SECONDS = 30.0
"""For the service to begin, and between two parts of its reply."""
FETCH_SECONDS = 900.0
"""For a whole reply, which a service stops after 600."""
RPC_SECONDS = 30.0
PROGRESS_EVERY = 10_000


def add_commands(commands: Commands) -> None:
    verify = add_command(commands, "verify", "check a proof of reserves", HELP)
    url = parsed(parsers.url("http", "https"), "an http or https URL")
    address = parsed(lambda text: str(Pubkey.from_string(text)), "an address")
    verify.add_argument("proof", type=Path, metavar="PROOF", help="the file with the proof")
    verify.add_argument("--rpc", type=url, metavar="URL", help="any node of the chain")
    verify.add_argument("--service", type=url, metavar="URL", help="where the rest is fetched from")
    verify.add_argument("--key", type=address, help="the published key that signs the entries")
    verify.add_argument("--program", type=address, help="the vault program")
    verify.add_argument("--mint", type=address, help="the token's mint")
    verify.add_argument(
        "--log", type=Path, action="append", default=[], metavar="FILE", help="a copy of the log"
    )
    verify.add_argument("--reserves", type=Path, metavar="FILE", help="the file of reserves")
    verify.add_argument(
        "--max-age",
        type=number(float, lambda minutes: minutes > 0, "a number of minutes above 0"),
        default=120.0,
        metavar="MINUTES",
        help="how old the entry may be (%(default)g)",
    )
    verify.add_argument("--strict", action="store_true", help="fail for what is left out, too")
    verify.set_defaults(run=cmd_verify)


def cmd_verify(options: argparse.Namespace) -> int:
    from cvms.proofs.verification import Outcome  # noqa: PLC0415

    checks = trio.run(_verify, options)
    for check in checks:
        print(f"{check.outcome:<12} {check.name:<16} {check.detail}")
    outcomes = {check.outcome for check in checks}
    failing = {Outcome.FAILED} | ({Outcome.NOT_CHECKED} if options.strict else set())
    return 1 if outcomes & failing else 0


async def _verify(options: argparse.Namespace) -> list[Check]:
    from cvms.chain.rpc.rpc_client import open_rpc  # noqa: PLC0415
    from cvms.proofs.verification import Given, verify  # noqa: PLC0415

    async with AsyncExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        proof = read_file(options.proof, MAX_PROOF_BYTES)
        logs, reserves = list(options.log), options.reserves
        if reserves is not None:
            check_regular(reserves)
        if options.service is not None:
            if not logs:
                logs = [await _fetch(options.service, "log", folder, MAX_LOG_BYTES)]
            if reserves is None and (slot := _slot(proof)) is not None:
                path = f"{slot}/reserves"
                reserves = await _fetch(options.service, path, folder, MAX_RESERVES_BYTES)
        rpc = None
        if options.rpc is not None:
            rpc = await stack.enter_async_context(open_rpc([options.rpc], timeout=RPC_SECONDS))
        given = Given(
            proof=proof,
            key=options.key,
            program=options.program,
            mint=options.mint,
            logs=[read_log(each) for each in logs],
            reserves=reserves,
            rpc=rpc,
            max_age=timedelta(minutes=options.max_age),
            report=_report,
        )
        return [each async for each in verify(given)]


def _slot(proof: bytes) -> int | None:
    """Return the slot of a proof's entry; None if the proof is not valid, as a check will say."""
    from cvms.proofs.inclusion import PROOF  # noqa: PLC0415
    from cvms.proofs.log_entry import decoded  # noqa: PLC0415

    try:
        return decoded(proof, PROOF, check="proof").entry.read().slot
    except ProofInvalid:
        return None


async def _fetch(service: str, path: str, folder: Path, limit: int) -> Path:
    """Save what the service has at a path of /api/proofs. Raises ConfigurationError."""
    import httpx  # noqa: PLC0415

    url = f"{service.rstrip('/')}/api/proofs/{path}"
    file = folder / path.replace("/", "-")
    try:
        with trio.fail_after(FETCH_SECONDS):
            await _save(url, file, limit)
    except trio.TooSlowError:
        problem = f"did not end its reply within {FETCH_SECONDS:g} s"
    except (httpx.HTTPError, httpx.InvalidURL, UnicodeError) as error:
        problem = str(error) or type(error).__name__
    except OSError as error:
        problem = f"its reply cannot be saved: {error.strerror}"
    except ConfigurationError as error:
        problem = str(error)
    else:
        return file
    raise ConfigurationError(f"{host_of(service)}: /api/proofs/{path}: {problem}")


async def _save(url: str, file: Path, limit: int) -> None:
    import httpx  # noqa: PLC0415

    size = 0
    async with (
        httpx.AsyncClient(timeout=REQUEST_SECONDS) as client,
        client.stream("GET", url) as reply,
        await trio.open_file(file, "wb") as saved,
    ):
        if reply.status_code != httpx.codes.OK:
            raise ConfigurationError(f"replied with status {reply.status_code}")
        async for data in reply.aiter_bytes():
            size += len(data)
            if size > limit:
                raise ConfigurationError(f"has more than {limit} bytes")
            await saved.write(data)


def _report(checked: int) -> None:
    if checked % PROGRESS_EVERY == 0:
        print(f"{checked} accounts checked", file=sys.stderr)
