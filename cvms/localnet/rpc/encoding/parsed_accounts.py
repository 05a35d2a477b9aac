"""`jsonParsed` accounts. Those that cannot be parsed are returned as bytes."""

from __future__ import annotations

from solders.account import Account
from solders.pubkey import Pubkey
from solders.token.state import Mint, TokenAccount, TokenAccountState
from spl.token.constants import TOKEN_PROGRAM_ID

from cvms.localnet.rpc.call.view import View
from cvms.localnet.rpc.encoding.parsed_native import parse_native
from cvms.localnet.types import Json
from cvms.localnet.vm.token_layouts import token_account, token_mint, ui_amount


def parse_account(view: View, key: Pubkey, account: Account) -> Json:
    """Return the parsed form of an account, or None."""
    if (token := token_account(account)) is not None:
        if (mint := token_mint(view.account(token.mint))) is None:
            return None
        parsed = {"type": "account", "info": token_account_info(token, mint.decimals)}
    elif (mint := token_mint(account)) is not None:
        parsed = {"type": "mint", "info": _mint_info(mint)}
    else:
        return parse_native(key, account)
    program = "spl-token" if account.owner == TOKEN_PROGRAM_ID else "spl-token-2022"
    return {"program": program, "parsed": parsed, "space": len(account.data)}


def token_account_info(token: TokenAccount, decimals: int) -> Json:
    frozen = token.state == TokenAccountState.Frozen
    info = {
        "mint": str(token.mint),
        "owner": str(token.owner),
        "tokenAmount": ui_amount(token.amount, decimals),
        "state": "frozen" if frozen else "initialized",
        "isNative": token.is_native is not None,
    }
    if token.delegate is not None:
        info["delegate"] = str(token.delegate)
        info["delegatedAmount"] = ui_amount(token.delegated_amount, decimals)
    if token.is_native is not None:
        info["rentExemptReserve"] = ui_amount(token.is_native, decimals)
    if token.close_authority is not None:
        info["closeAuthority"] = str(token.close_authority)
    return info


def _mint_info(mint: Mint) -> Json:
    return {
        "mintAuthority": _optional(mint.mint_authority),
        "supply": str(mint.supply),
        "decimals": mint.decimals,
        "isInitialized": mint.is_initialized,
        "freezeAuthority": _optional(mint.freeze_authority),
    }


def _optional(key: Pubkey | None) -> str | None:
    return None if key is None else str(key)
