//! The program's accounts, read and written in place.

mod authority;
mod balances;
mod entries;
mod guard_request;
mod list;
mod transfer_limits;
mod vault;

pub use authority::VaultAuthority;
pub use balances::{Balances, add};
pub use entries::{PendingWithdrawal, Timelock};
pub use guard_request::{GUARD_CHANGE_LENGTH, GuardRequest};
pub use list::List;
pub use transfer_limits::{Limits, TransferLimits, count_in_window};
pub use vault::{NewVault, RateLimit, SIGNERS, Vault};
