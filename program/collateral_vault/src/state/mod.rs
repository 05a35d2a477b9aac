//! The program's accounts, read and written in place.

mod authority;
mod balances;
mod guard_request;
mod list;
mod vault;

pub use authority::VaultAuthority;
pub use balances::{Balances, add};
pub use guard_request::{GUARD_CHANGE_LENGTH, GuardRequest};
pub use list::List;
pub use vault::{NewVault, PendingWithdrawal, RateLimit, SIGNERS, Vault};
