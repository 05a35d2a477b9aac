//! One module for each instruction, or for a pair that mirrors itself.

pub mod delegates;
pub mod deposit;
pub mod get_vault_info;
pub mod initialize;
pub mod initialize_vault;
pub mod initialize_vault_authority;
pub mod withdraw;
