"""Specification: decisions of owners and governance, and the creation and closing of vaults."""

from collections.abc import Sequence

from . import names
from .model import (
    NOBODY,
    Authority,
    Event,
    Events,
    Limits,
    Refused,
    Vault,
    World,
    authorize,
    insert,
    remove,
    require,
    vault_of,
)
from .money import named

DAY = 24 * 60 * 60
UPGRADE_AUTHORITY = "governance"
"""Who deployed the program, whoever governs it now."""


def initialize_vault(world: World, *, owner: str, mint: str) -> Events:
    require(owner not in world.vaults, "AlreadyInitialized")
    world.tokens.setdefault((vault_of(owner), mint), 0)
    world.vaults[owner] = vault = Vault(owner, mint, world.now)
    fields = {"token_account": (vault_of(owner), mint), "usdt_mint": mint}
    return [("VaultInitializedEvent", {**named(vault), **fields})]


def close_vault(
    world: World, *, owner: str, signer: str, recipient: str | None, cosigners: Sequence[str]
) -> Events:
    """Without a `recipient`, tokens that no balance counts keep the vault open."""
    vault = world.vault(owner, given=signer)
    holding = (vault_of(owner), vault.mint)
    require(vault.total == 0, "NonZeroBalance")
    swept: Events = []
    if surplus := world.tokens[holding]:
        if recipient is None:
            raise Refused("NonZeroBalance")
        authorize(vault, signer, cosigners)
        swept = send_surplus(world, vault, recipient, vault.mint, surplus)
    del world.tokens[holding], world.vaults[owner]
    return [*swept, ("VaultClosedEvent", named(vault))]


def sweep(
    world: World, *, owner: str, signer: str, cosigners: Sequence[str], recipient: str, mint: str
) -> Events:
    """From the account of another mint than the vault's, everything, while nothing is lent."""
    vault = world.vault(owner, given=signer)
    authorize(vault, signer, cosigners)
    require(world.now >= world.authority.paused_until, "WithdrawalsPaused")
    holding = (vault_of(owner), mint)
    require(holding in world.tokens, "InvalidTokenProgramOwner")
    if mint == vault.mint:
        surplus = world.tokens[holding] - (vault.total - vault.in_yield + vault.kept)
        require(surplus > 0, "InvalidAmount")
        return send_surplus(world, vault, recipient, mint, surplus)
    require(vault.in_yield == vault.kept, "NonZeroBalance")
    events = send_surplus(world, vault, recipient, mint, world.tokens[holding])
    del world.tokens[holding]
    return events


def send_surplus(world: World, vault: Vault, recipient: str, mint: str, amount: int) -> Events:
    require(recipient == vault.owner, "ConstraintTokenOwner")
    world.move(vault_of(vault.owner), recipient, amount, mint)
    fields = {"mint": mint, "amount": amount, "recipient": (recipient, mint)}
    return [("SweptEvent", named(vault) | fields)]


def get_vault_info(world: World, *, owner: str) -> Events:
    world.vault(owner)
    return []


def add_delegate(world: World, *, owner: str, signer: str, who: str) -> Events:
    vault = world.vault(owner, given=signer)
    require(who != owner, "AlreadyExists")
    insert(vault.delegates, who, "delegates")
    return [("DelegateAddedEvent", {**named(vault), "delegate": who})]


def remove_delegate(world: World, *, owner: str, signer: str, who: str) -> Events:
    vault = world.vault(owner, given=signer)
    remove(vault.delegates, who)
    return [("DelegateRemovedEvent", {**named(vault), "delegate": who})]


def remove_withdraw_whitelist(world: World, *, owner: str, signer: str, who: str) -> Events:
    vault = world.vault(owner, given=signer)
    remove(vault.whitelist, who)
    return [whitelist_event(vault, who, added=False)]


def whitelist_event(vault: Vault, who: str, *, added: bool) -> Event:
    fields = {**named(vault), "address": who, "added": added, "new_len": len(vault.whitelist)}
    return "WithdrawWhitelistUpdatedEvent", fields


# Governance


def governed(world: World, signer: str) -> Authority:
    require(signer == world.authority.governance, "Unauthorized")
    return world.authority


def initialize_vault_authority(
    world: World, *, signer: str, programs: Sequence[str], freeze: bool | None
) -> Events:
    require(world.authority.governance == "", "AlreadyInitialized")
    require(signer == UPGRADE_AUTHORITY, "NotUpgradeAuthority")
    world.authority = Authority(signer, freeze=bool(freeze))
    for program in programs:
        require(program not in names.IMPOSSIBLE, "InvalidProgramId")
        insert(world.authority.programs, program, "programs")
    fields: dict[str, object] = {"governance": signer, "authorized_programs_len": len(programs)}
    return [("VaultAuthorityInitializedEvent", fields | {"freeze": bool(freeze)})]


