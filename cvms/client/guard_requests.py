"""Requests about an owner's guards, the exit, and what the owner takes back."""

from __future__ import annotations

from collections.abc import Sequence

from cvms.client.schemas import CoSign, Submitted
from cvms.client.signed_requests import SigningClient

CHANGES = "/api/vault/guard-changes"


class GuardClient(SigningClient):
    """A client for what protects a vault from a stolen key.

    `signers` are signers of the vault's multisig, who will sign the transaction, too: chain their
    `Wallet.cosign`, and `submit` the result.
    """

    async def request_guard_change(self, change: str) -> CoSign:
        """Request a change that loosens a guard, such as `min_delay=0`."""
        return await self._cosign(f"{CHANGES}/request", "guard_request", change=change)

    async def apply_guard_change(self, change: str) -> CoSign:
        """Apply a requested change whose delay is over."""
        return await self._cosign(f"{CHANGES}/apply", "guard_apply", change=change)

    async def cancel_guard_change(self, change: str, *, owner: str | None = None) -> CoSign:
        """Cancel a requested change, as the owner or as a signer of the owner's multisig."""
        body = await self.signed("guard_cancel", owner=owner or self.address, change=change)
        body["signer"] = self.address
        return await self._send(f"{CHANGES}/cancel", body, CoSign)

    async def set_transfer_allowance(
        self, allowance: str, *, signers: Sequence[str] | None = None
    ) -> CoSign:
        """Set how much may be transferred beyond what is locked: digits, or `unlimited`."""
        path = "/api/vault/transfer-allowance/set"
        return await self._cosign(
            path, "transfer_allowance_set", signers=signers, allowance=allowance
        )

    async def cancel_withdraw_request(self, amount: int, executable_at: int) -> CoSign:
        """Cancel the requested withdrawal of this amount and time."""
        return await self._cosign(
            "/api/vault/request-withdraw/cancel",
            "request_withdraw_cancel",
            amount=amount,
            executable_at=executable_at,
        )

    async def cancel_timelock(
        self,
        amount: int,
        unlock_time: int,
        *,
        code: str | None = None,
        signers: Sequence[str] | None = None,
    ) -> CoSign:
        """Cancel the timelock of this amount and time, or bring its end forward."""
        return await self._cosign(
            "/api/vault/timelock/cancel",
            "timelock_cancel",
            code=code,
            signers=signers,
            amount=amount,
            unlock_time=unlock_time,
        )

    async def request_exit(
        self, *, code: str | None = None, signers: Sequence[str] | None = None
    ) -> CoSign:
        """Request an exit, which takes effect after seven days and for seven days."""
        return await self._cosign(
            "/api/vault/exit/request", "exit_request", code=code, signers=signers
        )

    async def release_unclaimed(self) -> CoSign:
        """Release locked tokens that no position claims, while an exit is in effect."""
        return await self._cosign("/api/vault/exit/release", "exit_release")

    async def exit_withdraw(
        self, amount: int, *, code: str | None = None, signers: Sequence[str] | None = None
    ) -> CoSign:
        """Withdraw available tokens to the owner without the consent of any program."""
        return await self._cosign(
            "/api/vault/exit/withdraw", "exit_withdraw", code=code, signers=signers, amount=amount
        )

    async def sweep(
        self, token_account: str, *, code: str | None = None, signers: Sequence[str] | None = None
    ) -> CoSign:
        """Pay to the owner what a token account of the vault holds beyond the balances."""
        return await self._cosign(
            "/api/vault/sweep", "sweep", code=code, signers=signers, token_account=token_account
        )

    async def settle_positions(self, owner: str | None = None) -> Submitted:
        """Let positions claim no more than is locked. Anybody may do so for any owner."""
        body = {"owner": owner or self.address}
        return await self._send("/api/pm/settle", body, Submitted)
