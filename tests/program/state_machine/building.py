"""Builders that turn calls of the specification into instructions for the chain."""

from collections.abc import Callable, Sequence
from typing import Any

from solders.instruction import AccountMeta, Instruction
from solders.pubkey import Pubkey

from tests.program.harness import governing, instructions, ledger, pools, positions
from tests.program.harness.ledger import readonly, signer

from . import names
from .earning import reserve_of
from .model import GuardChange, World, vault_of
from .money import Remaining
from .names import key

# Arguments of the specification that are accounts, or whose name in the interface differs.
RENAMED = {"duration": "duration_seconds"}
ADDRESS = {
    "add_delegate": "delegate",
    "remove_delegate": "delegate",
    "add_withdraw_whitelist": "address",
    "remove_withdraw_whitelist": "address",
}


def build(world: World, name: str, given: dict[str, Any]) -> Instruction:
    """Return the instruction `name`; `given` are the arguments of the specification's function."""
    if name in PARTICULAR:
        return PARTICULAR[name](world, **given)
    family = FAMILIES.get(name) or (owned if "owner" in given else governed)
    return family(world, name, **given)


def paid(
    world: World,
    name: str,
    *,
    owner: str,
    authority: str,
    mint: str,
    amount: int,
    source: str = "",
    recipient: str = "",
    remaining: Remaining = (),
) -> Instruction:
    """Return an instruction that moves tokens between a vault and a wallet's token account."""
    accounts = {"user_token_account": names.tokens(source or recipient, mint)}
    return instructions.build(
        name,
        key(owner),
        authority=key(authority),
        remaining=[account(each) for each in remaining],
        accounts=accounts | {"vault_token_account": vault_tokens(world, owner)},
        amount=amount,
    )


def account(given: tuple[str, str] | str) -> AccountMeta:
    if isinstance(given, str):
        return signer(key(given))
    program, owner = given
    return readonly(ledger.summary_address(names.vault(owner), key(program)))


def earned(
    world: World,
    name: str,
    *,
    owner: str,
    authority: str,
    cosigners: Sequence[str],
    program: str,
    called: bool,
    amount: int,
) -> Instruction:
    through = pool_accounts(world, program, owner) if called else []
    argument = "compounded_amount" if name == "compound_yield" else "amount"
    return instructions.build(
        name,
        key(owner),
        authority=key(authority),
        remaining=[*through, *(signer(key(each)) for each in cosigners)],
        accounts={"yield_program": key(program)},
        **{argument: amount},
    )


def pool_accounts(world: World, program: str, owner: str) -> list[AccountMeta]:
    """Return the yield program's accounts. None signs but the vault, and only within the call."""
    given = pools.deposit(
        names.vault(owner),
        names.pool(program),
        1,
        position=names.position(program, owner),
        reserve_tokens=names.tokens(reserve_of(program), "usdt"),
        owner_tokens=vault_tokens(world, owner),
    )
    return [AccountMeta(meta.pubkey, False, meta.is_writable) for meta in given.accounts]


def positioned(
    world: World, name: str, *, program: str, owner: str, authority: str, amount: int
) -> Instruction:
    given = positions.change_position(
        name,
        key(owner),
        amount,
        authority=key(authority),
        caller_program=key(program),
        position_summary=ledger.summary_address(names.vault(owner), key(program)),
    )
    return at(program, given)


def init_position_summary(world: World, *, program: str, owner: str) -> Instruction:
    summary = ledger.summary_address(names.vault(owner), key(program))
    payer = key(names.PAYER)
    given = positions.init_position_summary(key(owner), payer=payer, position_summary=summary)
    return at(program, given)


def settle_position_summary(world: World, *, program: str, owner: str) -> Instruction:
    summary = ledger.summary_address(names.vault(owner), key(program))
    return at(program, positions.settle_position_summary(key(owner), position_summary=summary))


