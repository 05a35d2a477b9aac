//! One module for each instruction, or for a pair of inverse instructions.

pub mod authorized_programs;
pub mod close_vault;
pub mod delegates;
pub mod deposit;
pub mod emergency_withdraw;
pub mod exit;
pub mod get_vault_info;
pub mod governance;
pub mod governance_transfer;
pub mod guard_changes;
pub mod initialize;
pub mod initialize_vault;
pub mod initialize_vault_authority;
pub mod locks;
pub mod multisig;
pub mod pause_withdrawals;
pub mod request_withdraw;
pub mod set_transfer_limits;
pub mod sweep;
pub mod timelocks;
pub mod transfer_collateral;
pub mod update_usdt_mint;
pub mod withdraw;
pub mod withdraw_policy;
pub mod yield_programs;
pub mod yields;
