"""Specification: decisions of owners and governance, and the creation and closing of vaults."""

from collections.abc import Sequence

from . import names
from .model import (
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


def initialize_vault(world: World, *, owner: str, mint: str) -> Events:
    require(owner not in world.vaults, "AlreadyInitialized")
    world.tokens.setdefault((vault_of(owner), mint), 0)
    world.vaults[owner] = Vault(owner, mint, world.now)
    return []


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
    return []


def remove_yield_program(world: World, *, signer: str, program: str) -> Events:
    remove(governed(world, signer).yield_programs, program)
    return []


def set_freeze_flag(world: World, *, signer: str, freeze: bool) -> Events:
    governed(world, signer).freeze = freeze
    return [("FreezeFlagSetEvent", {"freeze": freeze})]


def set_cpi_enforced(world: World, *, signer: str, cpi_enforced: bool) -> Events:
    governed(world, signer).cpi_enforced = cpi_enforced
    return [("CpiEnforcedSetEvent", {"cpi_enforced": cpi_enforced})]


def set_risk_level(world: World, *, signer: str, risk_level: int) -> Events:
    governed(world, signer).risk_level = risk_level
    return []


def update_usdt_mint(world: World, *, signer: str, owner: str, mint: str) -> Events:
    governed(world, signer)
    vault = world.vault(owner)
    require(vault.total == 0, "NonZeroBalance")
    world.tokens.setdefault((vault_of(owner), mint), 0)
    old, vault.mint = vault.mint, mint
    return [("UpdateUsdtMintEvent", {"vault": owner, "old_mint": old, "new_mint": mint})]
