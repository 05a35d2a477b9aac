"""Checks of the vault authority, of the transfer limits, and of the mint."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime

from solders.pubkey import Pubkey
from spl.token.constants import TOKEN_2022_PROGRAM_ID, TOKEN_PROGRAM_ID

from cvms.chain.program.accounts import (
    VaultAuthority,
    mint_decimals,
    mint_freeze_authority,
    read_transfer_limits,
    read_vault_authority,
)
from cvms.chain.program.addresses import vault_authority_address
from cvms.checks.deployment import Deployment
from cvms.checks.finding import Finding, failure, ok, warning
from cvms.errors import DecodeError

DECIMALS = 6
SET_LIMITS = (
    "set them: `POST /api/admin/transfer-limits/set` with vault_daily and total_daily, "
    "as governance"
)
CHOOSE_MINT = "set USDT_MINT to the mint of an SPL Token with 6 decimals"


def authority_findings(
    deployment: Deployment, *, operator: Pubkey | None, now: datetime
) -> Iterator[Finding]:
    """Check the vault authority and the transfer limits. `operator` is None if not known."""
    address = vault_authority_address(deployment.programs)
    initialize = "initialize it as the program's upgrade authority (`cvms bootstrap`)"
    try:
        authority = read_vault_authority(deployment.authority, deployment.programs)
        limits = read_transfer_limits(deployment.limits, deployment.programs)
    except DecodeError as error:
        yield failure("authority_exists", f"{address}: {error}", initialize, kind="no_authority")
        return
    if authority is None:
        seen = f"no vault authority at {address}"
        yield failure("authority_exists", seen, initialize, kind="no_authority")
        return
    yield ok("authority_exists", str(address))
    yield _governance_finding(authority.governance, operator)
    if authority.pending_governance != Pubkey.default():
        yield warning(
            "pending_governance",
            f"{authority.pending_governance} is proposed",
            "if nobody of you proposed it, have the upgrade authority replace governance",
        )
    if not authority.transfers_limited or limits is None:
        seen = "off: programs may move all collateral between vaults"
        yield warning("transfer_limits", seen, SET_LIMITS, kind="transfer_limits_off")
    else:
        yield ok("transfer_limits", f"{limits.vault_daily} a vault, {limits.total_daily} in all")
    yield from _stopped_findings(authority, now)


def mint_findings(deployment: Deployment, *, indexed: str | None = None) -> Iterator[Finding]:
    """Check the mint. `indexed` is another mint, of vaults in the database."""
    mint, account = deployment.programs.mint, deployment.mint
    if account is None:
        yield failure("mint_exists", f"no mint at {mint}", CHOOSE_MINT, kind="no_mint")
        return
    if account.owner == TOKEN_2022_PROGRAM_ID:
        seen = f"{mint} is of Token-2022, whose extensions can take or hold tokens"
        yield failure("mint_exists", seen, CHOOSE_MINT, kind="token_2022")
        return
    try:
        if account.owner != TOKEN_PROGRAM_ID:
            raise DecodeError(f"its owner is {account.owner}, not SPL Token")
        decimals = mint_decimals(account.data)
    except DecodeError as error:
        yield failure("mint_exists", f"{mint}: {error}", CHOOSE_MINT, kind="wrong_mint")
        return
    yield ok("mint_exists", str(mint))
    if decimals == DECIMALS:
        yield ok("mint_decimals", str(decimals))
    else:
        yield failure("mint_decimals", str(decimals), CHOOSE_MINT, kind="wrong_mint")
    freezer = mint_freeze_authority(account.data)
    yield ok("mint_freeze_authority", "none" if freezer is None else str(freezer))
    if indexed is not None:
        advice = f"set USDT_MINT to {indexed}, or give the new mint a database of its own"
        seen = f"the database has vaults of {indexed}"
        yield failure("mint_of_vaults", seen, advice, kind="wrong_mint")


def _governance_finding(governance: Pubkey, operator: Pubkey | None) -> Finding:
    separate = "hand governance to a multisig (docs/security.md)"
    if governance == operator:
        seen = f"{governance}, which is the operator too: its key is on this machine"
        return warning("governance", seen, separate, kind="governance_is_operator")
    if governance.is_on_curve():
        return warning("governance", f"{governance}, which is a single key", separate)
    return ok("governance", str(governance))


def _stopped_findings(authority: VaultAuthority, now: datetime) -> Iterator[Finding]:
    if authority.freeze:
        seen = "on: programs cannot lock, unlock or transfer collateral"
        yield warning("freeze", seen, "end it with `POST /api/admin/freeze/set` once you can")
    else:
        yield ok("freeze", "off")
    until = authority.withdrawals_paused_until
    if until > now.timestamp():
        seen = f"withdrawals are paused until {datetime.fromtimestamp(until, UTC).isoformat()}"
        yield warning("pause", seen, "a pause of 0 seconds ends it")
    else:
        yield ok("pause", "off")
