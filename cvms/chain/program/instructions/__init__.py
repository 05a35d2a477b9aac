"""Instructions of the vault program and the position manager.

The order and the flags of the accounts are the IDL's; derived addresses are filled in. Amounts are
token units of `programs.mint`, durations seconds; a number out of its type's range raises
ValueError. `extra_signers` are the co-signers of a multisig besides the authority.
"""

from __future__ import annotations

from cvms.chain.program.instructions.collateral import (
    lock_collateral,
    transfer_collateral,
    unlock_collateral,
)
from cvms.chain.program.instructions.exits import release_unclaimed, request_exit, sweep
from cvms.chain.program.instructions.governance import (
    accept_governance,
    add_authorized_program,
    add_yield_program,
    initialize_vault_authority,
    pause_withdrawals,
    propose_governance,
    remove_authorized_program,
    remove_yield_program,
    set_cpi_enforced,
    set_freeze_flag,
    set_risk_level,
    set_transfer_limits,
    update_usdt_mint,
)
from cvms.chain.program.instructions.guards import (
    apply_guard_change,
    cancel_guard_change,
    request_guard_change,
    set_transfer_allowance,
)
from cvms.chain.program.instructions.policy import (
    add_delegate,
    add_withdraw_whitelist,
    disable_vault_multisig,
    remove_delegate,
    remove_withdraw_whitelist,
    set_vault_multisig,
    set_withdraw_min_delay,
    set_withdraw_rate_limit,
)
from cvms.chain.program.instructions.position_manager import (
    close_position,
    init_position_summary,
    open_position,
    rebalance_collateral,
    settle_position_summary,
)
from cvms.chain.program.instructions.timelocks import (
    cancel_timelock,
    cancel_withdraw_request,
    release_timelocks,
    request_withdraw,
    schedule_timelock,
)
from cvms.chain.program.instructions.vaults import (
    close_vault,
    deposit,
    emergency_withdraw,
    get_vault_info,
    initialize,
    initialize_vault,
    withdraw,
)
from cvms.chain.program.instructions.yields import compound_yield, yield_deposit, yield_withdraw

__all__ = [
    "accept_governance",
    "add_authorized_program",
    "add_delegate",
    "add_withdraw_whitelist",
    "add_yield_program",
    "apply_guard_change",
    "cancel_guard_change",
    "cancel_timelock",
    "cancel_withdraw_request",
    "close_position",
    "close_vault",
    "compound_yield",
    "deposit",
    "disable_vault_multisig",
    "emergency_withdraw",
    "get_vault_info",
    "init_position_summary",
    "initialize",
    "initialize_vault",
    "initialize_vault_authority",
    "lock_collateral",
    "open_position",
    "pause_withdrawals",
    "propose_governance",
    "rebalance_collateral",
    "release_timelocks",
    "release_unclaimed",
    "remove_authorized_program",
    "remove_delegate",
    "remove_withdraw_whitelist",
    "remove_yield_program",
    "request_exit",
    "request_guard_change",
    "request_withdraw",
    "schedule_timelock",
    "set_cpi_enforced",
    "set_freeze_flag",
    "set_risk_level",
    "set_transfer_allowance",
    "set_transfer_limits",
    "set_vault_multisig",
    "set_withdraw_min_delay",
    "set_withdraw_rate_limit",
    "settle_position_summary",
    "sweep",
    "transfer_collateral",
    "unlock_collateral",
    "update_usdt_mint",
    "withdraw",
    "yield_deposit",
    "yield_withdraw",
]
