"""Surfpool's cheat codes, which change the chain in ways that no transaction can.

Changes are visible at every commitment at once, and survive a restart.
"""

from __future__ import annotations

import structlog
from solders.account import Account
from solders.pubkey import Pubkey
from solders.token.associated import get_associated_token_address
from solders.token.state import TokenAccount, TokenAccountState
from spl.token.constants import ACCOUNT_LEN, TOKEN_PROGRAM_ID, WRAPPED_SOL_MINT

from cvms.localnet.ledger.program_deployment import deploy, deployed_code
from cvms.localnet.node.node import Node
from cvms.localnet.rpc.call.params import CallOptions, Params, read_pubkey
from cvms.localnet.rpc.call.rpc_errors import invalid_params
from cvms.localnet.rpc.call.view import View
from cvms.localnet.rpc.methods.accounts import MAX_DATA_BYTES
from cvms.localnet.rpc.methods.node_info import epoch_info
from cvms.localnet.types import Commitment, Json
from cvms.localnet.vm.machine import ProgramNotLoadable
from cvms.localnet.vm.token_layouts import (
    token_account,
    token_mint,
)

log = structlog.get_logger(__name__)

FARTHEST_SLOT = 2**48
FARTHEST_TIME_MS = 2**50
"""Limits far beyond any test, below which all arithmetic fits 64 bits."""

STATES = {
    "uninitialized": TokenAccountState.Uninitialized,
    "initialized": TokenAccountState.Initialized,
    "frozen": TokenAccountState.Frozen,
}


def set_account(node: Node, params: Params) -> Json:
    """Set the given fields: `[pubkey, {lamports?, owner?, executable?, rentEpoch?, data?}]`.

    `data` is in hex.
    """
    key, update = params.pubkey(0), params.options(1).fields
    old = node.chain.accounts.latest(key) or Account(0, b"", Pubkey.default())
    lamports = _given(update, "lamports", "lamports")
    rent_epoch = _given(update, "rentEpoch", "rent_epoch")
    owner, executable = update.get("owner"), update.get("executable")
    account = Account(
        lamports=old.lamports if lamports is None else lamports,
        data=bytes(old.data) if update.get("data") is None else _hex(update["data"]),
        owner=old.owner if owner is None else read_pubkey(owner),
        executable=old.executable if executable is None else executable,
        rent_epoch=old.rent_epoch if rent_epoch is None else rent_epoch,
    )
    try:
        node.chain.overwrite(key, account if account.lamports else None)
    except ProgramNotLoadable as error:
        raise invalid_params(f"the account is not a program that can run: {error}") from None
    return _done(node)


def set_token_account(node: Node, params: Params) -> Json:
    """Set the given fields of a token account, and create the account if there is none.

    `[owner, mint, {amount?, delegate?, state?, delegatedAmount?, closeAuthority?}, program?]`.
    `"null"` removes a delegate or a close authority.
    """
    owner, mint, update = params.pubkey(0), params.pubkey(1), params.options(2)
    program = TOKEN_PROGRAM_ID if params.at(3) is None else params.pubkey(3)
    mint_account = node.chain.accounts.latest(mint)
    if mint_account is None or mint_account.owner != program or token_mint(mint_account) is None:
        raise invalid_params(f"{mint} is not a mint of the token program {program}")
    key = get_associated_token_address(owner, mint, program)
    account = node.chain.accounts.latest(key)
    token = token_account(account)
    if account is None or token is None:
        account = Account(node.chain.vm.rent_exempt(ACCOUNT_LEN), bytes(ACCOUNT_LEN), program)
        token = _empty_token_account(owner, mint, reserve=account.lamports)
    updated = _updated(token, update)
    data = bytes(updated) + bytes(account.data)[ACCOUNT_LEN:]
    lamports = account.lamports
    if updated.is_native is not None:
        lamports = updated.is_native + updated.amount
    node.chain.overwrite(key, Account(lamports, data, program))
    return _done(node)