def rebalance_collateral(
    world: World, *, program: str, authority: str, giver: str, taker: str, amount: int
) -> Instruction:
    given = positions.rebalance_collateral(
        key(authority),
        key(giver),
        key(taker),
        amount,
        caller_program=key(program),
        **between(world, giver, taker),
    )
    limits = [governing.LIMITS] if world.limits else []
    return at(program, Instruction(given.program_id, given.data, [*given.accounts, *limits]))


def transfer_collateral(world: World, *, giver: str, taker: str, amount: int) -> Instruction:
    accounts = between(world, giver, taker)
    return ledger.transfer_collateral(key(giver), key(taker), amount, **accounts)


def between(world: World, giver: str, taker: str) -> dict[str, Pubkey]:
    return {
        "from_vault_token_account": vault_tokens(world, giver),
        "to_vault_token_account": vault_tokens(world, taker),
    }


def release_unclaimed(
    world: World, *, owner: str, signer: str, remaining: Remaining
) -> Instruction:
    return instructions.build(
        "release_unclaimed",
        key(owner),
        remaining=[account(each) for each in remaining],
        accounts={"owner": key(signer)},
    )


def enter_pool(world: World, *, program: str, owner: str) -> Instruction:
    given = pools.open_position(
        names.vault(owner),
        names.pool(program),
        payer=key(names.PAYER),
        position=names.position(program, owner),
    )
    return at(program, given)


def set_rate(world: World, *, signer: str, program: str, rate_bps: int) -> Instruction:
    return at(program, pools.set_rate(key(signer), names.pool(program), rate_bps))


def fund_reserve(world: World, *, funder: str, program: str, amount: int) -> Instruction:
    pool, reserve = names.pool(program), names.tokens(reserve_of(program), "usdt")
    return at(program, pools.fund_reserve(key(funder), pool, amount, reserve_tokens=reserve))


def initialize(world: World) -> Instruction:
    return instructions.build("initialize", key(names.GOVERNANCE))


def at(program: str, given: Instruction) -> Instruction:
    """Return the instruction, addressed to this deployment of its program."""
    return Instruction(key(program), bytes(given.data), given.accounts)


def initialize_vault(world: World, *, owner: str, mint: str) -> Instruction:
    accounts = {"usdt_mint": key(mint), "vault_token_account": names.tokens(vault_of(owner), mint)}
    return instructions.build("initialize_vault", key(owner), accounts=accounts)


def close_vault(
    world: World,
    *,
    owner: str,
    signer: str,
    recipient: str | None,
    cosigners: Sequence[str],
) -> Instruction:
    accounts = {"user": key(signer), "vault_token_account": vault_tokens(world, owner)}
    remaining = []
    if recipient is not None:
        mint = world.vaults[owner].mint if owner in world.vaults else "usdt"
        target = names.tokens(recipient, mint)
        remaining = [AccountMeta(target, False, True), *(cosigned(each) for each in cosigners)]
    return instructions.build("close_vault", key(owner), remaining=remaining, accounts=accounts)


def sweep(
    world: World, *, owner: str, signer: str, cosigners: Sequence[str], recipient: str, mint: str
) -> Instruction:
    accounts = {
        "owner": key(signer),
        "token_account": names.tokens(vault_of(owner), mint),
        "recipient_token_account": names.tokens(recipient, mint),
    }
    remaining = [cosigned(each) for each in cosigners]
    return instructions.build("sweep", key(owner), remaining=remaining, accounts=accounts)


def cosigned(name: str) -> AccountMeta:
    return signer(key(name))


def initialize_vault_authority(
    world: World, *, signer: str, programs: Sequence[str], freeze: bool | None
) -> Instruction:
    listed = [key(each) for each in programs]
    return ledger.initialize_vault_authority(key(signer), listed, freeze=freeze)


def propose_governance(
    world: World, *, signer: str, proposed: str, as_upgrade_authority: bool
) -> Instruction:
    proposal = governing.recover if as_upgrade_authority else governing.propose
    return proposal(key(signer), key(proposed))


def accept_governance(world: World, *, signer: str) -> Instruction:
    return governing.accept(key(signer))


