//! The program's accounts, read and written where they lie.

mod authority;
mod list;
mod vault;

pub use authority::VaultAuthority;
pub use vault::{Balances, NewVault, Vault};