def _empty_token_account(owner: Pubkey, mint: Pubkey, *, reserve: int) -> TokenAccount:
    return TokenAccount(
        mint=mint,
        owner=owner,
        amount=0,
        delegate=None,
        state=TokenAccountState.Initialized,
        is_native=reserve if mint == WRAPPED_SOL_MINT else None,
        delegated_amount=0,
        close_authority=None,
    )


def _updated(token: TokenAccount, update: CallOptions) -> TokenAccount:
    fields = update.fields
    state = update.text("state", "")
    if state and state not in STATES:
        raise invalid_params(f"Invalid token account state: {state}")
    amount, delegated = update.number("amount"), update.number("delegatedAmount")
    return TokenAccount(
        mint=token.mint,
        owner=token.owner,
        amount=token.amount if amount is None else amount,
        delegate=_authority(fields.get("delegate"), token.delegate),
        state=STATES[state] if state else token.state,
        is_native=token.is_native,
        delegated_amount=token.delegated_amount if delegated is None else delegated,
        close_authority=_authority(fields.get("closeAuthority"), token.close_authority),
    )


def _authority(given: Json, current: Pubkey | None) -> Pubkey | None:
    if given is None:
        return current
    return None if given == "null" else read_pubkey(given)


def write_program(node: Node, params: Params) -> Json:
    """Write a part of a program's code: `[program_id, data (hex), offset, authority?]`.

    The program can run once its code is complete.
    """
    program_id, data, offset = params.pubkey(0), _hex(params.text(1)), params.integer(2)
    authority = None if params.at(3) is None else params.pubkey(3)
    if offset + len(data) > MAX_DATA_BYTES:
        raise invalid_params("the program would be longer than an account can be")
    code = deployed_code(node.chain, program_id).ljust(offset, b"\0")
    elf = code[:offset] + data + code[offset + len(data) :]
    try:
        deploy(node.chain, program_id, elf, authority=authority)
    except ProgramNotLoadable as error:
        log.info("program_incomplete", program=str(program_id), bytes=len(elf), reason=str(error))
    return _done(node)


def time_travel(node: Node, params: Params) -> Json:
    """Move forward to `[{absoluteTimestamp (ms) | absoluteSlot | absoluteEpoch}]`."""
    config = params.options(0)
    timestamp, slot = config.number("absoluteTimestamp"), config.number("absoluteSlot")
    epoch = config.number("absoluteEpoch")
    if timestamp is not None:
        if timestamp > FARTHEST_TIME_MS:
            raise invalid_params("Cannot travel that far")
        if timestamp / 1000 < node.chain.time.now():
            raise invalid_params("Cannot travel to past timestamp")
        node.chain.move_time(timestamp / 1000)
    elif slot is not None or epoch is not None:
        target = (
            slot if slot is not None else node.chain.vm.epochs.get_first_slot_in_epoch(epoch or 0)
        )
        if target > FARTHEST_SLOT:
            raise invalid_params("Cannot travel that far")
        if target <= node.chain.tip.slot:
            raise invalid_params("Cannot travel to past slot")
        node.chain.skip_to(target)
    else:
        raise invalid_params("Invalid params: where to travel is missing")
    return epoch_info(node.chain, node.chain.tip)


def pause_clock(node: Node, params: Params) -> Json:
    node.chain.pause()
    return epoch_info(node.chain, node.chain.tip)


def resume_clock(node: Node, params: Params) -> Json:
    node.chain.resume()
    return epoch_info(node.chain, node.chain.tip)


def _given(update: dict[str, Json], *names: str) -> Json:
    return next((update[name] for name in names if update.get(name) is not None), None)


def _hex(text: str) -> bytes:
    try:
        data = bytes.fromhex(text)
    except ValueError as error:
        raise invalid_params(f"Invalid hex data provided: {error}") from None
    if len(data) > MAX_DATA_BYTES:
        raise invalid_params("the data is longer than an account can hold")
    return data


def _done(node: Node) -> Json:
    return View(node, node.bank(Commitment.CONFIRMED)).with_context(None)