def set_transfer_limits(
    world: World, *, signer: str, vault_daily: int, total_daily: int
) -> Instruction:
    return governing.limit_transfers(key(signer), vault_daily, total_daily)


def update_usdt_mint(world: World, *, signer: str, owner: str, mint: str) -> Instruction:
    account = names.tokens(vault_of(owner), mint)
    return instructions.build(
        "update_usdt_mint",
        key(owner),
        authority=key(signer),
        accounts={"new_mint": key(mint), "vault_token_account": account},
    )


def give(world: World, *, source: str, owner: str, mint: str, amount: int) -> Instruction:
    transfer = bytes([3]) + amount.to_bytes(8, "little")
    target = names.tokens(vault_of(owner), mint)
    metas = [
        AccountMeta(names.tokens(source, mint), is_signer=False, is_writable=True),
        AccountMeta(target, is_signer=False, is_writable=True),
        signer(key(source)),
    ]
    return Instruction(ledger.TOKEN, transfer, metas)


def governed(world: World, name: str, *, signer: str, **argument: Any) -> Instruction:
    (value,) = argument.values()
    value = key(value) if isinstance(value, str) else value
    return ledger.govern(name, key(signer), value=value)


def owned(
    world: World,
    name: str,
    *,
    owner: str,
    signer: str | None = None,
    authority: str | None = None,
    cosigners: Sequence[str] = (),
    who: str | None = None,
    signers: Sequence[str] | None = None,
    **arguments: Any,
) -> Instruction:
    """Return an instruction on a vault, by a claimed owner or by an authority."""
    if who is not None:
        arguments[ADDRESS[name]] = key(who)
    if signers is not None:
        arguments["signers"] = [key(each) for each in signers]
    return instructions.build(
        name,
        key(owner),
        authority=key(authority) if authority else None,
        remaining=[ledger.signer(key(each)) for each in cosigners],
        accounts={"owner": key(signer)} if signer else None,
        **{RENAMED.get(argument, argument): value for argument, value in arguments.items()},
    )


def vault_tokens(world: World, owner: str) -> Pubkey:
    mint = world.vaults[owner].mint if owner in world.vaults else "usdt"
    return names.tokens(vault_of(owner), mint)


def guarded(
    world: World,
    name: str,
    *,
    owner: str,
    change: GuardChange,
    signer: str | None = None,
    authority: str | None = None,
) -> Instruction:
    """Return an instruction on a requested change of the owner's guards."""
    given = names.guard_change(change)
    accounts = {"owner": key(signer)} if signer else {}
    arguments: dict[str, Any] = {}
    if name == "request_guard_change":
        arguments["change"] = (given.variant, given.fields)
    return instructions.build(
        name,
        key(owner),
        authority=key(authority) if authority else None,
        accounts=accounts | {"guard_change": given.address(key(owner))},
        **arguments,
    )


def locked(world: World, name: str, *, owner: str, amount: int) -> Instruction:
    return ledger.change_lock(name, key(owner), amount)


PARTICULAR: dict[str, Callable[..., Instruction]] = {
    each.__name__: each
    for each in (
        init_position_summary,
        rebalance_collateral,
        settle_position_summary,
        transfer_collateral,
        release_unclaimed,
        enter_pool,
        set_rate,
        fund_reserve,
        initialize,
        initialize_vault,
        close_vault,
        sweep,
        initialize_vault_authority,
        propose_governance,
        accept_governance,
        set_transfer_limits,
        update_usdt_mint,
        give,
    )
}
FAMILIES: dict[str, Callable[..., Instruction]] = {
    "deposit": paid,
    "withdraw": paid,
    "emergency_withdraw": paid,
    "yield_deposit": earned,
    "yield_withdraw": earned,
    "compound_yield": earned,
    "open_position": positioned,
    "close_position": positioned,
    "request_guard_change": guarded,
    "apply_guard_change": guarded,
    "cancel_guard_change": guarded,
    "lock_collateral": locked,
    "unlock_collateral": locked,
}
