"""The table of all texts that wallets sign, one for each signed request and for subscriptions.

The texts of docs/http.md, of the OpenAPI document and of the replies to `POST /api/auth/nonce`
come from here.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class SignedText:
    """What the wallet signs for a route: the action, the named fields of the body, the nonce.

    `optional` is a last field, which the text has only if the body has it. With one such field, the
    number of colons says whether it is there, since neither it nor the nonce contains a colon.
    `absent` has what stands for a field that the body may omit. `signer` is the field that names
    the wallet, whether or not the text contains it.
    """

    action: str
    route: str
    fields: tuple[str, ...]
    optional: str | None = None
    signer: str = "owner"
    absent: Mapping[str, str] = field(default_factory=dict)

    @property
    def template(self) -> str:
        """The text with the fields' names in braces, and in brackets what may be absent."""
        parts = [self.action, *(f"{{{name}}}" for name in self.fields)]
        last = "" if self.optional is None else f"[:{{{self.optional}}}]"
        return ":".join(parts) + last + ":{nonce}"

    @property
    def names(self) -> tuple[str, ...]:
        """The fields that the text may contain, in order."""
        return self.fields if self.optional is None else (*self.fields, self.optional)

    def write(self, values: Mapping[str, object], nonce: str) -> str:
        """Return the text for these values of the fields; None for those that are omitted."""
        parts = [
            self.absent[name] if name in self.absent and values.get(name) is None else values[name]
            for name in self.fields
        ]
        if self.optional is not None and values.get(self.optional) is not None:
            parts.append(values[self.optional])
        return ":".join([self.action, *map(_as_text, parts), nonce])


def _as_text(value: object) -> str:
    if isinstance(value, bool):
        return "on" if value else "off"
    return ",".join(value) if isinstance(value, list) else str(value)


def _vault(action: str, route: str, *fields: str, optional: str | None = None) -> SignedText:
    return SignedText(action, route, ("owner", *fields), optional)


def _webhook(action: str, *fields: str, **absent: str) -> SignedText:
    route, names = f"POST /api/webhooks/{action}", ("owner", "endpoint", *fields)
    return SignedText(f"webhook_{action}", route, names, absent=absent)


SUBSCRIPTION = SignedText("subscribe", "/ws", ("topic", "owner"), signer="signer")
"""Not of a route: a WebSocket that is to hear of a vault's own affairs."""
_POLICY = "/api/admin/withdraw"
SIGNED_TEXTS = (
    _vault("deposit", "POST /api/vault/deposit", "amount"),
    _vault("withdraw", "POST /api/vault/withdraw", "amount", optional="recipient"),
    _vault("request_withdraw", "POST /api/vault/request-withdraw", "amount"),
    _vault("schedule", "POST /api/vault/schedule-withdraw", "amount", "duration_seconds"),
    _vault("delegate_add", "POST /api/vault/delegate/add", "delegate"),
    _vault("delegate_remove", "DELETE /api/vault/delegate/remove", "delegate"),
    _vault("close_vault", "POST /api/vault/close"),
    _vault(
        "request_withdraw_cancel",
        "POST /api/vault/request-withdraw/cancel",
        "amount",
        "executable_at",
    ),
    _vault("timelock_cancel", "POST /api/vault/timelock/cancel", "amount", "unlock_time"),
    _vault("guard_request", "POST /api/vault/guard-changes/request", "change"),
    _vault("guard_apply", "POST /api/vault/guard-changes/apply", "change"),
    SignedText(
        "guard_cancel",
        "POST /api/vault/guard-changes/cancel",
        ("owner", "change"),
        signer="signer",
    ),
    _vault("transfer_allowance_set", "POST /api/vault/transfer-allowance/set", "allowance"),
    _vault("exit_request", "POST /api/vault/exit/request"),
    _vault("exit_release", "POST /api/vault/exit/release"),
    _vault("exit_withdraw", "POST /api/vault/exit/withdraw", "amount"),
    _vault("sweep", "POST /api/vault/sweep", "token_account"),
    _vault("propose_withdraw", "POST /api/vault/propose-withdraw", "amount", "threshold"),
    SignedText(
        "approve_withdraw", "POST /api/vault/approve-withdraw", ("proposal_id",), signer="signer"
    ),
    SignedText(
        "signer_contact", "POST /api/vault/signer-contact", ("signer", "url"), signer="signer"
    ),
    _vault("pm_lock", "POST /api/pm/lock", "amount"),
    _vault("pm_unlock", "POST /api/pm/unlock", "amount"),
    _vault("yield_deposit", "POST /api/vault/yield-deposit", "amount", "yield_program"),
    _vault("yield_withdraw", "POST /api/vault/yield-withdraw", "amount", "yield_program"),
    _vault("compound_yield", "POST /api/vault/compound", "compounded_amount", "yield_program"),
    _vault(
        "yield_policy",
        "POST /api/vault/yield-policy",
        "yield_program",
        "auto_compound",
        "min_amount",
    ),
    _vault("whitelist_add", f"POST {_POLICY}/whitelist/add", "address"),
    _vault("whitelist_remove", f"DELETE {_POLICY}/whitelist/remove", "address"),
    _vault("min_delay_set", f"POST {_POLICY}/min-delay/set", "seconds"),
    _vault("rate_limit_set", f"POST {_POLICY}/rate-limit/set", "window_seconds", "max_amount"),
    SignedText(
        "webhook_register",
        "POST /api/webhooks",
        ("owner", "topics", "url"),
        absent={"topics": "all"},
    ),
    _vault("webhook_list", "POST /api/webhooks/list"),
    _webhook("rotate", "overlap_seconds"),
    _webhook("activate"),
    _webhook("deactivate"),
    _webhook("delete"),
    _webhook("messages", "cursor", "limit", cursor=""),
    _webhook("resend", "webhook_id"),
    _webhook("test"),
    _vault("twofa_setup", "POST /api/2fa/setup", optional="secret"),
    _vault("twofa_disable", "POST /api/2fa/disable"),
    SUBSCRIPTION,
)
TEXT_OF_ACTION: Mapping[str, SignedText] = {each.action: each for each in SIGNED_TEXTS}
TEXT_OF_ROUTE: Mapping[str, SignedText] = {
    # A DELETE with a body has a POST twin.
    route: each
    for each in SIGNED_TEXTS
    for route in (each.route, each.route.replace("DELETE", "POST"))
}