def add_authorized_program(world: World, *, signer: str, program: str) -> Events:
    authority = governed(world, signer)
    require(program not in names.IMPOSSIBLE, "InvalidProgramId")
    insert(authority.programs, program, "programs")
    return [("AuthorizedProgramAddedEvent", {"program": program})]


def remove_authorized_program(world: World, *, signer: str, program: str) -> Events:
    remove(governed(world, signer).programs, program)
    return [("AuthorizedProgramRemovedEvent", {"program": program})]


def add_yield_program(world: World, *, signer: str, program: str) -> Events:
    insert(governed(world, signer).yield_programs, program, "yield_programs")
    return [("YieldProgramAddedEvent", {"program": program})]


def remove_yield_program(world: World, *, signer: str, program: str) -> Events:
    remove(governed(world, signer).yield_programs, program)
    return [("YieldProgramRemovedEvent", {"program": program})]


def set_freeze_flag(world: World, *, signer: str, freeze: bool) -> Events:
    governed(world, signer).freeze = freeze
    return [("FreezeFlagSetEvent", {"freeze": freeze})]


def set_cpi_enforced(world: World, *, signer: str, cpi_enforced: bool) -> Events:
    governed(world, signer).cpi_enforced = cpi_enforced
    return [("CpiEnforcedSetEvent", {"cpi_enforced": cpi_enforced})]


def set_risk_level(world: World, *, signer: str, risk_level: int) -> Events:
    governed(world, signer).risk_level = risk_level
    return [("RiskLevelSetEvent", {"risk_level": risk_level})]


def propose_governance(
    world: World, *, signer: str, proposed: str, as_upgrade_authority: bool
) -> Events:
    if signer != world.authority.governance:
        require(as_upgrade_authority, "Unauthorized")
        require(signer == UPGRADE_AUTHORITY, "NotUpgradeAuthority")
    world.authority.proposed = proposed
    return [("GovernanceProposedEvent", {"authority": signer, "proposed": proposed})]


def accept_governance(world: World, *, signer: str) -> Events:
    authority = world.authority
    require(signer == authority.proposed, "Unauthorized")
    fields: dict[str, object] = {"old_governance": authority.governance, "new_governance": signer}
    authority.governance, authority.proposed = signer, NOBODY
    return [("GovernanceAcceptedEvent", fields)]


def pause_withdrawals(world: World, *, signer: str, seconds: int) -> Events:
    """For three days at most; the next pause comes a week after its planned end at the earliest."""
    authority = governed(world, signer)
    require(seconds >= 0, "InvalidAmount")
    require(seconds <= 3 * DAY, "DurationTooLong")
    authority.paused_until = 0
    if seconds:
        require(world.now >= authority.pause_allowed_at, "NotExecutableNow")
        authority.paused_until = world.now + seconds
        authority.pause_allowed_at = authority.paused_until + 7 * DAY
    fields: dict[str, object] = {"paused_until": authority.paused_until}
    return [("WithdrawalsPausedEvent", fields | {"pause_allowed_at": authority.pause_allowed_at})]


def set_transfer_limits(world: World, *, signer: str, vault_daily: int, total_daily: int) -> Events:
    """At once if they are the first ones or lower; a higher one waits for three days."""
    governed(world, signer)
    limits = world.limits = world.limits or Limits(vault_daily, total_daily)
    limits.apply_pending(world.now)
    limits.vault_daily = min(limits.vault_daily, vault_daily)
    limits.total_daily = min(limits.total_daily, total_daily)
    lowered = (limits.vault_daily, limits.total_daily) == (vault_daily, total_daily)
    limits.pending_vault_daily = 0 if lowered else vault_daily
    limits.pending_total_daily = 0 if lowered else total_daily
    limits.pending_at = 0 if lowered else world.now + 3 * DAY
    fields: dict[str, object] = {
        name: getattr(limits, name)
        for name in ("vault_daily", "total_daily", "pending_vault_daily", "pending_total_daily")
    }
    return [("TransferLimitsSetEvent", fields | {"pending_at": limits.pending_at})]


def update_usdt_mint(world: World, *, signer: str, owner: str, mint: str) -> Events:
    governed(world, signer)
    vault = world.vault(owner)
    require(vault.total == 0, "NonZeroBalance")
    world.tokens.setdefault((vault_of(owner), mint), 0)
    old, vault.mint = vault.mint, mint
    return [("UpdateUsdtMintEvent", {"vault": owner, "old_mint": old, "new_mint": mint})]
