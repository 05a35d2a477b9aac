"""`cvms demo`: the features of a vault, step by step.

It uses the service through `cvms.client`, and the chain through its RPC. The service may restart
between two steps: Alice's stream of events continues.
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
    """Run and print every step, and await `between` after each.

    Raises DemoFailed, and the client's errors.
    """
    async with open_context(at, say) as demo:
        for number, step in enumerate(STEPS, 1):
            say(f"{number}. {step.__doc__}")
            with trio.fail_after(STEP_DEADLINE):
                await step(demo)
            if between is not None:
                await between()
        say("Everything is as it should be.")


def demo_command(at: Addresses) -> int:
    """Run the demo, print what failed, and return the exit status."""
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
