"""Specification: decisions of owners and governance, and the creation and closing of vaults."""

from collections.abc import Sequence

from . import names
from .model import (
    NOBODY,
    Authority,
    Event,
    Events,
    Vault,
    World,
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


def close_vault(world: World, *, owner: str, signer: str) -> Events:
    vault = world.vault(owner, given=signer)
    holding = (vault_of(owner), vault.mint)
    require(vault.total == 0 and world.tokens[holding] == 0, "NonZeroBalance")
    del world.tokens[holding], world.vaults[owner]
    return [("VaultClosedEvent", named(vault))]


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


def update_usdt_mint(world: World, *, signer: str, owner: str, mint: str) -> Events:
    governed(world, signer)
    vault = world.vault(owner)
    require(vault.total == 0, "NonZeroBalance")
    world.tokens.setdefault((vault_of(owner), mint), 0)
    old, vault.mint = vault.mint, mint
    return [("UpdateUsdtMintEvent", {"vault": owner, "old_mint": old, "new_mint": mint})]
