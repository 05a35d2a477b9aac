"""Checks of the operators' webhook: a connection is opened, and nothing is sent."""

from __future__ import annotations

import ssl
from collections.abc import Awaitable, Callable, Sequence

import trio

from cvms.checks.finding import Finding, failure, ok
from cvms.config.webhook_url import WebhookTarget, target_of

CONNECT_SECONDS = 5.0
Connect = Callable[[WebhookTarget, bool], Awaitable[None]]
"""Opens a connection, to private addresses too if the flag says so, and closes it. Raises OSError,
ssl.SSLError, trio.BrokenResourceError, or ValueError if the address must not be used."""


async def webhook_findings(
    webhooks: Sequence[tuple[str, bytes]], *, private: bool, connect: Connect
) -> list[Finding]:
    """Check the webhooks' URLs, and connect to their hosts."""
    if not webhooks:
        return [ok("webhook_reachable", "none is configured")]
    return [await _finding(url, private=private, connect=connect) for url, _ in webhooks]


async def _finding(url: str, *, private: bool, connect: Connect) -> Finding:
    advice = "check ALERT_WEBHOOK_URL, its certificate and the network: alerts reach nobody"
    try:
        target = target_of(url, private=private)
    except ValueError as error:
        return failure("webhook_reachable", str(error), advice)
    reason = f"no connection within {CONNECT_SECONDS:g} s"
    with trio.move_on_after(CONNECT_SECONDS):
        try:
            await connect(target, private)
        except ValueError as error:
            reason = str(error)
        except (OSError, ssl.SSLError, trio.BrokenResourceError) as error:
            reason = type(error).__name__
        else:
            return ok("webhook_reachable", "connects", subject=target.authority)
    return failure("webhook_reachable", reason, advice, subject=target.authority)
