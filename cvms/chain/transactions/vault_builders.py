"""Transactions on a vault, built from the current state of the chain.

`fee_payer` pays the fee, and `authority` acts on the vault. Every function but `prepare_initialize`
raises VaultNotFound when the owner has no vault. All raise what the RPC raises.
"""

from __future__ import annotations

from collections.abc import Sequence

from solders.instruction import Instruction
from solders.pubkey import Pubkey
from spl.token.constants import ACCOUNT_LEN
from spl.token.instructions import create_idempotent_associated_token_account

from cvms.chain.program import instructions
from cvms.chain.program.accounts import (
    VAULT_LENGTH,
    Vault,
    VaultAuthority,
    owned_by,
    read_token_account,
    read_vault,
    read_vault_authority,
)
from cvms.chain.program.addresses import (
    position_summary_address,
    token_account,
    vault_address,
    vault_authority_address,
)
from cvms.chain.rpc.responses import Count, reader
from cvms.chain.rpc.rpc_client import RpcClient
from cvms.chain.transactions.sponsorship_policy import LAMPORTS_PER_SIGNATURE
from cvms.chain.transactions.versioned import BuiltTransaction, build_transaction
from cvms.chain.types import Account, Commitment, Programs
from cvms.errors import Conflict, InsufficientLamports, NotFound, VaultNotFound


async def prepare_initialize(
    rpc: RpcClient, programs: Programs, *, user: Pubkey, fee_payer: Pubkey
) -> BuiltTransaction:
    """Build the creation of the user's vault; the user pays its rent.

    Raises Conflict when the vault exists, InsufficientLamports when the user cannot pay.
    """
    vault = vault_address(programs, user)
    addresses = [vault, token_account(vault, programs.mint), user]
    account, tokens, payer = await _fetch(rpc, addresses)
    if read_vault(account, programs) is not None:
        raise Conflict(f"{user} already has a vault")
    await _check_rent(rpc, account, tokens, payer, user=user, pays_fee=fee_payer == user)
    return await _build(rpc, instructions.initialize_vault(programs, user), fee_payer)


async def _check_rent(
    rpc: RpcClient,
    vault: Account | None,
    tokens: Account | None,
    payer: Account | None,
    *,
    user: Pubkey,
    pays_fee: bool,
) -> None:
    """Raise InsufficientLamports unless the user can pay the rent of the two accounts.

    What the user has left must be nothing, or enough for the user's own account to be rent-exempt.
    """
    exempt = [await _rent(rpc, length) for length in (VAULT_LENGTH, ACCOUNT_LEN, 0)]
    rents = [
        max(0, rent - (0 if account is None else account.lamports))
        for rent, account in zip(exempt, (vault, tokens), strict=False)
    ]
    needed = sum(rents) + (LAMPORTS_PER_SIGNATURE if pays_fee else 0)
    has = 0 if payer is None else payer.lamports
    if has == needed or has >= needed + exempt[2]:
        return
    fee = f" and the fee of {LAMPORTS_PER_SIGNATURE}" if pays_fee else ""
    raise InsufficientLamports(
        f"{user} pays {needed} lamports: the rent of the vault, {rents[0]}, and of its token "
        f"account, {rents[1]}{fee}. It has {has}. Send it {needed + exempt[2] - has} lamports more "
        f"({exempt[2]} of them stay in its own account), and repeat the request."
    )


async def _rent(rpc: RpcClient, length: int) -> int:
    method = "getMinimumBalanceForRentExemption"
    lamports: int = await rpc.call(method, [length], parse=reader(Count, method))
    return lamports


async def prepare_deposit(
    rpc: RpcClient,
    programs: Programs,
    *,
    owner: Pubkey,
    amount: int,
    authority: Pubkey,
    fee_payer: Pubkey,
) -> BuiltTransaction:
    """Build a transfer of the authority's tokens into the owner's vault."""
    instruction = instructions.deposit(programs, authority=authority, owner=owner, amount=amount)
    return await prepare_on_vault(
        rpc, programs, owner=owner, instruction=instruction, fee_payer=fee_payer
    )


async def prepare_withdraw(
    rpc: RpcClient,
    programs: Programs,
    *,
    owner: Pubkey,
    recipient: Pubkey,
    amount: int,
    authority: Pubkey,
    fee_payer: Pubkey,
    rent_payer: Pubkey | None = None,
    extra_signers: Sequence[Pubkey] = (),
) -> BuiltTransaction:
    """Build a payment from the vault to the recipient's token account, which it creates if absent.

    `recipient` is a wallet's address. `rent_payer`, by default the fee payer, pays for a new token
    account; the recipient can close that account and keep the rent. Raises NotFound without a vault
    authority.
    """
    vault = vault_address(programs, owner)
    destination = token_account(recipient, programs.mint)
    addresses = [vault, vault_authority_address(programs), destination]
    vault_account, authority_account, destination_account = await _fetch(rpc, addresses)
    _vault(vault_account, programs, owner)
    vault_authority = _authority(authority_account, programs)
    create = create_idempotent_associated_token_account(
        payer=rent_payer or fee_payer, owner=recipient, mint=programs.mint
    )
    instruction = instructions.withdraw(
        programs,
        authority=authority,
        owner=owner,
        recipient_token_account=destination,
        position_summaries=_position_summaries(vault_authority, vault),
        amount=amount,
        extra_signers=extra_signers,
    )
    setup = [create] if read_token_account(destination_account) is None else []
    return await _build(rpc, instruction, fee_payer, setup)


