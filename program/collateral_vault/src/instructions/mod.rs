//! One module for each instruction, or for a pair that mirrors itself.

pub mod authorized_programs;
pub mod delegates;
pub mod deposit;
pub mod get_vault_info;
pub mod governance;
pub mod initialize;
pub mod initialize_vault;
pub mod initialize_vault_authority;
pub mod locks;
pub mod transfer_collateral;
pub mod withdraw;
pub mod yield_programs;
