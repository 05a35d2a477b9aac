"""`cvms demo`: what a vault can do, step by step, as a stranger's client would do it.

Speaks to the service through `cvms.client`, and to the chain through its RPC. The service may end
and come back between two steps: Alice's events go on where they were.
"""

from __future__ import annotations

import sys
from collections.abc import Awaitable, Callable

import httpx
import trio

from cvms.client import ClientError, ServiceUnavailable
from cvms.demo import multisig_steps, position_steps, timelock_steps, transfer_steps, yield_steps
from cvms.demo.chain_client import Addresses, DemoFailed
from cvms.demo.context import DemoStep, open_context

STEP_DEADLINE = 60.0

STEPS: tuple[DemoStep, ...] = (
    *transfer_steps.STEPS,
    *position_steps.STEPS,
    *timelock_steps.STEPS,
    *multisig_steps.STEPS,
    *yield_steps.STEPS,
)


async def run_demo(
    at: Addresses,
    *,
    between: Callable[[], Awaitable[None]] | None = None,
    say: Callable[[str], None] = print,
) -> None:
    """Run every step, printing each; `between` is awaited after each one.

    Raises DemoFailed, naming what was seen and what was expected, and what the client raises.
    """
    async with open_context(at, say) as stage:
        for number, step in enumerate(STEPS, 1):
            say(f"{number}. {step.__doc__}")
            with trio.fail_after(STEP_DEADLINE):
                await step(stage)
            if between is not None:
                await between()
        say("Everything is as it should be.")


def demo_command(at: Addresses) -> int:
    """Run the demo and say in one line what failed, if anything did; returns the exit status."""
    try:
        trio.run(run_demo, at)
    except (httpx.TransportError, ServiceUnavailable) as error:
        print(f"cvms demo: {at.url} or {at.rpc_url} does not answer ({error}).", file=sys.stderr)
        print("Start them with `make dev`, or name them with --url and --rpc-url.", file=sys.stderr)
    except (DemoFailed, ClientError) as failure:
        print(f"cvms demo: {failure}", file=sys.stderr)
    except trio.TooSlowError:
        print(f"cvms demo: a step took longer than {STEP_DEADLINE:.0f} s.", file=sys.stderr)
    else:
        return 0
    return 1