async def prepare_payout(
    rpc: RpcClient,
    programs: Programs,
    *,
    owner: Pubkey,
    instruction: Instruction,
    fee_payer: Pubkey,
    mint: Pubkey | None = None,
) -> BuiltTransaction:
    """Build a transaction of one instruction that pays to the owner's associated token account.

    It creates that account if absent, for which the owner pays. `mint` is that of the vaults unless
    it is given.
    """
    token = mint or programs.mint
    addresses = [vault_address(programs, owner), token_account(owner, token)]
    vault, destination = await _fetch(rpc, addresses)
    _vault(vault, programs, owner)
    create = create_idempotent_associated_token_account(payer=owner, owner=owner, mint=token)
    setup = [create] if read_token_account(destination) is None else []
    return await _build(rpc, instruction, fee_payer, setup)


async def prepare_release_unclaimed(
    rpc: RpcClient, programs: Programs, *, owner: Pubkey, fee_payer: Pubkey
) -> BuiltTransaction:
    """Build the release of locked tokens that no authorized program's summary claims.

    Raises NotFound without a vault authority.
    """
    vault = vault_address(programs, owner)
    account, authority = await _fetch(rpc, [vault, vault_authority_address(programs)])
    _vault(account, programs, owner)
    summaries = _position_summaries(_authority(authority, programs), vault)
    instruction = instructions.release_unclaimed(
        programs, owner=owner, position_summaries=summaries
    )
    return await _build(rpc, instruction, fee_payer)


async def prepare_on_vault(
    rpc: RpcClient,
    programs: Programs,
    *,
    owner: Pubkey,
    instruction: Instruction,
    fee_payer: Pubkey,
) -> BuiltTransaction:
    """Build a transaction of one instruction that requires nothing but the owner's vault."""
    await fetch_vault(rpc, programs, owner)
    return await _build(rpc, instruction, fee_payer)


async def prepare_position(
    rpc: RpcClient,
    programs: Programs,
    *,
    owner: Pubkey,
    instruction: Instruction,
    fee_payer: Pubkey,
) -> BuiltTransaction:
    """Build a transaction of one position manager instruction.

    It creates a missing position summary, for which the owner pays.
    """
    vault = vault_address(programs, owner)
    addresses = [vault, position_summary_address(programs.position_manager, vault)]
    account, summary = await _fetch(rpc, addresses)
    _vault(account, programs, owner)
    create = instructions.init_position_summary(programs, payer=owner, owner=owner)
    missing = owned_by(summary, programs.position_manager) is None
    return await _build(rpc, instruction, fee_payer, [create] if missing else [])


async def fetch_vault(rpc: RpcClient, programs: Programs, owner: Pubkey) -> Vault:
    """The owner's vault as it is now. Raises Conflict for one of another mint."""
    [account] = await _fetch(rpc, [vault_address(programs, owner)])
    return _vault(account, programs, owner)


async def _fetch(rpc: RpcClient, addresses: Sequence[Pubkey]) -> tuple[Account | None, ...]:
    fetched = await rpc.get_accounts(addresses, commitment=Commitment.CONFIRMED)
    return fetched.accounts


def _vault(account: Account | None, programs: Programs, owner: Pubkey) -> Vault:
    vault = read_vault(account, programs)
    if vault is None:
        raise VaultNotFound(f"{owner} has no vault; initialize one first")
    if vault.usdt_mint != programs.mint:
        raise Conflict(f"the vault holds {vault.usdt_mint}, this service {programs.mint}")
    return vault


def _authority(account: Account | None, programs: Programs) -> VaultAuthority:
    authority = read_vault_authority(account, programs)
    if authority is None:
        raise NotFound("the vault authority is not initialized")
    return authority


def _position_summaries(authority: VaultAuthority, vault: Pubkey) -> list[Pubkey]:
    """Return a vault's summary of each authorized program, in the order of the account."""
    return [position_summary_address(each, vault) for each in authority.authorized_programs]


async def _build(
    rpc: RpcClient, instruction: Instruction, fee_payer: Pubkey, setup: Sequence[Instruction] = ()
) -> BuiltTransaction:
    blockhash = await rpc.get_latest_blockhash(Commitment.CONFIRMED)
    return build_transaction(instruction, fee_payer=fee_payer, blockhash=blockhash, setup=setup)
