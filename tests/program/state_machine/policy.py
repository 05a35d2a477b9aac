"""Specification: decisions of owners and governance, and the creation and closing of vaults."""

from collections.abc import Sequence

from . import names
from .model import (
    Authority,
    Event,
    Events,
    Rate,
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


def initialize_vault(world: World, *, owner: str, mint: str) -> Events:
    require(owner not in world.vaults, "AlreadyInitialized")
    world.tokens.setdefault((vault_of(owner), mint), 0)
    vault = world.vaults[owner] = Vault(owner, mint, world.now)
    fields = {"token_account": (vault_of(owner), mint), "usdt_mint": mint}
    return [("VaultInitializedEvent", named(vault) | fields)]


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
    return []


def remove_delegate(world: World, *, owner: str, signer: str, who: str) -> Events:
    remove(world.vault(owner, given=signer).delegates, who)
    return []


def set_vault_multisig(
    world: World, *, owner: str, signer: str, signers: Sequence[str], threshold: int
) -> Events:
    vault = world.vault(owner, given=signer)
    require(threshold <= len(signers), "InvalidAmount")
    vault.signers = []
    for each in signers:
        insert(vault.signers, each, "signers")
    vault.threshold = threshold
    return []


def disable_vault_multisig(world: World, *, owner: str, signer: str) -> Events:
    vault = world.vault(owner, given=signer)
    vault.signers, vault.threshold = [], 0
    return []


def set_withdraw_min_delay(world: World, *, owner: str, signer: str, seconds: int) -> Events:
    vault = world.vault(owner, given=signer)
    require(seconds >= 0, "InvalidAmount")
    vault.delay = seconds
    return [("WithdrawMinDelaySetEvent", {**named(vault), "seconds": seconds})]


def set_withdraw_rate_limit(
    world: World, *, owner: str, signer: str, window_seconds: int, max_amount: int
) -> Events:
    vault = world.vault(owner, given=signer)
    vault.rate = Rate(window_seconds, max_amount, world.now)
    fields = {**named(vault), "window_seconds": window_seconds, "max_amount": max_amount}
    return [("WithdrawRateLimitSetEvent", fields)]


def add_withdraw_whitelist(world: World, *, owner: str, signer: str, who: str) -> Events:
    vault = world.vault(owner, given=signer)
    insert(vault.whitelist, who, "whitelist")
    return [whitelist_event(vault, who, added=True)]


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


def update_usdt_mint(world: World, *, signer: str, owner: str, mint: str) -> Events:
    governed(world, signer)
    vault = world.vault(owner)
    require(vault.total == 0, "NonZeroBalance")
    world.tokens.setdefault((vault_of(owner), mint), 0)
    old, vault.mint = vault.mint, mint
    return [("UpdateUsdtMintEvent", {"vault": owner, "old_mint": old, "new_mint": mint})]
