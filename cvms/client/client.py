"""The client: a method for every route that a wallet signs for."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

import httpx

from cvms.client.guard_requests import GuardClient
from cvms.client.retrying_http import PATIENCE_SECONDS
from cvms.client.schemas import (
    CoSign,
    Outcome,
    Proposal,
    SecondFactor,
    SecondFactorStatus,
    SignerContact,
    Submitted,
    YieldPolicy,
)
from cvms.client.signed_requests import T
from cvms.client.wallet import Wallet
from cvms.client.webhook_schemas import (
    QueuedMessage,
    Webhook,
    WebhookList,
    WebhookMessages,
    WebhookSecret,
)

REQUEST_SECONDS = 20.0


class Client(GuardClient):
    """A client of the service for one wallet. Without a wallet it can only read.

    Every method raises Problem if the service refuses the request, and ServiceUnavailable if there
    is no reply within `patience`. Until then requests are repeated, including those that move
    tokens: each has an Idempotency-Key, and takes effect once. `code` is that of the second factor.
    """

    # --- the vault -----------------------------------------------------------------------------

    async def open_vault(self) -> CoSign:
        """Open the wallet's vault."""
        body = {"owner": self.address}
        return await self._send("/api/vault/initialize", body, CoSign)

    async def deposit(self, amount: int) -> CoSign:
        """Move tokens from the wallet into its vault."""
        return await self._cosign("/api/vault/deposit", "deposit", amount=amount)

    async def withdraw(
        self, amount: int, *, recipient: str | None = None, code: str | None = None
    ) -> Outcome:
        """Move tokens out of the vault, to the owner or a whitelisted recipient."""
        path = "/api/vault/withdraw"
        return await self._move(path, "withdraw", code=code, amount=amount, recipient=recipient)

    async def request_withdraw(self, amount: int, *, code: str | None = None) -> CoSign:
        """Request a withdrawal, which is possible after the vault's minimum delay."""
        path = "/api/vault/request-withdraw"
        return await self._cosign(path, "request_withdraw", code=code, amount=amount)

    async def schedule_withdraw(
        self, amount: int, duration_seconds: int, *, code: str | None = None
    ) -> Outcome:
        """Timelock tokens, so that nobody can withdraw them before the duration is over."""
        return await self._move(
            "/api/vault/schedule-withdraw",
            "schedule",
            code=code,
            amount=amount,
            duration_seconds=duration_seconds,
        )

    async def release_timelocks(self, owner: str | None = None) -> Submitted:
        """Release matured timelocks. Anybody may do so for any owner."""
        body = {"owner": owner or self.address}
        return await self._send("/api/vault/release-timelocks", body, Submitted)

    async def close_vault(self, *, signers: Sequence[str] | None = None) -> CoSign:
        """Close the wallet's empty vault. Its rent goes to the owner."""
        return await self._cosign("/api/vault/close", "close_vault", signers=signers)

    async def add_delegate(self, delegate: str) -> CoSign:
        """Let another key act for the vault. Tokens still go to the owner only."""
        return await self._cosign("/api/vault/delegate/add", "delegate_add", delegate=delegate)

    async def remove_delegate(self, delegate: str) -> CoSign:
        """Remove a delegate."""
        return await self._cosign(
            "/api/vault/delegate/remove", "delegate_remove", delegate=delegate
        )

    async def lock(self, amount: int) -> CoSign:
        """Open a position and lock its collateral."""
        return await self._cosign("/api/pm/lock", "pm_lock", amount=amount)

    async def unlock(self, amount: int) -> CoSign:
        """Close a position, or a part of one."""
        return await self._cosign("/api/pm/unlock", "pm_unlock", amount=amount)

    # --- yield ---------------------------------------------------------------------------------

    async def yield_deposit(self, amount: int, yield_program: str) -> Outcome:
        """Deposit tokens of the vault into a yield program."""
        path = "/api/vault/yield-deposit"
        return await self._move(path, "yield_deposit", amount=amount, yield_program=yield_program)

    async def yield_withdraw(self, amount: int, yield_program: str) -> Outcome:
        """Withdraw tokens from a yield program into the vault."""
        path = "/api/vault/yield-withdraw"
        return await self._move(path, "yield_withdraw", amount=amount, yield_program=yield_program)

    async def compound(self, amount: int, yield_program: str) -> Outcome:
        """Deposit the interest into the yield program, too."""
        path = "/api/vault/compound"
        return await self._move(
            path, "compound_yield", compounded_amount=amount, yield_program=yield_program
        )

    async def set_yield_policy(
        self, yield_program: str, *, auto_compound: bool, min_amount: int
    ) -> YieldPolicy:
        """Set whether the service, as a delegate, compounds automatically from `min_amount` on."""
        body = await self.signed(
            "yield_policy",
            owner=self.address,
            yield_program=yield_program,
            auto_compound=auto_compound,
            min_amount=min_amount,
        )
        return await self._send_once("/api/vault/yield-policy", body, YieldPolicy)

    # --- protection against a stolen key ---------------------------------------------------------

    async def whitelist_add(self, address: str, *, signers: Sequence[str] | None = None) -> CoSign:
        """Allow withdrawals to another wallet."""
        path = "/api/admin/withdraw/whitelist/add"
        return await self._cosign(path, "whitelist_add", signers=signers, address=address)

    async def whitelist_remove(self, address: str) -> CoSign:
        """Disallow withdrawals to another wallet."""
        path = "/api/admin/withdraw/whitelist/remove"
        return await self._cosign(path, "whitelist_remove", address=address)

    async def set_min_delay(self, seconds: int, *, signers: Sequence[str] | None = None) -> CoSign:
        """Set the minimum delay of withdrawals. 0 removes it."""
        path = "/api/admin/withdraw/min-delay/set"
        return await self._cosign(path, "min_delay_set", signers=signers, seconds=seconds)

    async def set_rate_limit(
        self, window_seconds: int, max_amount: int, *, signers: Sequence[str] | None = None
    ) -> CoSign:
        """Limit the amount withdrawn within a time window. Zeros remove the limit."""
        return await self._cosign(
            "/api/admin/withdraw/rate-limit/set",
            "rate_limit_set",
            signers=signers,
            window_seconds=window_seconds,
            max_amount=max_amount,
        )

    async def set_up_second_factor(self) -> SecondFactor:
        """Return a new secret for a device. It takes effect with `verify_second_factor`."""
        body = await self.signed("twofa_setup", owner=self.address)
        return await self._send_once("/api/2fa/setup", body, SecondFactor)

    async def verify_second_factor(self, code: str) -> SecondFactorStatus:
        """Enable the second factor with a first code. From then on withdrawals need one."""
        body = {"owner": self.address, "code": code}
        return await self._send_once("/api/2fa/verify", body, SecondFactorStatus)

    async def disable_second_factor(self, code: str) -> SecondFactorStatus:
        """Disable the second factor."""
        body = await self.signed("twofa_disable", owner=self.address)
        return await self._send_once("/api/2fa/disable", body, SecondFactorStatus, code=code)

    # --- multisig withdrawals --------------------------------------------------------------------

    async def propose_withdraw(self, amount: int, *, threshold: int) -> Proposal:
        """Propose a withdrawal to the signers of the vault's multisig.

        `threshold` is the number of required signatures. Raises Problem unless it is that of the
        chain.
        """
        body = await self.signed(
            "propose_withdraw", owner=self.address, amount=amount, threshold=threshold
        )
        return await self._send("/api/vault/propose-withdraw", body, Proposal)

    async def approve_withdraw(self, proposal_id: str) -> Proposal:
        """Approve a proposal as one of its signers.

        Once enough signers have approved, it has a `transaction` for them to sign.
        """
        body = await self.signed("approve_withdraw", proposal_id=proposal_id)
        body["signer"] = self.address
        return await self._send("/api/vault/approve-withdraw", body, Proposal)

    async def set_signer_contact(self, url: str) -> SignerContact:
        """Set the webhook that receives the proposals for this signer."""
        body = await self.signed("signer_contact", signer=self.address, url=url)
        return await self._send_once("/api/vault/signer-contact", body, SignerContact)

    # --- webhooks for the vault's events ---------------------------------------------------------

    async def register_webhook(
        self, url: str, *, topics: Sequence[str] | None = None
    ) -> WebhookSecret:
        """Register a webhook for events of these topics, by default of all."""
        body = await self.signed(
            "webhook_register",
            absent={"topics": "all"},
            owner=self.address,
            topics=None if topics is None else list(topics),
            url=url,
        )
        return await self._send_once("/api/webhooks", body, WebhookSecret)

    async def webhooks(self) -> WebhookList:
        """Return the owner's webhooks for events."""
        body = await self.signed("webhook_list", owner=self.address)
        return await self._send_once("/api/webhooks/list", body, WebhookList)

    async def webhook_messages(
        self, endpoint: str, *, cursor: str | None = None, limit: int = 50
    ) -> WebhookMessages:
        """Return a page of a webhook's messages of the last day, newest first."""
        body = await self.signed(
            "webhook_messages",
            absent={"cursor": ""},
            owner=self.address,
            endpoint=endpoint,
            cursor=cursor,
            limit=limit,
        )
        return await self._send_once("/api/webhooks/messages", body, WebhookMessages)

    async def resend_webhook_message(self, endpoint: str, webhook_id: str) -> QueuedMessage:
        """Send a message again, without regard to the order of events."""
        return await self._webhook("resend", QueuedMessage, endpoint, webhook_id=webhook_id)

    async def test_webhook(self, endpoint: str) -> QueuedMessage:
        """Send a test message."""
        return await self._webhook("test", QueuedMessage, endpoint)

    async def rotate_webhook_secret(
        self, endpoint: str, *, overlap_seconds: int = 86_400
    ) -> WebhookSecret:
        """Return a new secret. The old one signs, too, until the overlap is over."""
        return await self._webhook(
            "rotate", WebhookSecret, endpoint, overlap_seconds=overlap_seconds
        )

    async def activate_webhook(self, endpoint: str) -> Webhook:
        """Enable a webhook that is paused or deactivated. It gets what it has missed."""
        return await self._webhook("activate", Webhook, endpoint)

    async def deactivate_webhook(self, endpoint: str) -> Webhook:
        """Disable a webhook until it is activated."""
        return await self._webhook("deactivate", Webhook, endpoint)

    async def delete_webhook(self, endpoint: str) -> Webhook:
        """Remove a webhook, its secrets and its messages."""
        return await self._webhook("delete", Webhook, endpoint)

    async def _webhook(self, action: str, kind: type[T], endpoint: str, **fields: Any) -> T:
        body = await self.signed(
            f"webhook_{action}", owner=self.address, endpoint=endpoint, **fields
        )
        return await self._send_once(f"/api/webhooks/{action}", body, kind)


@asynccontextmanager
async def open_client(
    url: str,
    *,
    wallet: Wallet | None = None,
    patience: float = PATIENCE_SECONDS,
    http: httpx.AsyncClient | None = None,
) -> AsyncIterator[Client]:
    """Open a client of the service at an http or https `url`.

    Each call returns or raises within `patience` seconds. Requests and streams use `http`, which
    stays open, or else a client of their own.
    """
    if not url.startswith(("http://", "https://")):
        raise ValueError(f"{url!r} is not the URL of a service: http://… or https://…")
    if http is not None:
        yield Client(http, url, wallet, patience=patience)
        return
    async with httpx.AsyncClient(timeout=REQUEST_SECONDS) as own:
        yield Client(own, url, wallet, patience=patience)
